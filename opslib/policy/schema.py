"""Offline schema check, with the schemas of kubernetes-validate.

The package's own ``validate`` loads 2 MB of definitions for each object and stops at the
first error, with the value in its text. Here the definitions are read once, each kind is
compiled with only what it refers to, all errors are reported, and none repeats a value. An
object that is known to fit (see ``fits``) is not shown to jsonschema at all, nor is that loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from opslib.core.imports import absent
from opslib.core.model import Resource
from opslib.policy.fits import Fits, Fitter
from opslib.policy.seen import Seen, pointer
from opslib.seal.vaultdoc import is_vault_secret
from opslib.source.removed import parse_version, removed_in

# Formats are not asserted here; what only they need costs 3 s (a grammar) and 50 ms (the rest).
_FORMATS = ("rfc3987", "rfc3987_syntax", "isoduration", "webcolors", "fqdn", "idna", "uri_template")
_REFERENCE = "#/$defs/"  # alone inside the definitions, after their file name elsewhere
_MOST = 20  # errors of one object: more say nothing new


def check(resources: Sequence[Resource], version: str) -> Iterator[Seen]:
    """Check objects against the schema of their API version in a Kubernetes ``version``.

    Takes the newest schemas that are not newer than ``version`` ("": the newest). A kind
    that Kubernetes itself does not have is an info: only the cluster knows its schema.
    """
    release = _release(version)
    for resource in resources:
        if is_vault_secret(resource.manifest):
            continue  # no server sees it; its own reader is as strict
        schema = _schema(release, resource.api_version, resource.kind)
        if schema is None:
            yield from _unknown(resource, release)
            continue
        if _fits(release, resource.api_version, resource.kind)(resource.manifest):
            continue
        for error in _first(_validator(release, resource.api_version, resource.kind), resource):
            yield _seen(resource, error)


def _unknown(resource: Resource, release: str) -> Iterator[Seen]:
    if removed_in(resource.api_version, resource.kind):
        return  # the rule on removed versions says it better
    yield Seen(
        resource,
        "/kind",
        f"{resource.api_version} {resource.kind} is not a kind of Kubernetes {release} itself",
        "nothing to do for a custom resource: the server-side dry run checks it",
        "info",
        "its schema is known to the cluster only",
    )


def _first(validator: Any, resource: Resource) -> list[Any]:
    found = []
    for error in validator.iter_errors(resource.manifest):
        found.append(error)
        if len(found) == _MOST:
            break
    return found


def _seen(resource: Resource, error: Any) -> Seen:
    path = [*error.absolute_path]
    names, what, fix = _words(error)
    field = pointer(*path, *names[:1])
    dotted = _dotted([*path, *names[:1]]) or "the object"
    return Seen(resource, field, f"{dotted}: {what}", fix)


def _words(error: Any) -> tuple[list[str], str, str]:
    """Say what a schema error means, without the value: names of fields, what, and the fix."""
    instance, schema, keyword = error.instance, error.schema, error.validator
    if keyword == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = [str(name) for name in instance if name not in known]
        close = get_close_matches(unknown[0], known, n=1) if unknown else []
        others = f" (and {', '.join(unknown[1:])})" if unknown[1:] else ""
        fix = f"did you mean {close[0]}?" if close else "remove it, or put it where it belongs"
        return unknown, f"there is no such field{others}", fix
    if keyword == "required":
        missing = [name for name in error.validator_value if name not in instance]
        return missing[:1], "the field is required", f"add {' and '.join(missing)}"
    if keyword == "type":
        wanted = _types(error.validator_value)
        return [], f"expected {wanted}, found {_type(instance)}", f"write {wanted}"
    if keyword == "enum":
        allowed = ", ".join(str(value) for value in error.validator_value if value is not None)
        return [], "not one of the values that are allowed", f"one of {allowed}"
    if keyword in ("oneOf", "anyOf"):
        kinds = [_types(option.get("type", "")) for option in error.validator_value]
        wanted = " or ".join(kind for kind in kinds if kind)
        return [], f"expected {wanted}, found {_type(instance)}", f"write {wanted}"
    return [], f"does not fit the schema ({keyword})", "see the API reference of its kind"


def _types(value: Any) -> str:
    names = [value] if isinstance(value, str) else value
    return " or ".join(f"{_A.get(name, name)}" for name in names if name and name != "null")


_A = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}


def _type(value: Any) -> str:
    if value is None:
        return "nothing"
    for kind, name in ((bool, "boolean"), (str, "string"), (int, "integer"), (float, "number")):
        if isinstance(value, kind):
            return _A[name]
    return _A["object" if isinstance(value, dict) else "array"]


def _dotted(steps: Sequence[object]) -> str:
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")


@cache
def _folder() -> Path:
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:  # a declared dependency: the installation is broken
        raise ModuleNotFoundError("kubernetes_validate")
    return Path(spec.origin).parent / "kubernetes-json-schema"


@cache
def _releases() -> dict[tuple[int, int], str]:
    names = (re.fullmatch(r"v(\d+\.\d+)\.\d+-local-strict", p.name) for p in _folder().iterdir())
    return {parse_version(found[1]): found[1] for found in names if found}


def _release(version: str) -> str:
    known = _releases()
    wanted = parse_version(version) if version else max(known)
    return known[max((v for v in known if v <= wanted), default=min(known))]


@cache
def _definitions(release: str) -> Any:
    return orjson.loads((_folder() / f"v{release}.0-local-strict/_definitions.json").read_bytes())


@cache
def _schema(release: str, api_version: str, kind: str) -> Any:
    """Return a kind's schema, or None when this release of Kubernetes has no such kind."""
    group, _, version = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
    if not re.fullmatch(r"[a-z0-9\-]+", name):
        return None
    path = _folder() / f"v{release}.0-local-strict/{name}.json"
    if not path.is_file():
        return None
    schema = orjson.loads(path.read_bytes())
    # The file name holds only the first part of the group: serving.example.com is not serving.
    properties = schema.get("properties", {})
    same = api_version in properties.get("apiVersion", {}).get("enum", ())
    return schema if same and kind in properties.get("kind", {}).get("enum", ()) else None


@cache
def _fitter(release: str) -> Fitter:
    return Fitter(_definitions(release)["$defs"])


@cache
def _fits(release: str, api_version: str, kind: str) -> Fits:
    return _fitter(release).of(_schema(release, api_version, kind))


@cache
def _validator(release: str, api_version: str, kind: str) -> Any:
    """Compile a kind's schema together with only the definitions that it reaches."""
    with absent(*_FORMATS):
        from jsonschema import Draft202012Validator  # noqa: PLC0415 - 0.1 s, only when checking
    schema = _schema(release, api_version, kind)
    definitions = _definitions(release)["$defs"]
    reached: dict[str, Any] = {}
    todo = _references(schema)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached[name] = definitions[name]
            todo |= _references(definitions[name])
    whole = {name: part for name, part in schema.items() if name != "$id"} | {"$defs": reached}
    return Draft202012Validator(_local(whole))


def _references(node: Any) -> set[str]:
    """Return the names of the definitions that a schema refers to."""
    if isinstance(node, dict):
        found = {name for value in node.values() for name in _references(value)}
        reference = node.get("$ref")
        if isinstance(reference, str) and _REFERENCE in reference:
            found.add(reference.partition(_REFERENCE)[2])
        return found
    if isinstance(node, list):
        return {name for value in node for name in _references(value)}
    return set()


def _local(node: Any) -> Any:
    """Make references point into the schema itself."""
    if isinstance(node, dict):
        out = {key: _local(value) for key, value in node.items()}
        reference = node.get("$ref")
        if isinstance(reference, str) and _REFERENCE in reference:
            out["$ref"] = _REFERENCE + reference.partition(_REFERENCE)[2]
        return out
    return [_local(value) for value in node] if isinstance(node, list) else node
