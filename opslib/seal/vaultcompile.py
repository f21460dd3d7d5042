"""References as objects of the operators that resolve them in the cluster by themselves.

https://developer.hashicorp.com/vault/docs/platform/k8s/vso/api-reference#vaultstaticsecret
https://external-secrets.io/latest/api/externalsecret/
"""

from __future__ import annotations

from typing import Any

from opslib.core.errors import InputError
from opslib.core.model import Manifest
from opslib.seal.vaultdoc import VaultSecret, place

OPERATOR = "VaultSecretsOperator"
EXTERNAL = "ExternalSecrets"
OPERATOR_KIND = ("secrets.hashicorp.com/v1beta1", "VaultStaticSecret")
EXTERNAL_KINDS = (
    ("external-secrets.io/v1", "ExternalSecret"),
    ("external-secrets.io/v1beta1", "ExternalSecret"),
)
REFRESH = "10m"
"""How often an operator looks for the newest version of what is not pinned."""


def static_secret(one: VaultSecret) -> Manifest:
    """Return the VaultStaticSecret that makes the same Secret.

    Raises InputError for what it cannot do: it reads one version of one path.
    """
    sources = {(r.mount, r.path, r.version) for r in one.references.values()}
    if len(sources) > 1:
        raise InputError(
            f"a VaultStaticSecret reads one version of one path; this one has {len(sources)}",
            where=place(one.resource, "/stringData"),
            hint="make one VaultSecret of each, or say through: opslib",
        )
    if one.immutable:
        raise _not_immutable(one)
    mount, path, version = next(iter(sources))
    pinned = {"version": version} if version else {}
    refresh = one.operator.get("refreshAfter") or ("" if version else REFRESH)
    auth = one.operator.get("vaultAuthRef")
    spec: dict[str, Any] = {
        "type": "kv-v2",
        "mount": mount,
        "path": path,
        **pinned,
        **({"refreshAfter": refresh} if refresh else {}),
        **({"vaultAuthRef": auth} if auth else {}),
        "destination": {
            "name": one.resource.name,
            "create": True,
            "type": one.type,
            **_of_target(one),
            "transformation": {
                # Only what Git names: neither the other keys of the path nor all of it as JSON.
                "excludeRaw": True,
                "excludes": [".*"],
                "templates": {
                    key: {"name": key, "text": _template(reference.key)}
                    for key, reference in sorted(one.references.items())
                },
            },
        },
    }
    api, kind = OPERATOR_KIND
    return _object(one, api, kind, spec)


def external_secret(one: VaultSecret, api: str) -> Manifest:
    """Return the ExternalSecret that makes the same Secret; InputError without a store."""
    store = one.external.get("secretStoreRef")
    if not store:
        raise InputError(
            "an ExternalSecret needs the name of a store",
            where=place(one.resource, "/externalSecrets"),
            expected="externalSecrets: {secretStoreRef: {kind: ClusterSecretStore, name: vault}}",
            hint="or say through: opslib",
        )
    pinned = all(reference.pinned for reference in one.references.values())
    refresh = one.external.get("refreshInterval") or ("1h" if pinned else REFRESH)
    template = {"type": one.type, "engineVersion": "v2"}
    if metadata := _of_target(one):
        template["metadata"] = metadata  # type: ignore[assignment]  # a mapping among texts
    spec = {
        "refreshInterval": refresh,
        "secretStoreRef": dict(store),
        "target": {
            "name": one.resource.name,
            "creationPolicy": "Owner",
            **({"immutable": True} if one.immutable else {}),
            "template": template,
        },
        "data": [
            {
                "secretKey": key,
                "remoteRef": {
                    # With its mount: the provider takes it off where the store has it.
                    "key": reference.secret,
                    # Dots in it lead nowhere else: a key of that very name is taken first.
                    "property": reference.key,
                    **({"version": str(reference.version)} if reference.pinned else {}),
                },
            }
            for key, reference in sorted(one.references.items())
        ],
    }
    return _object(one, api, "ExternalSecret", spec)


def _object(one: VaultSecret, api: str, kind: str, spec: dict[str, Any]) -> Manifest:
    manifest = one.resource.manifest
    return {"apiVersion": api, "kind": kind, "metadata": dict(manifest["metadata"]), "spec": spec}


def _of_target(one: VaultSecret) -> dict[str, Any]:
    """Return labels and annotations for the Secret, without those that are for this kit."""
    metadata = one.resource.manifest["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    kept = {k: v for k, v in annotations.items() if not k.startswith("opslib.dev/")}
    return {
        **({"labels": dict(labels)} if labels else {}),
        **({"annotations": kept} if kept else {}),
    }


def _template(key: str) -> str:
    """Return the Go template of one key, in Go's own quotes."""
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{{{- get .Secrets "{quoted}" -}}}}'


def _not_immutable(one: VaultSecret) -> InputError:
    return InputError(
        "a VaultStaticSecret makes no immutable Secret",
        where=place(one.resource, "/immutable"),
        hint="leave immutable out, or say through: opslib",
    )
