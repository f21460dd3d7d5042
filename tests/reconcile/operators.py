"""Definitions of the operators that resolve references to Vault, as far as the kit uses them.

Written after the published schemas of Vault Secrets Operator v0.10.0 (VaultStaticSecret) and
External Secrets v1.3.2 (ExternalSecret): the same names, types, patterns and required fields.
A field that is not there is refused by the API server, as theirs would.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from opslib.kube.client import Cluster
from opslib.kube.discovery import Discovery

from .loops import wait

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _definition(group: str, version: str, kind: str, plural: str, spec: Any) -> dict[str, Any]:
    schema = _object(
        spec=spec, status={"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    )
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


_TEMPLATE = _object(("text",), name=_TEXT, text=_TEXT)
OPERATOR = _definition(
    "secrets.hashicorp.com",
    "v1beta1",
    "VaultStaticSecret",
    "vaultstaticsecrets",
    _object(
        ("destination", "mount", "path", "type"),
        vaultAuthRef=_TEXT,
        namespace=_TEXT,
        mount=_TEXT,
        path=_TEXT,
        version={"type": "integer", "minimum": 0},
        type={"type": "string", "enum": ["kv-v1", "kv-v2"]},
        refreshAfter={"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(s|m|h))$"},
        hmacSecretData={"type": "boolean", "default": True},
        destination=_object(
            ("name",),
            name=_TEXT,
            create={"type": "boolean", "default": False},
            overwrite={"type": "boolean", "default": False},
            labels=_TEXTS,
            annotations=_TEXTS,
            type=_TEXT,
            transformation=_object(
                excludeRaw={"type": "boolean"},
                excludes=_list(_TEXT),
                includes=_list(_TEXT),
                templates={"type": "object", "additionalProperties": _TEMPLATE},
            ),
        ),
    ),
)

_NAME = {**_TEXT, "minLength": 1, "maxLength": 253}
_REMOTE = _object(("key",), key=_TEXT, property=_TEXT, version=_TEXT)
EXTERNAL_SECRETS = _definition(
    "external-secrets.io",
    "v1",
    "ExternalSecret",
    "externalsecrets",
    _object(
        refreshInterval={"type": "string", "default": "1h0m0s"},
        secretStoreRef=_object(
            name=_NAME,
            kind={**_TEXT, "enum": ["SecretStore", "ClusterSecretStore"]},
        ),
        target=_object(
            name=_TEXT,
            creationPolicy={**_TEXT, "enum": ["Owner", "Orphan", "Merge", "None"]},
            immutable={"type": "boolean"},
            template=_object(
                type=_TEXT,
                engineVersion={**_TEXT, "enum": ["v2"]},
                metadata=_object(labels=_TEXTS, annotations=_TEXTS),
            ),
        ),
        data=_list(
            _object(
                ("remoteRef", "secretKey"),
                secretKey={**_NAME, "pattern": r"^[-._a-zA-Z0-9]+$"},
                remoteRef=_REMOTE,
            )
        ),
    ),
)  # fmt: skip


@contextlib.contextmanager
def installed(cluster: Cluster, definition: dict[str, Any]) -> Iterator[None]:
    """Have a definition served for a while; it is gone afterwards, with its objects."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    api = f"{spec['group']}/{spec['versions'][0]['name']}"
    kind = spec["names"]["kind"]
    cluster.request("POST", _CRDS, body=definition)
    try:
        wait(lambda: Discovery(cluster).find(api, kind))
        yield
    finally:
        cluster.request("DELETE", f"{_CRDS}/{name}")
        wait(lambda: cluster.find(f"{_CRDS}/{name}") is None)
        wait(lambda: Discovery(cluster).find(api, kind) is None)
