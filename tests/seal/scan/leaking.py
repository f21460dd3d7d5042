"""Files that hold secrets in the open; "§" at the end of a line marks one that must be told.

Each function draws its values anew, so that no file of this project holds one.
"""

from __future__ import annotations

import json

from .values import Values, indented

V = Values


def secret_yaml(v: V) -> tuple[str, str]:
    return (
        "secret.yaml",
        f"""apiVersion: v1
kind: Secret
metadata:
  name: db
type: Opaque
data:
  username: {v.b64("app")}
  password: {v.b64(v.password())}§
stringData:
  db: {v.weak()}§
""",
    )


def secret_late_kind(v: V) -> tuple[str, str]:
    rows = "".join(f"  key-{n}: {v.b64(v.letters())}§\n" for n in range(12))
    return "late.yml", f"data:\n{rows}apiVersion: v1\nmetadata: {{name: many}}\nkind: Secret\n"


def secret_json(v: V) -> tuple[str, str]:
    return (
        "secret.json",
        f"""{{
  "metadata": {{"name": "db"}},
  "stringData": {{
    "dsn": "{v.weak()}"§
  }},
  "kind": "Secret",
  "apiVersion": "v1"
}}
""",
    )


def secret_list(v: V) -> tuple[str, str]:
    return (
        "list.yaml",
        f"""apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {{name: a}}
  data: {{mode: fast}}
- kind: Secret
  apiVersion: v1
  metadata: {{name: b}}
  data:
    token: {v.b64(v.letters())}§
""",
    )


def secret_list_kind(v: V) -> tuple[str, str]:
    return "secretlist.json", json.dumps(
        {
            "kind": "SecretList",
            "apiVersion": "v1",
            "items": [{"metadata": {"name": "a"}, "data": {"x": v.b64(v.weak())}}],
        }
    ) + "§"


def secret_flow(v: V) -> tuple[str, str]:
    return (
        "flow.yaml",
        f'{{"kind": "Secret", "apiVersion": "v1", "metadata": {{name: x}}, stringData: {{pin: "{v.weak()}"}}}}§\n',
    )


def secret_many_documents(v: V) -> tuple[str, str]:
    return (
        "all.yaml",
        f"""apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
# the next one is not sealed yet
apiVersion: v1
kind: Secret
metadata: {{name: x}}
stringData:
  config.ini: |§
    [db]
    host = db
    pass = {v.weak()}
---
apiVersion: v1
kind: Service
metadata: {{name: x}}
""",
    )


def secret_anchor(v: V) -> tuple[str, str]:
    return (
        "anchor.yaml",
        f"""x-shared: &shared
  code: {v.b64(v.letters())}§
---
base: &base
  code: {v.weak()}§
kind: Secret
apiVersion: v1
stringData:
  <<: *base
""".replace(
            "x-shared: &shared\n  code: ", "kind: Secret\nmetadata: {name: first}\ndata:\n  code: "
        ),
    )


def secret_helm(v: V) -> tuple[str, str]:
    return (
        "templates/secret.yaml",
        f"""{{{{- if .Values.enabled }}}}
apiVersion: v1
kind: Secret
metadata:
  name: {{{{ include "app.fullname" . }}}}
  labels:
    {{{{- include "app.labels" . | nindent 4 }}}}
data:
  host: {{{{ .Values.host | b64enc }}}}
  {{{{- range $key, $value := .Values.more }}}}
  {{{{ $key }}}}: {{{{ $value | b64enc | quote }}}}
  {{{{- end }}}}
  session: {v.b64(v.letters())}§
{{{{- end }}}}
""",
    )


def secret_helm_default(v: V) -> tuple[str, str]:
    return (
        "templates/auth.yaml",
        f"""apiVersion: v1
kind: Secret
metadata:
  name: {{{{ .Release.Name }}}}
stringData:
  admin: {{{{ .Values.admin | default "{v.weak()}" | quote }}}}§
""",
    )


def secret_broken(v: V) -> tuple[str, str]:
    return (
        "conflict.yaml",
        f"""apiVersion: v1
kind: Secret
metadata:
  name: x
<<<<<<< HEAD
data:
  password: {v.b64(v.weak())}§
=======
data:
  password: {v.b64(v.weak())}§
>>>>>>> other
""",
    )


def secret_binary_value(v: V) -> tuple[str, str]:
    return (
        "tls.yaml",
        f"""kind: Secret
apiVersion: v1
type: kubernetes.io/tls
metadata: {{name: tls}}
data:
  tls.crt: {v.b64(v.certificate())}
  tls.key: {v.b64(v.pem())}§
""",
    )


def secret_docker(v: V) -> tuple[str, str]:
    config = {"auths": {"r.example.com": {"auth": v.b64("bot:" + v.strong())}}}
    return (
        "pull.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: pull}}
type: kubernetes.io/dockerconfigjson
data:
  .dockerconfigjson: {v.b64(json.dumps(config))}§
""",
    )


def sealed_plain(v: V) -> tuple[str, str]:
    return (
        "sealed.yaml",
        f"""apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {{name: db, namespace: shop}}
spec:
  encryptedData:
    good: {v.sealed()}
    bad: {v.b64(v.password())}§
""",
    )


def sealed_annotation(v: V) -> tuple[str, str]:
    copy = json.dumps({"kind": "Secret", "apiVersion": "v1", "data": {"p": v.b64(v.weak())}})
    return (
        "kapp.yaml",
        f"""apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: db
  annotations:
    kapp.k14s.io/original: '{copy}'§
spec:
  encryptedData:
    p: {v.sealed()}
""",
    )


def sops_without_mac(v: V) -> tuple[str, str]:
    return (
        "nomac.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: x}}
stringData:
  password: {v.sops()}§
sops:
  version: 3.9.0
""",
    )


def sops_one_plain(v: V) -> tuple[str, str]:
    return (
        "half.enc.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: x}}
stringData:
  password: {v.sops()}
  other: {v.weak()}§
sops:
  lastmodified: "2026-01-01T00:00:00Z"
  mac: {v.sops("x" * 128)}
  version: 3.9.0
""",
    )


def configmap_password(v: V) -> tuple[str, str]:
    return (
        "configmap.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data:
  LOG_LEVEL: info
  DB_PASSWORD: {v.weak()}§
  API_KEY: {v.letters()}§
""",
    )


def configmap_properties(v: V) -> tuple[str, str]:
    return (
        "properties.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data:
  application.properties: |
    server.port=8080
    spring.datasource.username=app
    spring.datasource.password={v.weak()}§
    logging.level.root=INFO
""",
    )


def configmap_yaml_in_yaml(v: V) -> tuple[str, str]:
    return (
        "nested.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data:
  values.yaml: |
    replicas: 2
    postgresql:
      auth:
        username: app
        password: "{v.signs()}"§
""",
    )


def deployment_env(v: V) -> tuple[str, str]:
    return (
        "deployment.yaml",
        f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  template:
    spec:
      containers:
      - name: web
        image: web:1
        env:
        - name: DB_USER
          value: app
        - name: DB_PASSWORD
          value: "{v.weak()}"§
        - name: OTHER
          valueFrom: {{secretKeyRef: {{name: db, key: password}}}}
        args: ["--listen=:8080", "--admin-password={v.weak()}"]§
""",
    )


def cronjob_url(v: V) -> tuple[str, str]:
    return (
        "cron.yaml",
        f"""apiVersion: batch/v1
kind: CronJob
metadata: {{name: dump}}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - name: dump
            command: [sh, -c, "pg_dump postgres://app:{v.letters(10, 16)}@db:5432/shop > /tmp/x"]§
""",
    )


def helm_values(v: V) -> tuple[str, str]:
    return (
        "values.yaml",
        f"""image:
  repository: app
  tag: 1.2.3
auth:
  existingSecret: ""
  rootPassword: {v.weak()}§
  jwt:
    signingKey: {v.letters()}§
redis:
  url: redis://:{v.letters(10, 16)}@redis:6379/0§
""",
    )


def compose(v: V) -> tuple[str, str]:
    return (
        "docker-compose.yml",
        f"""services:
  db:
    image: postgres:16
    environment:
      - POSTGRES_USER=app
      - POSTGRES_PASSWORD={v.weak()}§
  web:
    environment:
      SECRET_KEY_BASE: {v.hexed(64)}§
""",
    )


def kustomize_literal(v: V) -> tuple[str, str]:
    return (
        "kustomization.yaml",
        f"""apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml]
secretGenerator:
- name: db
  literals:
  - username=app
  - value={v.weak()}§
""",
    )


def kubeconfig(v: V) -> tuple[str, str]:
    return (
        "kubeconfig",
        f"""apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: prod
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: {v.b64(v.certificate())}
users:
- name: admin
  user:
    client-certificate-data: {v.b64(v.certificate())}
    client-key-data: {v.b64(v.pem())}§
- name: bot
  user:
    token: {v.jwt()}§
""",
    )


def kubeconfig_json(v: V) -> tuple[str, str]:
    return (
        "config.json",
        f"""{{"apiVersion": "v1", "kind": "Config",
 "users": [{{"name": "a", "user": {{
   "username": "admin",
   "password": "{v.weak()}"§
 }}}}]}}
""",
    )


def notebook_source(v: V) -> tuple[str, str]:
    return "source.ipynb", _notebook(
        [["import os\\n", f'password = \\"{v.weak()}\\"\\n', "print(1)"]],
        [[]],
        marks=frozenset({(0, 1)}),
    )


def notebook_output(v: V) -> tuple[str, str]:
    text = [f"password: {v.b64(v.strong())}\\n", "done\\n", f"token {v.token()[1]}\\n"]
    out = '{"output_type": "stream", "name": "stdout", "text": [\n' + _rows(text, {0, 2}) + "]}"
    return "output.ipynb", _notebook([["run()"]], [[out]])


def notebook_result(v: V) -> tuple[str, str]:
    out = (
        '{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": [\n'
        + _rows([f"'{v.b64(v.letters())}'"], {0})
        + "]}}"
    )
    return "result.ipynb", _notebook(
        [['client.read_namespaced_secret(\\"db\\", \\"shop\\").data[\\"password\\"]']], [[out]]
    )


def notebook_frame(v: V) -> tuple[str, str]:
    html = [
        "<table>\\n",
        "<tr><th>user</th><th>password</th></tr>\\n",
        f"<tr><td>ada</td><td>{v.letters()}</td></tr>\\n",
        "</table>",
    ]
    out = (
        '{"output_type": "display_data", "metadata": {}, "data": {"text/html": [\n'
        + _rows(html, {2})
        + "]}}"
    )
    return "frame.ipynb", _notebook([["frame"]], [[out]])


def notebook_error(v: V) -> tuple[str, str]:
    trace = [
        "\\u001b[0;31mOperationalError\\u001b[0m",
        f"      2 \\u001b[0mconnect(host=\\u001b[34m'db'\\u001b[0m, password='{v.strong()}')",
    ]
    out = (
        '{"output_type": "error", "ename": "E", "evalue": "no", "traceback": [\n'
        + _rows(trace, {1})
        + "]}"
    )
    return "error.ipynb", _notebook([["connect()"]], [[out]])


def notebook_manifest(v: V) -> tuple[str, str]:
    text = ["apiVersion: v1\\n", "kind: Secret\\n", "data:\\n", f"  pin: {v.b64(v.weak())}\\n"]
    out = '{"output_type": "stream", "name": "stdout", "text": [\n' + _rows(text, {3}) + "]}"
    return "manifest.ipynb", _notebook([["!kubectl get secret db -o yaml"]], [[out]])


def _rows(lines: list[str], marks: set[int]) -> str:
    shown = [
        f'"{line}"' + ("," if n < len(lines) - 1 else "") + ("§" if n in marks else "")
        for n, line in enumerate(lines)
    ]
    return "\n".join(shown) + "\n"


def _notebook(
    sources: list[list[str]],
    outputs: list[list[str]],
    marks: frozenset[tuple[int, int]] = frozenset(),
) -> str:
    cells = []
    for number, (source, outs) in enumerate(zip(sources, outputs, strict=True)):
        rows = _rows(source, {b for a, b in marks if a == number})
        cells.append(
            f'{{"cell_type": "code", "execution_count": 1, "metadata": {{}}, "source": [\n{rows}],\n'
            f'"outputs": [{", ".join(outs)}]}}'
        )
    return (
        '{"cells": [\n'
        + ",\n".join(cells)
        + '\n], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}\n'
    )


def terraform_state(v: V) -> tuple[str, str]:
    return (
        "terraform.tfstate",
        f"""{{
  "version": 4, "serial": 3, "lineage": "{v.uuid()}",
  "outputs": {{"dsn": {{
    "value": "{v.letters()}",§
    "type": "string", "sensitive": true}}}},
  "resources": [
    {{"mode": "managed", "type": "random_password", "name": "db", "instances": [{{"attributes": {{
      "id": "none", "length": 20,
      "result": "{v.signs()}"§
    }}}}]}},
    {{"mode": "managed", "type": "openstack_db", "name": "x", "instances": [{{"attributes": {{
      "name": "shop",
      "code_word": "{v.weak()}"§
    }}, "sensitive_attributes": [[{{"type": "get_attr", "value": "code_word"}}]]}}]}}
  ]
}}
""",
    )


def terraform_variables(v: V) -> tuple[str, str]:
    return (
        "prod.tfvars",
        f"""region      = "RegionOne"
flavor      = "m1.large"
db_password = "{v.weak()}"§
nested = {{
  api_token = "{v.letters()}"§
}}
""",
    )


def terraform_default(v: V) -> tuple[str, str]:
    return (
        "variables.tf",
        f"""variable "region" {{
  default = "RegionOne"
}}

variable "admin_password" {{
  type    = string
  default = "{v.weak()}"§
}}

provider "openstack" {{
  auth_url = "https://keystone:5000/v3"
  password = "{v.strong()}"§
}}
""",
    )


def terraform_secret(v: V) -> tuple[str, str]:
    return (
        "secret.tf",
        f"""resource "kubernetes_secret" "db" {{
  metadata {{
    name = "db"
  }}
  data = {{
    user = var.user
    word = "{v.weak()}"§
  }}
}}
""",
    )


def terraform_cloud_init(v: V) -> tuple[str, str]:
    return (
        "server.tf",
        f"""resource "openstack_compute_instance_v2" "web" {{
  name      = "web"
  user_data = <<-EOF
    #cloud-config
    password: {v.weak()}§
    chpasswd: {{expire: false}}
  EOF
}}
""",
    )


def tfvars_json(v: V) -> tuple[str, str]:
    return "prod.auto.tfvars.json", f'{{\n  "region": "a",\n  "db_password": "{v.weak()}"§\n}}\n'


def pem_file(v: V) -> tuple[str, str]:
    return "id_key", v.pem().replace("\n", "§\n", 1)


def pem_in_json(v: V) -> tuple[str, str]:
    return "account.json", json.dumps(
        {
            "type": "service_account",
            "project_id": "shop",
            "private_key_id": v.hexed(40),
            "private_key": v.pem(),
            "client_email": "a@b.iam",
        }
    ) + "§"


def pem_in_yaml(v: V) -> tuple[str, str]:
    return (
        "nginx.yaml",
        f"""server:
  name: web
  key: |
{indented(v.pem(), 4).replace(chr(10), "§" + chr(10), 1)}
""",
    )


def pem_in_python(v: V) -> tuple[str, str]:
    return "keys.py", f'NAME = "a"\nPEM = """{v.pem()}"""\n'.replace("-----\n", "-----§\n", 1)


def der_base64(v: V) -> tuple[str, str]:
    return "push.json", f'{{\n"vapid": "{v.b64(v.der())}"§\n}}\n'


def jwk(v: V) -> tuple[str, str]:
    return (
        "jwks.json",
        f"""{{"keys": [{{"kty": "EC", "crv": "P-256",
 "x": "{v.letters(43, 43)}", "y": "{v.letters(43, 43)}",
 "d": "{v.letters(43, 43)}"§
}}]}}
""",
    )


def dotenv(v: V) -> tuple[str, str]:
    return (
        ".env",
        f"""# local
DEBUG=1
DATABASE_URL=postgres://app:{v.letters(10, 14)}@db/shop§
export MAIL_PASSWORD='{v.weak()}'§
STRIPE_KEY="{v.letters()}"§
""",
    )


def dotenv_production(v: V) -> tuple[str, str]:
    return ".env.production", f"APP_NAME=shop\nADMIN_PASS={v.weak()}§\nJWT_SECRET={v.letters()}§\n"


def ini(v: V) -> tuple[str, str]:
    return (
        "app.ini",
        f"[database]\nhost = db\nuser = app\npassword = {v.weak()}§\n\n[log]\nlevel = info\n",
    )


def aws_credentials(v: V) -> tuple[str, str]:
    return (
        "credentials",
        f"[default]\naws_access_key_id = {'AK' + 'IA' + v.letters(16, 16, 'ABCDEFGH234567')}§\naws_secret_access_key = {v.letters(40, 40)}§\n",
    )


def properties(v: V) -> tuple[str, str]:
    return "application.properties", f"server.port=8080\nkeystore.password: {v.weak()}§\n"


def toml(v: V) -> tuple[str, str]:
    return "config.toml", f'title = "a"\n[smtp]\nuser = "a"\npassword = "{v.weak()}"§\nport = 25\n'


def docker_config(v: V) -> tuple[str, str]:
    return (
        ".docker/config.json",
        f"""{{
  "auths": {{
    "https://index.docker.io/v1/": {{
      "auth": "{v.b64("shop:" + v.strong())}"§
    }}
  }}
}}
""",
    )


def npmrc(v: V) -> tuple[str, str]:
    return (
        ".npmrc",
        f"registry=https://r.example.com/\n//r.example.com/:_authToken={v.token_of('npm')}§\n",
    )


def netrc(v: V) -> tuple[str, str]:
    return ".netrc", f"machine git.example.com login ada password {v.strong()}§\n"


def pgpass(v: V) -> tuple[str, str]:
    return ".pgpass", f"# host:port:db:user:pw\ndb.local:5432:shop:app:{v.strong()}§\n"


def git_credentials(v: V) -> tuple[str, str]:
    return ".git-credentials", f"https://ada:{v.letters()}@git.example.com§\n"


def pypirc(v: V) -> tuple[str, str]:
    return ".pypirc", f"[pypi]\nusername = __token__\npassword = {v.token_of('pypi')}§\n"


def maven(v: V) -> tuple[str, str]:
    return (
        "settings.xml",
        f"<settings><servers>\n<server>\n<id>nexus</id>\n<username>ada</username>\n<password>{v.weak()}</password>§\n</server>\n</servers></settings>\n",
    )


def web_config(v: V) -> tuple[str, str]:
    return (
        "web.config.xml",
        f"""<configuration>
  <add name="Main" connectionString="Server=db;Database=shop;User Id=sa;Password={v.letters(10, 20)};" />§
  <add key="SmtpPassword" value="{v.weak()}" />§
</configuration>
""",
    )


def base64_once(v: V) -> tuple[str, str]:
    return (
        "bundle.yaml",
        f"files:\n- name: app.env\n  body: {v.b64('DB_PASSWORD=' + v.letters() + chr(10))}§\n",
    )


def base64_twice(v: V) -> tuple[str, str]:
    return "twice.json", json.dumps({"blob": v.b64(v.b64(f"password: {v.letters()}\n"))}) + "§"


def base64_gzip(v: V) -> tuple[str, str]:
    return (
        "packed.yaml",
        f"payload: {v.gz64('token=' + v.letters() + chr(10) + 'mode=fast' + chr(10))}§\n",
    )


def base64_token(v: V) -> tuple[str, str]:
    return "note.txt", f"please keep this\n{v.b64(v.token()[1] + chr(10))}§\n"


def helm_release(v: V) -> tuple[str, str]:
    release = json.dumps({"name": "app", "config": {"auth": {"password": v.letters()}}})
    return (
        "release.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: sh.helm.release.v1.app.v1}}
data:
  release: {v.b64(v.gz64(release))}§
""",
    )


def cloud_init(v: V) -> tuple[str, str]:
    return (
        "user-data",
        f"""#cloud-config
users:
- name: ops
  plain_text_passwd: {v.weak()}§
chpasswd:
  expire: false
  list: |
    root:{v.letters(8, 12)}§
    ops:RANDOM
write_files:
- path: /etc/app.env
  encoding: b64
  content: {v.b64("DB_PASSWORD=" + v.letters() + chr(10))}§
- path: /etc/other.env
  encoding: gz+b64
  content: {v.gz64("API_TOKEN=" + v.letters() + chr(10))}§
runcmd:
- [mysql, -uroot, "-e", "CREATE USER a IDENTIFIED BY '{v.letters()}'"]§
""",
    )


def tokens_in_text(v: V) -> tuple[str, str]:
    return "README.md", f"# Set-up\n\nUse `{v.token()[1]}` for now.§\n"


def tokens_in_yaml(v: V) -> tuple[str, str]:
    return "ci.yml", f"deploy:\n  script:\n  - deploy --with {v.token()[1]}§\n"


def token_in_comment(v: V) -> tuple[str, str]:
    return (
        "commented.yaml",
        f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\n# old password: {v.letters()}§\ndata: {{a: b}}\n",
    )


def markdown_fence(v: V) -> tuple[str, str]:
    return (
        "howto.md",
        f"""# Secrets

```yaml
apiVersion: v1
kind: Secret
data:
  pin: {v.b64(v.weak())}§
```

and `export DB_PASSWORD={v.letters()}`§
""",
    )


def shell(v: V) -> tuple[str, str]:
    return (
        "deploy.sh",
        f"""#!/bin/sh
set -eu
DB_HOST=db
DB_PASSWORD={v.weak()}§
PGPASSWORD={v.letters()} psql -h db§
curl -u ada:{v.letters()} https://api.example.com/§
curl -H "Authorization: Bearer {v.letters(30, 40)}" https://api.example.com/§
mysql -u root -p{v.letters()} shop§
kubectl create secret generic db --from-literal=word={v.letters()}§
""",
    )


def dockerfile(v: V) -> tuple[str, str]:
    return (
        "Dockerfile",
        f"FROM alpine:3\nENV APP=1\nENV DB_PASSWORD={v.weak()}§\nARG NPM_TOKEN={v.token_of('npm')}§\nRUN true\n",
    )


def python_code(v: V) -> tuple[str, str]:
    return (
        "settings.py",
        f"""import os
DEBUG = False
SECRET_KEY = "{v.letters()}"§
DATABASES = {{"default": {{"USER": "app", "PASSWORD": "{v.weak()}"}}}}§
token = os.getenv("API_TOKEN", "{v.letters()}")§
os.environ["MAIL_PASSWORD"] = '{v.weak()}'§
client = Client(url, api_key="{v.letters()}")§
""",
    )


def typescript_code(v: V) -> tuple[str, str]:
    return (
        "config.ts",
        f"export const config = {{\n  host: 'db',\n  password: '{v.weak()}',§\n  clientSecret: `{v.letters()}`,§\n}};\n",
    )


def go_code(v: V) -> tuple[str, str]:
    return (
        "main.go",
        f'package main\n\nconst user = "app"\nconst dbPassword = "{v.weak()}"§\n\nvar apiToken string = "{v.letters()}"§\n',
    )


def java_code(v: V) -> tuple[str, str]:
    return (
        "Db.java",
        f'class Db {{\n  String user = "app";\n  private static final String PASSWORD = "{v.weak()}";§\n}}\n',
    )


def sql(v: V) -> tuple[str, str]:
    return "init.sql", f"CREATE DATABASE shop;\nCREATE USER app WITH PASSWORD '{v.weak()}';§\n"


def csv(v: V) -> tuple[str, str]:
    return "users.csv", f"user,password,role\nada,{v.letters()},admin§\nbob,{v.letters()},dev§\n"


def ansible(v: V) -> tuple[str, str]:
    return (
        "hosts.ini",
        f"[db]\ndb1 ansible_host=10.0.0.1 ansible_user=ops ansible_password={v.letters()}§\n",
    )


def github_workflow(v: V) -> tuple[str, str]:
    return (
        ".github/workflows/ci.yml",
        f"""on: push
jobs:
  build:
    runs-on: ubuntu-latest
    env:
      REGISTRY_PASSWORD: {v.weak()}§
    steps:
    - uses: actions/checkout@v4
      with: {{token: "${{{{ secrets.GITHUB_TOKEN }}}}"}}
""",
    )


def argocd(v: V) -> tuple[str, str]:
    return (
        "application.yaml",
        f"""apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{name: app}}
spec:
  source:
    helm:
      values: |
        auth:
          password: {v.weak()}§
      parameters:
      - name: admin.password
        value: {v.weak()}§
""",
    )


def patch(v: V) -> tuple[str, str]:
    return (
        "patch.json",
        f'[\n{{"op": "add", "path": "/spec/env/DB_PASSWORD", "value": "{v.weak()}"}}§\n]\n',
    )


def configmap_dsn(v: V) -> tuple[str, str]:
    return (
        "dsn.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data:
  jdbc: "jdbc:postgresql://db:5432/shop?user=app&password={v.letters()}"§
  mssql: "Server=tcp:db;User ID=sa;Password={v.letters()};Encrypt=true"§
  amqp: amqp://app:{v.letters()}@mq:5672/%2f§
""",
    )


LEAKING = tuple(
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
