"""Back to Secrets with private keys from a backup: for the day on which the cluster is gone."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from opslib.core import secrecy
from opslib.core.errors import InputError, OpslibError, Problems
from opslib.seal import gotemplate, wire
from opslib.seal.privatekeys import PrivateKey
from opslib.seal.sealed import Declared
from opslib.seal.secretbytes import SecretBytes

SKIP_OWNER = f"{wire.DOMAIN}/skip-set-owner-references"


def values(one: Declared, keys: Mapping[str, PrivateKey]) -> dict[str, SecretBytes]:
    """Unseal all values of a SealedSecret. Raises Problems with each that no key opens."""
    found: dict[str, SecretBytes] = {}
    problems: list[OpslibError] = []
    private = _likely_first(one, keys)
    for key, text in one.data.items():
        try:
            data = wire.decode(text if isinstance(text, str) else "")
            found[key] = wire.decrypt(private, data, one.label, f"{one.name}/{key}")
        except (wire.Malformed, wire.CannotUnseal) as error:
            problems.append(
                InputError(
                    f"{key} of {one} cannot be unsealed: {error}",
                    where=one.place_of(key),
                    hint="opslib seal check --recovery-private-key FILE says why",
                )
            )
    if problems:
        raise Problems(problems)
    return found


def unseal(one: Declared, keys: Mapping[str, PrivateKey]) -> dict[str, Any]:
    """Return the Secret that the controller would make, as a manifest with its values.

    Raises Problems for values that no key opens, InputError for a template that cannot be
    rendered here.
    """
    if _is_old(one):
        return _old(one, keys)
    found = values(one, keys)
    data = {key: value.reveal() for key, value in found.items()}
    data = _templated(one, data)
    template = one.template
    metadata = dict(one.template_metadata)
    metadata.pop("creationTimestamp", None)
    metadata["name"] = one.name
    if one.namespace:
        metadata["namespace"] = one.namespace
    if (metadata.get("annotations") or {}).get(SKIP_OWNER) != "true":
        metadata["ownerReferences"] = [_owner(one)]
    secret: dict[str, Any] = {"kind": "Secret", "apiVersion": "v1", "metadata": metadata}
    if data:
        secret["data"] = {key: base64.b64encode(data[key]).decode() for key in sorted(data)}
    if template.get("type"):
        secret["type"] = template["type"]
    if template.get("immutable") is not None:
        secret["immutable"] = template["immutable"]
    return secret


def _templated(one: Declared, data: dict[str, bytes]) -> dict[str, bytes]:
    """Render template.data: null takes a key away, a sealed value wins over a text."""
    found = one.template.get("data")
    templates: dict[str, Any] = found if isinstance(found, dict) else {}
    context = {key: value.decode("utf-8", "surrogateescape") for key, value in data.items()}
    for key, text in templates.items():
        if text is not None:
            context.setdefault(key, str(text))
    made = dict(data)
    for key, text in templates.items():
        if text is None:
            made.pop(key, None)
        elif key not in one.data:
            where = one.place(f"/spec/template/data/{key}")
            rendered = gotemplate.render(str(text), context, where)
            made[key] = rendered.encode("utf-8", "surrogateescape")
    return made


def _owner(one: Declared) -> dict[str, Any]:
    return {
        "apiVersion": one.manifest.get("apiVersion"),
        "kind": "SealedSecret",
        "name": one.name,
        "uid": str(one.metadata.get("uid") or ""),
        "controller": True,
    }


def _likely_first(one: Declared, keys: Mapping[str, PrivateKey]) -> Sequence[Any]:
    """Return the keys, those that the notes name first: each wrong one costs milliseconds."""
    noted = {note.key for note in one.read_notes()[0].values()}
    return [key.key for name, key in sorted(keys.items(), key=lambda pair: pair[0] not in noted)]


def _old(one: Declared, keys: Mapping[str, PrivateKey]) -> dict[str, Any]:
    """Return the Secret of the form of before 2019, in which spec.data seals it as a whole."""
    text = one.spec.get("data")
    where = one.place("/spec/data")
    try:
        data = wire.decode(text if isinstance(text, str) else "")
        whole = wire.decrypt([key.key for key in keys.values()], data, one.label, one.name)
        secret = json.loads(whole.reveal())
        secrecy.note_object(secret)
        metadata = dict(secret.get("metadata") or {})
    except (wire.Malformed, wire.CannotUnseal) as error:
        raise InputError(f"{one} cannot be unsealed: {error}", where=where) from None
    except (ValueError, AttributeError):
        raise InputError("what is sealed in spec.data is no Secret", where=where) from None
    metadata |= {"name": one.name} | ({"namespace": one.namespace} if one.namespace else {})
    metadata.pop("creationTimestamp", None)
    metadata["ownerReferences"] = [_owner(one)]
    return {"kind": "Secret", "apiVersion": "v1", **secret, "metadata": metadata}


def _is_old(one: Declared) -> bool:
    """Tell the old form. Raises InputError where both forms stand together."""
    if one.spec.get("data") is None:
        return False
    if one.data:
        raise InputError(
            "spec.data and spec.encryptedData stand together",
            where=one.place("/spec/data"),
            expected="spec.encryptedData alone",
        )
    return True
