"""Files that look like leaks and are none: sealed, encrypted, referred to, public, or not there yet."""

from __future__ import annotations

import json

from .values import Values, indented

V = Values


def sealed(v: V) -> tuple[str, str]:
    return (
        "sealed.yaml",
        f"""apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata: {{name: db, namespace: shop}}
spec:
  encryptedData:
    password: {v.sealed()}
    token: {v.sealed()}
  template:
    metadata: {{name: db}}
    type: Opaque
    data:
      dsn: "postgres://app:{{{{ .password }}}}@db/shop"
""",
    )


def sealed_json(v: V) -> tuple[str, str]:
    return "sealed.json", json.dumps(
        {
            "kind": "SealedSecret",
            "apiVersion": "bitnami.com/v1alpha1",
            "metadata": {"name": "db"},
            "spec": {"encryptedData": {"tls.key": v.sealed("x" * 500)}},
        },
        indent=2,
    )


def sealed_list(v: V) -> tuple[str, str]:
    return (
        "sealed-list.yaml",
        f"""apiVersion: v1
kind: List
items:
- apiVersion: bitnami.com/v1alpha1
  kind: SealedSecret
  metadata: {{name: db}}
  spec:
    encryptedData:
      password: >-
        {v.sealed()}
""",
    )


def sops(v: V) -> tuple[str, str]:
    return (
        "secret.enc.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: x}}
stringData:
    password: {v.sops()}
    token: {v.sops()}
sops:
    kms: []
    age:
        - recipient: age1{v.letters(58, 58, "acdefghjklmnpqrstuvwxyz023456789")}
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
{indented(v.b64(v.rng.randbytes(180)), 12)}
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2026-01-01T00:00:00Z"
    mac: {v.sops("x" * 128)}
    version: 3.9.0
""",
    )


def sops_json(v: V) -> tuple[str, str]:
    return "secret.enc.json", json.dumps(
        {
            "db": {"password": v.sops()},
            "api_key": v.sops(),
            "sops": {"mac": v.sops("x" * 128), "version": "3.9.0"},
        },
        indent=1,
    )


def sops_env(v: V) -> tuple[str, str]:
    return (
        "prod.enc.env",
        f"DB_PASSWORD={v.sops()}\nAPI_KEY={v.sops()}\nsops_version=3.9.0\nsops_mac={v.sops('x' * 128)}\n",
    )


def ansible_vault(v: V) -> tuple[str, str]:
    return (
        "vars.yaml",
        f"user: app\ndb_password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {v.hexed(80)}\n  {v.hexed(80)}\n",
    )


def external_secret(v: V) -> tuple[str, str]:
    return (
        "external.yaml",
        """apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: db}
spec:
  refreshInterval: 1h
  secretStoreRef: {name: vault, kind: ClusterSecretStore}
  target:
    name: db-credentials
    template:
      data:
        dsn: "postgres://app:{{ .password }}@db:5432/shop"
  data:
  - secretKey: password
    remoteRef: {key: kv/team/app2, property: password}
  - secretKey: apiToken
    remoteRef: {key: kv/team/app2, property: token}
""",
    )


def vault_static(v: V) -> tuple[str, str]:
    return (
        "vault.yaml",
        """apiVersion: secrets.hashicorp.com/v1beta1
kind: VaultStaticSecret
metadata: {name: db}
spec:
  vaultAuthRef: vault-auth
  mount: kv
  type: kv-v2
  path: team/app
  destination: {name: db-secret, create: true}
""",
    )


def vault_ref(v: V) -> tuple[str, str]:
    return (
        "refs.yaml",
        """apiVersion: opslib.dev/v1
kind: VaultRef
metadata: {name: db}
stringData:
  password: ref+vault://kv/team/app#password?version=7
  token: "ref+vault://kv/team/app#token"
""",
    )


def secret_references(v: V) -> tuple[str, str]:
    return (
        "argo-vault.yaml",
        """apiVersion: v1
kind: Secret
metadata: {name: db}
stringData:
  password: <path:kv/data/team/app#password>
  token: vault:kv/data/team/app#token
""",
    )


def secret_placeholders(v: V) -> tuple[str, str]:
    return (
        "template.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: db}}
stringData:
  username: app
  password: ${{DB_PASSWORD}}
  token: <change-me>
  key: REDACTED
  other: CHANGEME
data:
  pin: {v.b64("change-me")}
  empty: ""
""",
    )


def secret_helm(v: V) -> tuple[str, str]:
    return (
        "templates/secret.yaml",
        """apiVersion: v1
kind: Secret
metadata:
  name: {{ include "app.fullname" . }}
type: Opaque
data:
  {{- if .Values.auth.password }}
  password: {{ .Values.auth.password | b64enc | quote }}
  {{- else }}
  password: {{ randAlphaNum 32 | b64enc | quote }}
  {{- end }}
  {{- with .Values.extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
stringData:
  config.yaml: |
    host: {{ .Values.host }}
    password: {{ required "auth.password is needed" .Values.auth.password }}
""",
    )


def secret_empty(v: V) -> tuple[str, str]:
    return (
        "token.yaml",
        """apiVersion: v1
kind: Secret
metadata:
  name: build-robot
  annotations: {kubernetes.io/service-account.name: build-robot}
type: kubernetes.io/service-account-token
""",
    )


def secret_public(v: V) -> tuple[str, str]:
    return (
        "ca.yaml",
        f"""apiVersion: v1
kind: Secret
metadata: {{name: ca}}
data:
  ca.crt: {v.b64(v.certificate())}
  cosign.pub: {v.b64(v.public())}
""",
    )


def deployment(v: V) -> tuple[str, str]:
    return (
        "deployment.yaml",
        f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  uid: {v.uuid()}
spec:
  template:
    metadata:
      annotations:
        checksum/config: {v.hexed(64)}
        checksum/secret: {v.hexed(64)}
    spec:
      serviceAccountName: web-token-reader
      automountServiceAccountToken: false
      imagePullSecrets: [{{name: regcred2}}]
      containers:
      - name: web
        image: registry.example.com/web@sha256:{v.hexed(64)}
        env:
        - name: DB_PASSWORD
          valueFrom: {{secretKeyRef: {{name: db-credentials, key: password}}}}
        - name: TOKEN_FILE
          value: /var/run/secrets/tokens/vault-token
        - name: PASSWORD_MIN_LENGTH
          value: "12"
        - name: API_TOKEN
          value: $(TOKEN_FROM_VAULT)
        args: ["--password-file=/run/secrets/db", "--token=$(API_TOKEN)", "--secret-name=web-tls"]
        envFrom: [{{secretRef: {{name: web-env}}}}]
      volumes:
      - name: secrets
        secret: {{secretName: web-secrets, items: [{{key: tls.key, path: tls.key}}]}}
""",
    )


def service_account(v: V) -> tuple[str, str]:
    return (
        "sa.yaml",
        f"""apiVersion: v1
kind: ServiceAccount
metadata: {{name: default}}
secrets:
- name: default-token-{v.letters(5, 5, "bcdfghjklmnpqrstvwxz2456789")}
imagePullSecrets:
- name: regcred
""",
    )


def role(v: V) -> tuple[str, str]:
    return (
        "rbac.yaml",
        """apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: secret-reader}
rules:
- apiGroups: [""]
  resources: [secrets, serviceaccounts/token]
  resourceNames: [db-password, api-token-v2]
  verbs: [get, list]
""",
    )


def ingress(v: V) -> tuple[str, str]:
    return (
        "ingress.yaml",
        """apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    nginx.ingress.kubernetes.io/auth-secret: basic-auth
    nginx.ingress.kubernetes.io/auth-type: basic
    cert-manager.io/private-key-secret-ref: letsencrypt-prod-v2
spec:
  tls:
  - hosts: [web.example.com]
    secretName: web-tls-2026
""",
    )


def configmap_public(v: V) -> tuple[str, str]:
    return (
        "ca-bundle.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: ca}}
data:
  ca.crt: |
{indented(v.certificate(), 4)}
  known_hosts: |
    git.example.com {v.ssh_public().rsplit(" ", 1)[0]}
  authorized_keys: {v.ssh_public()}
  auth.pub: |
{indented(v.public(), 4)}
""",
    )


def configmap_plain(v: V) -> tuple[str, str]:
    return (
        "settings.yaml",
        f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: app}}
data:
  TOKEN_TTL: "3600"
  PASSWORD_POLICY: strong
  SECRET_NAME: db-credentials
  DB_PASSWORD_FILE: /run/secrets/db-password
  AUTH_MODE: oauth2
  TOKEN_URL: https://login.example.com/oauth2/v2.0/token
  CLIENT_ID: {v.uuid()}
  BUILD_ID: {v.hexed(40)}
  SESSION_TIMEOUT: 30m
  banner: {v.b64("welcome to the shop, all is well here today")}
  application.properties: |
    spring.datasource.url=jdbc:postgresql://db:5432/shop
    spring.datasource.username=app
    spring.datasource.password=${{DB_PASSWORD}}
""",
    )


def kubeconfig(v: V) -> tuple[str, str]:
    return (
        "kubeconfig",
        f"""apiVersion: v1
kind: Config
clusters:
- name: prod
  cluster:
    server: https://10.0.0.1:6443
    certificate-authority-data: {v.b64(v.certificate())}
users:
- name: oidc
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: kubelogin
      args: [get-token, --oidc-issuer-url=https://login.example.com, --oidc-client-id=kubernetes]
- name: file
  user: {{tokenFile: /var/run/secrets/token, client-key: /etc/kubernetes/admin.key}}
""",
    )


def helm_values(v: V) -> tuple[str, str]:
    return (
        "values.yaml",
        f"""image:
  repository: app
  digest: sha256:{v.hexed(64)}
auth:
  # password for the database user; taken from existingSecret when it is set
  password: ""
  existingSecret: db-credentials
  passwordKey: admin-password
  secretKeys: {{adminPasswordKey: postgres-password, userPasswordKey: password}}
  token: null
  jwtSecret: "{{{{ .Values.global.jwt }}}}"
  tls: {{enabled: true, certSecret: app-tls-2, privateKey: /etc/tls/tls.key}}
serviceAccount:
  automountToken: false
  annotations: {{eks.amazonaws.com/role-arn: arn:aws:iam::123456789012:role/app}}
""",
    )


def crd(v: V) -> tuple[str, str]:
    return (
        "crd.yaml",
        """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: dbs.example.com}
spec:
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        properties:
          spec:
            properties:
              password:
                type: string
                description: "Password of the user: set it, or name a Secret."
                format: password
                minLength: 12
              apiToken:
                description: Token for the API, for example a GitHub token.
                default: ""
                type: string
              secret: {type: string, pattern: "^[a-z0-9-]{1,63}$"}
""",
    )


def json_schema(v: V) -> tuple[str, str]:
    return "values.schema.json", json.dumps(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "properties": {
                "password": {
                    "type": "string",
                    "title": "Password",
                    "description": "The password of the admin user",
                },
                "token": {"type": ["string", "null"], "default": None},
                "secretKeyRef": {"properties": {"key": {"default": "password"}}},
            },
            "required": ["password", "token"],
        },
        indent=2,
    )


def openapi(v: V) -> tuple[str, str]:
    return (
        "openapi.yaml",
        """openapi: 3.0.0
components:
  securitySchemes:
    bearerAuth: {type: http, scheme: bearer, bearerFormat: JWT}
    apiKey: {type: apiKey, in: header, name: X-API-Key}
  schemas:
    Login:
      properties:
        password: {type: string, format: password, example: your-password}
        token: {type: string}
""",
    )


def compose(v: V) -> tuple[str, str]:
    return (
        "docker-compose.yml",
        """services:
  db:
    image: postgres:16
    environment:
      - POSTGRES_USER=app
      - POSTGRES_PASSWORD=${POSTGRES_PASSWORD:?set it in .env}
      - POSTGRES_PASSWORD_FILE=/run/secrets/db
    secrets: [db_password]
  web:
    environment:
      SECRET_KEY_BASE: ${SECRET_KEY_BASE}
secrets:
  db_password: {file: ./db_password.txt}
""",
    )


def workflow(v: V) -> tuple[str, str]:
    return (
        ".github/workflows/ci.yml",
        f"""on: push
permissions: {{id-token: write, contents: read}}
jobs:
  build:
    runs-on: ubuntu-latest
    env:
      TOKEN: ${{{{ secrets.GITHUB_TOKEN }}}}
      REGISTRY_PASSWORD: ${{{{ secrets.REGISTRY_PASSWORD }}}}
    steps:
    - uses: actions/checkout@{v.hexed(40)}
    - run: echo "$REGISTRY_PASSWORD" | docker login -u bot --password-stdin
    - uses: docker/login-action@v3
      with: {{username: bot, password: "${{{{ secrets.PW }}}}"}}
""",
    )


def kustomization(v: V) -> tuple[str, str]:
    return (
        "kustomization.yaml",
        """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
secretGenerator:
- name: db
  envs: [db.env]
- name: tls
  files: [tls.crt, tls.key]
configMapGenerator:
- name: app
  literals: [LOG_LEVEL=info, TOKEN_TTL=60]
""",
    )


def home_assistant(v: V) -> tuple[str, str]:
    return (
        "configuration.yaml",
        "mqtt:\n  username: ha\n  password: !secret mqtt_password_2\ncloud:\n  api_key: !env_var API_KEY\n",
    )


def cloudformation(v: V) -> tuple[str, str]:
    return (
        "stack.yaml",
        """Parameters:
  DbPassword: {Type: String, NoEcho: true, MinLength: 12}
Resources:
  Db:
    Type: AWS::RDS::DBInstance
    Properties:
      MasterUsername: app
      MasterUserPassword: !Ref DbPassword
      Other: "{{resolve:secretsmanager:db:SecretString:password}}"
      KmsKeyId: !Sub "arn:aws:kms:${AWS::Region}:${AWS::AccountId}:key/x"
""",
    )


def notebook(v: V) -> tuple[str, str]:
    picture = v.b64(b"\x89PNG\r\n\x1a\n" + v.rng.randbytes(1500))
    code = [
        "import os, getpass\n",
        'password = getpass.getpass("Password: ")\n',
        'token = os.environ["API_TOKEN"]\n',
        "client = Client(password=password, token=token)\n",
        "print(len(password), type(token))",
    ]
    return "clean.ipynb", json.dumps(
        {
            "cells": [
                {
                    "cell_type": "markdown",
                    "metadata": {},
                    "source": [
                        "# Secrets\n",
                        "The password comes from a prompt; the token: see the wiki.",
                    ],
                },
                {
                    "cell_type": "code",
                    "id": v.hexed(8),
                    "execution_count": 1,
                    "metadata": {"tags": ["parameters"]},
                    "source": code,
                    "outputs": [
                        {
                            "output_type": "stream",
                            "name": "stdout",
                            "text": [
                                "12 <class 'str'>\n",
                                "token: expired\n",
                                "password accepted\n",
                            ],
                        },
                        {
                            "output_type": "display_data",
                            "metadata": {},
                            "data": {"image/png": picture, "text/plain": ["<Figure size 640x480>"]},
                        },
                        {
                            "output_type": "execute_result",
                            "execution_count": 1,
                            "metadata": {},
                            "data": {
                                "text/html": [
                                    "<table><tr><th>user</th><th>password</th></tr><tr><td>ada</td><td>********</td></tr></table>"
                                ]
                            },
                        },
                    ],
                },
            ],
            "metadata": {"kernelspec": {"name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
    )


def notebook_masked(v: V) -> tuple[str, str]:
    return "masked.ipynb", json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": 2,
                    "metadata": {},
                    "source": ['secret.data["password"]'],
                    "outputs": [
                        {
                            "output_type": "execute_result",
                            "execution_count": 2,
                            "metadata": {},
                            "data": {"text/plain": ["'‹shop/db/password›'"]},
                        }
                    ],
                }
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
        ensure_ascii=False,
    )


def terraform(v: V) -> tuple[str, str]:
    return (
        "main.tf",
        """variable "db_password" {
  type        = string
  sensitive   = true
  description = "Password of the database: from the vault"
}

resource "random_password" "admin" {
  length  = 24
  special = true
}

resource "kubernetes_secret" "db" {
  metadata {
    name = "db-credentials"
  }
  data = {
    password = var.db_password
    admin    = random_password.admin.result
    url      = "postgres://app:${var.db_password}@db/shop"
  }
}

data "vault_generic_secret" "app" {
  path = "secret/team/app2"
}

provider "openstack" {
  auth_url    = "https://keystone:5000/v3"
  password    = var.db_password
  user_name   = "ops"
  tenant_name = "shop"
}

output "token" {
  value     = data.vault_generic_secret.app.data["token"]
  sensitive = true
}
""",
    )


def tfvars(v: V) -> tuple[str, str]:
    return (
        "example.tfvars",
        f'region = "RegionOne"\nimage_id = "{v.uuid()}"\ndb_password = "<from the vault>"\napi_token = ""\nkey_pair = "ops-2026"\n',
    )


def tfstate(v: V) -> tuple[str, str]:
    return "terraform.tfstate", json.dumps(
        {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": 9,
            "lineage": v.uuid(),
            "outputs": {"address": {"value": "10.0.0.5", "type": "string"}},
            "resources": [
                {
                    "mode": "managed",
                    "type": "openstack_compute_instance_v2",
                    "name": "web",
                    "instances": [
                        {
                            "schema_version": 0,
                            "attributes": {
                                "id": v.uuid(),
                                "name": "web",
                                "admin_pass": None,
                                "key_pair": "ops",
                                "user_data": v.hexed(40),
                                "tags": [],
                            },
                            "sensitive_attributes": [[{"type": "get_attr", "value": "admin_pass"}]],
                            "private": v.b64('{"schema_version":"0"}'),
                        }
                    ],
                }
            ],
        },
        indent=2,
    )


def package_lock(v: V) -> tuple[str, str]:
    return "package-lock.json", json.dumps(
        {
            "name": "a",
            "lockfileVersion": 3,
            "packages": {
                f"node_modules/{name}": {
                    "version": "7.0.1",
                    "resolved": f"https://registry.example.org/{name}/-/{name}-7.0.1.tgz",
                    "integrity": "sha512-" + v.b64(v.rng.randbytes(64)),
                }
                for name in ("js-tokens", "password-prompt", "@types/node", "secret-stack")
            },
        },
        indent=2,
    )


def go_sum(v: V) -> tuple[str, str]:
    rows = "".join(
        f"github.com/a/{n}-token v1.{n}.0 h1:{v.b64(v.rng.randbytes(32))}\n" for n in range(8)
    )
    return "go.sum", rows


def cargo_lock(v: V) -> tuple[str, str]:
    return "Cargo.lock", "".join(
        f'[[package]]\nname = "secrecy-{n}"\nversion = "0.{n}.0"\nchecksum = "{v.hexed(64)}"\n\n'
        for n in range(4)
    )


def requirements(v: V) -> tuple[str, str]:
    return "requirements.lock", "".join(
        f"token-{n}==1.{n} \\\n    --hash=sha256:{v.hexed(64)}\n" for n in range(4)
    )


def public_keys(v: V) -> tuple[str, str]:
    return "id_ed25519.pub", v.ssh_public() + "\n"


def certificate(v: V) -> tuple[str, str]:
    return "tls.crt", v.certificate() + v.certificate()


def jwks(v: V) -> tuple[str, str]:
    return "jwks.json", json.dumps(
        {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": v.uuid(),
                    "n": v.letters(342, 342),
                    "e": "AQAB",
                }
            ]
        },
        indent=1,
    )


def dotenv_example(v: V) -> tuple[str, str]:
    return (
        ".env.example",
        """DEBUG=0
DB_PASSWORD=
API_KEY=your-api-key-here
JWT_SECRET=change-me-in-production
SMTP_PASSWORD="<password>"
TOKEN=xxxxxxxxxxxxxxxx
DATABASE_URL=postgres://user:password@localhost:5432/shop
REDIS_URL=redis://localhost:6379/0
SECRET_KEY=${SECRET_KEY}
AWS_ACCESS_KEY_ID="""
        "AK"
        """IAIOSFODNN7EXAMPLE
AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
""",
    )


def shell(v: V) -> tuple[str, str]:
    return (
        "deploy.sh",
        """#!/bin/sh
set -eu
DB_PASSWORD="$1"
TOKEN=$(cat /run/secrets/token)
API_KEY=${API_KEY:?set it}
read -r -s PASSWORD
curl -u "$USER:$PASSWORD" -H "Authorization: Bearer $TOKEN" https://api.example.com/
mysql -u root -p"$DB_PASSWORD" shop
kubectl create secret generic db --from-literal=password="$PASSWORD"
kubectl get secret db-credentials -o jsonpath='{.data.password}' | base64 -d
printf 'password: '
openssl rand -base64 24
""",
    )


def dockerfile(v: V) -> tuple[str, str]:
    return (
        "Dockerfile",
        f"FROM alpine@sha256:{v.hexed(64)}\nARG NPM_TOKEN\nENV TOKEN_FILE=/run/secrets/token PASSWORD_FILE=/run/x\nRUN --mount=type=secret,id=npm_token npm ci\n",
    )


def python_code(v: V) -> tuple[str, str]:
    return (
        "app.py",
        '''"""Reads secrets; has none."""
import os
from getpass import getpass

PASSWORD_FIELD = "password"
TOKEN_HEADER = "X-Auth-Token"
SECRET_NAME = "db-credentials"
password = os.environ["DB_PASSWORD"]
token = os.getenv("API_TOKEN", "")
secret = client.read_secret("kv/team/app")["data"]["password"]
api_key: str | None = None


def login(user: str, password: str = "", *, token: str = "") -> None:
    """Log in. password: what the user typed; token: "" for none."""
    if token == "":
        raise ValueError("the token is missing: pass token=...")
    request(headers={"Authorization": f"Bearer {token}"}, auth=(user, password))


parser.add_argument("--password", help="password, or -", default=None)
fields = ["username", "password", "token", "client_secret"]
BEGIN = "-----BEGIN PRIVATE KEY-----"
pattern = r"ghp_[A-Za-z0-9]{36}"
''',
    )


def typescript_code(v: V) -> tuple[str, str]:
    return (
        "login.tsx",
        """export interface Login { username: string; password: string; token?: string }
const password = form.get('password');
const token = await getToken();
const labels = { password: 'Password', token: 'Access token', secret: t('login.secret') };
<input type="password" name="password" placeholder="Enter your password" />
const secretKey = process.env.SECRET_KEY;
""",
    )


def go_code(v: V) -> tuple[str, str]:
    return (
        "main.go",
        """package main

const passwordKey = "password"
const tokenHeader = "X-Vault-Token"

type Config struct {
	Password string `json:"password" yaml:"password"`
	APIKey   string `json:"api_key,omitempty" env:"API_KEY"`
}

func f() { password := os.Getenv("DB_PASSWORD"); token := c.Token(); secret := req.FormValue("client_secret") }
""",
    )


def locale(v: V) -> tuple[str, str]:
    return "locales/de.json", json.dumps(
        {
            "login": {
                "password": "Passwort",
                "forgot_password": "Passwort vergessen?",
                "token": "Zugangstoken",
                "new_password": "Neues Passwort",
                "secret": "Geheimnis",
            }
        },
        ensure_ascii=False,
        indent=1,
    )


def readme(v: V) -> tuple[str, str]:
    return (
        "README.md",
        """# Passwords

| key | what | default |
| --- | --- | --- |
| auth.password | Password of the admin user | `""` |
| auth.token | Token for the API; see below | `null` |

Set `DB_PASSWORD=<your password>` or `password: changeme`. The token: ask the operators.
A JWT begins with `eyJ`, a private key with `-----BEGIN PRIVATE KEY-----`:

```
-----BEGIN PRIVATE KEY-----
...
-----END PRIVATE KEY-----
```

```yaml
kind: Secret
stringData:
  password: ${PASSWORD}
```

Use postgres://user:password@host/db, `--password=$PASSWORD` or https://USER:TOKEN@git.example.com.
""",
    )


def cloud_init(v: V) -> tuple[str, str]:
    return (
        "cloud-config.yaml",
        f"""#cloud-config
ssh_pwauth: false
disable_root: true
users:
- name: ops
  lock_passwd: true
  ssh_authorized_keys:
  - {v.ssh_public()}
chpasswd: {{expire: false}}
write_files:
- path: /etc/motd
  encoding: b64
  content: {v.b64("welcome to this machine, it is looked after" + chr(10))}
""",
    )


def docker_config(v: V) -> tuple[str, str]:
    return ".docker/config.json", json.dumps(
        {
            "auths": {"https://index.docker.io/v1/": {}},
            "credsStore": "desktop",
            "credHelpers": {"r.example.com": "ecr-login"},
        },
        indent=1,
    )


def npmrc(v: V) -> tuple[str, str]:
    return (
        ".npmrc",
        "registry=https://r.example.com/\n//r.example.com/:_authToken=${NPM_TOKEN}\nalways-auth=true\n",
    )


def maven(v: V) -> tuple[str, str]:
    return (
        "settings.xml",
        "<settings><servers><server>\n<id>nexus</id>\n<username>${env.USER}</username>\n<password>${env.NEXUS_PASSWORD}</password>\n</server></servers></settings>\n",
    )


def svg(v: V) -> tuple[str, str]:
    return (
        "logo.svg",
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="data:image/png;base64,{v.b64(v.rng.randbytes(900))}"/></svg>\n',
    )


def opaque(v: V) -> tuple[str, str]:
    return "cache.json", json.dumps(
        {
            "etag": v.hexed(32),
            "cursor": v.b64(v.rng.randbytes(48)),
            "nextPageToken": v.b64(v.rng.randbytes(30)),
            "id": v.uuid(),
            "sha": v.hexed(40),
        },
        indent=1,
    )


def base64_harmless(v: V) -> tuple[str, str]:
    return (
        "assets.yaml",
        f"icon: {v.b64(v.rng.randbytes(300))}\ntext: {v.b64(v.b64('a long and harmless sentence about nothing at all'))}\npacked: {v.gz64('mode=fast' + chr(10) + 'level=3' + chr(10))}\n",
    )


def webhook(v: V) -> tuple[str, str]:
    return (
        "webhook.yaml",
        f"""apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: secrets.example.com, resourceVersion: "123456789"}}
webhooks:
- name: secrets.example.com
  clientConfig:
    caBundle: {v.b64(v.certificate())}
    service: {{name: hook, namespace: kube-system, path: /validate-secret}}
  rules: [{{resources: [secrets], operations: [CREATE]}}]
""",
    )


def rules(v: V) -> tuple[str, str]:
    return (
        "rules.toml",
        """[[rules]]
id = "github-pat"
description = "GitHub token"
regex = '''ghp_[0-9a-zA-Z]{36}'''
keywords = ["ghp_", "token", "password"]
secretGroup = 1
""",
    )


def ansible(v: V) -> tuple[str, str]:
    return (
        "hosts.ini",
        '[db]\ndb1 ansible_host=10.0.0.1 ansible_user=ops ansible_password="{{ vault_db_password }}"\n',
    )


def gitlab_ci(v: V) -> tuple[str, str]:
    return (
        ".gitlab-ci.yml",
        """deploy:
  variables: {VAULT_TOKEN: $CI_JOB_TOKEN, DB_PASSWORD: "$PROD_PASSWORD"}
  id_tokens: {VAULT_ID_TOKEN: {aud: https://vault.example.com}}
  secrets: {DATABASE_PASSWORD: {vault: production/db/password@ops}}
  script: [docker login -u "$CI_REGISTRY_USER" -p "$CI_REGISTRY_PASSWORD" "$CI_REGISTRY"]
""",
    )


def csv(v: V) -> tuple[str, str]:
    return "users.csv", "user,password_set,role\nada,true,admin\nbob,false,dev\n"


ALIKE = tuple(
    value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and not name.startswith("_")
)
