"""Leaks and look-alikes as objects, written down and wrapped up in ways that a seed chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

from .values import Values

Object = dict[str, Any]


def _secret(v: Values) -> Object:
    names = v.rng.sample(["dsn", "pin", "token", "password", "tls.key", "x", "db", "config"], 3)
    made: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a", "namespace": "b"},
    }
    for name in names:
        if v.rng.random() < 0.5:
            made.setdefault("data", {})[name] = v.b64(v.password())
        else:
            made.setdefault("stringData", {})[name] = v.password()
    return made


def _settings(v: Values) -> Object:
    name = v.rng.choice(
        [
            "DB_PASSWORD",
            "rootPassword",
            "smtp-password",
            "api_key",
            "clientSecret",
            "PGPASSWORD",
            "admin.passwd",
        ]
    )
    value = v.password() if "ass" in name else v.letters()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"mode": "fast", name: value},
    }


def _values(v: Values) -> Object:
    return {
        "replicas": 2,
        "auth": {"username": "app", "password": v.password()},
        "image": {"tag": "1.2.3"},
    }


def _environment(v: Values) -> Object:
    env = [{"name": "MODE", "value": "fast"}, {"name": "DB_PASSWORD", "value": v.password()}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "env": env}]},
    }


def _user(v: Values) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "users": [{"name": "a", "user": {"token": v.letters(40, 60)}}],
    }


def _login(v: Values) -> Object:
    return {"auths": {"r.example.com": {"auth": v.b64("bot:" + v.strong())}}}


def _token(v: Values) -> Object:
    return {"deploy": {"note": f"use {v.token()[1]} for now"}, "mode": "fast"}


def _url(v: Values) -> Object:
    scheme = v.rng.choice(["postgres", "redis", "amqp", "https", "mongodb+srv"])
    return {"store": {"address": f"{scheme}://app:{v.letters(10, 20)}@db.internal:5432/shop"}}


def _key(v: Values) -> Object:
    return {"server": {"name": "a", "pem": v.pem()}}


def _account(v: Values) -> Object:
    return {"type": "service_account", "private_key_id": v.hexed(40), "private_key": v.pem()}


def _unsealed(v: Values) -> Object:
    return _sealed(v) | {"spec": {"encryptedData": {"a": v.sealed(), "b": v.b64(v.password())}}}


def _sealed(v: Values) -> Object:
    head = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "db"},
    }
    return head | {"spec": {"encryptedData": {"password": v.sealed(), "token": v.sealed()}}}


def _encrypted(v: Values) -> Object:
    made = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "stringData": {"password": v.sops(), "x": v.sops()},
    }
    return made | {"sops": {"version": "3.9.0", "mac": v.sops("x" * 128)}}


def _placeholders(v: Values) -> Object:
    words = [
        "${DB_PASSWORD}",
        "<change-me>",
        "{{ .Values.password }}",
        "REDACTED",
        "changeme",
        "********",
        "",
        "$(PASSWORD)",
        "your-password-here",
    ]
    data = {name: v.rng.choice(words) for name in ("password", "token", "api_key")}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": data}


def _references(v: Values) -> Object:
    env = [
        {
            "name": "DB_PASSWORD",
            "valueFrom": {"secretKeyRef": {"name": "db-credentials", "key": "password"}},
        }
    ]
    spec = {
        "serviceAccountName": "token-reader",
        "containers": [{"name": "a", "image": f"a@sha256:{v.hexed(64)}", "env": env}],
        "volumes": [{"name": "s", "secret": {"secretName": "web-tls-2"}}],
    }
    notes = {"checksum/secret": v.hexed(64)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "uid": v.uuid(), "annotations": notes},
        "spec": spec,
    }


def _external(v: Values) -> Object:
    data = [{"secretKey": "password", "remoteRef": {"key": "kv/team/app2", "property": "password"}}]
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "a"},
        "spec": {"data": data},
    }


def _vault(v: Values) -> Object:
    return {
        "kind": "VaultRef",
        "apiVersion": "opslib.dev/v1",
        "stringData": {"password": "ref+vault://kv/app#password?version=3"},
    }


def _public(v: Values) -> Object:
    data = {"ca.crt": v.certificate(), "key.pub": v.public(), "authorized_keys": v.ssh_public()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def _plain(v: Values) -> Object:
    data = {
        "TOKEN_TTL": "3600",
        "AUTH_MODE": "oauth2",
        "DB_PASSWORD_FILE": "/run/secrets/db",
        "BUILD": v.hexed(40),
        "CLIENT_ID": v.uuid(),
        "SECRET_NAME": "db-credentials",
        "integrity": "sha512-" + v.b64(v.rng.randbytes(64)),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


def _schema(v: Values) -> Object:
    fields = {
        "password": {"type": "string", "description": "The password of the user"},
        "token": {"type": "string", "minLength": 20},
    }
    return {"type": "object", "required": ["password"], "properties": fields}


LEAKS: tuple[Callable[[Values], Object], ...] = (
    _secret,
    _settings,
    _values,
    _environment,
    _user,
    _login,
    _token,
    _url,
    _key,
    _account,
    _unsealed,
)
CLEAN: tuple[Callable[[Values], Object], ...] = (
    _sealed,
    _encrypted,
    _placeholders,
    _references,
    _external,
    _vault,
    _public,
    _plain,
    _schema,
)
_WHOLE = frozenset({_encrypted})
"""What is verified as a whole document only, and stays one."""


def write(v: Values, make: Callable[[Values], Object]) -> tuple[str, bytes]:
    """Write an object into a file: return its name and its bytes."""
    name, text = _wrapped(v, make)
    if v.rng.random() < 0.15:
        text = text.replace("\n", "\r\n")
    if v.rng.random() < 0.1:
        return name, text.encode("utf-16")
    return name, text.encode("utf-8-sig" if v.rng.random() < 0.1 else "utf-8")


def _wrapped(v: Values, make: Callable[[Values], Object]) -> tuple[str, str]:
    made = _shuffled(v, make(v))
    wrap = v.rng.choice(
        [
            _alone,
            _alone,
            _listed,
            _among,
            _in_text,
            _in_note,
            _fenced,
            _printed,
            _coded,
            _twice,
            _packed,
            _deep,
        ]
    )
    return _alone(v, made) if make in _WHOLE else wrap(v, made)


def _shuffled(v: Values, value: Any) -> Any:
    if isinstance(value, dict):
        pairs = list(value.items())
        v.rng.shuffle(pairs)
        return {key: _shuffled(v, inner) for key, inner in pairs}
    return [_shuffled(v, one) for one in value] if isinstance(value, list) else value


def _json(v: Values, value: Any) -> str:
    return json.dumps(
        value, indent=v.rng.choice([None, 1, 2, 4, "\t"]), ensure_ascii=v.rng.random() < 0.5
    )


def _yaml(v: Values, value: Any) -> str:
    text: str = yaml.safe_dump(
        value,
        sort_keys=False,
        default_flow_style=v.rng.choice([False, False, None, True]),
        width=v.rng.choice([40, 80, 4000]),
        default_style=v.rng.choice([None, None, '"', "'"]),
        indent=v.rng.choice([2, 4]),
        explicit_start=v.rng.random() < 0.3,
    )
    return text


def _alone(v: Values, made: Object) -> tuple[str, str]:
    return (
        ("a.json", _json(v, made))
        if v.rng.random() < 0.4
        else (v.rng.choice(["a.yaml", "b.yml", "config"]), _yaml(v, made))
    )


def _listed(v: Values, made: Object) -> tuple[str, str]:
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, made]
    v.rng.shuffle(items)
    return _alone(v, {"apiVersion": "v1", "kind": "List", "items": items})


def _among(v: Values, made: Object) -> tuple[str, str]:
    other = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]},
    }
    parts = [yaml.safe_dump(other), _yaml(v, made).removeprefix("---\n"), "# nothing here\n"]
    v.rng.shuffle(parts)
    return "all.yaml", "---\n" + "---\n".join(parts)


def _in_text(v: Values, made: Object) -> tuple[str, str]:
    inner, text = _alone(v, made)
    return _alone(
        v,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o"}, "data": {inner: text}},
    )


def _in_note(v: Values, made: Object) -> tuple[str, str]:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(made) + "\n"}
    return _alone(
        v, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": notes}}
    )


def _fenced(v: Values, made: Object) -> tuple[str, str]:
    name, text = _alone(v, made)
    lang = "json" if name.endswith("json") else "yaml"
    return (
        "README.md",
        f"# A note\n\nSome words before it.\n\n```{lang}\n{text.rstrip()}\n```\n\nAnd after it.\n",
    )


def _printed(v: Values, made: Object) -> tuple[str, str]:
    text = _yaml(v, made) if v.rng.random() < 0.5 else json.dumps(made, indent=2)
    rows = text.splitlines(keepends=True)
    output = {
        "output_type": "stream",
        "name": "stdout",
        "text": rows if v.rng.random() < 0.7 else text,
    }
    cell = {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {},
        "source": ["show()"],
        "outputs": [output],
    }
    return "run.ipynb", json.dumps(
        {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )


def _coded(v: Values, made: Object) -> tuple[str, str]:
    return _alone(v, {"files": [{"path": "/etc/a", "body": v.b64(json.dumps(made))}]})


def _twice(v: Values, made: Object) -> tuple[str, str]:
    return _alone(v, {"blob": v.b64(v.b64(_yaml(v, made)))})


def _packed(v: Values, made: Object) -> tuple[str, str]:
    return _alone(v, {"payload": v.gz64(json.dumps(made))})


def _deep(v: Values, made: Object) -> tuple[str, str]:
    for number in range(v.rng.randint(3, 12)):
        made = {f"level{number}": [made] if v.rng.random() < 0.3 else made}
    return _alone(v, made)
