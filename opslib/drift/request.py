"""One request to the API server, as its audit event tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from opslib.drift.model import Actor
from opslib.drift.moments import Moment, moment_of
from opslib.source.history import plain

MOST_TEXT = 512
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_MACHINES = ("system:serviceaccount:", "system:node:", "system:kube-", "system:apiserver")
_COMPONENTS = ("kube-controller-manager/", "kube-scheduler/", "kube-apiserver/", "kubelet/")
_ENDED = frozenset({"ResponseComplete", "ResponseStarted", None})
_MUTATED = "mutation.webhook.admission.k8s.io/"
_PATCHED = "patch.webhook.admission.k8s.io/"


@dataclass(frozen=True)
class Request:
    """A write: what it was on, when, and what it sent.

    It was handled between ``received`` and ``done``. ``body`` is None where the log has none.
    ``finished`` is False for one of which only the beginning is in the log. ``response`` is the
    object afterwards, for logs that have it. ``uid`` is that of the object, where it is told.
    """

    id: str
    actor: Actor
    verb: str
    group: str
    version: str
    resource: str
    subresource: str
    namespace: str
    name: str
    received: Moment
    done: Moment
    code: int
    manager: str
    query: Mapping[str, str]
    body: Any
    response: Any
    uid: str
    gone: bool
    mutated: bool
    webhooks: tuple[Any, ...]
    finished: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def may_be_apply(self) -> bool:
        """Whether the body may be that of a server-side apply, which only PATCH can be."""
        if self.verb != "patch" or not isinstance(self.body, dict):
            return False
        return "force" in self.query or {"apiVersion", "kind"} <= self.body.keys()

    @property
    def is_apply(self) -> bool:
        """Whether it surely is one: ``force`` is refused with every other kind of patch."""
        return self.may_be_apply and "force" in self.query


def request_of(event: Mapping[str, Any]) -> Request | None:
    """Read an audit event; None for what is no write, failed for certain, or is malformed."""
    verb, what = event.get("verb"), event.get("objectRef")
    if verb not in WRITES or not isinstance(what, dict):
        return None
    status = _mapping(event.get("responseStatus"))
    code = status["code"] if isinstance(status.get("code"), int) else 0
    received = moment_of(event.get("requestReceivedTimestamp"))
    done = moment_of(event.get("stageTimestamp")) or received
    if not done or (code >= 300 and not _unclear(code, status)):
        return None
    uri = _text(event.get("requestURI"), 4096)
    query = _query(uri)
    trial = _trial(event, query)
    if trial:
        return None
    return Request(
        id=_text(event.get("auditID")),
        actor=_actor(event, verb, uri),
        verb=verb,
        group=_text(what.get("apiGroup")),
        version=_text(what.get("apiVersion")),
        resource=_text(what.get("resource")),
        subresource=_text(what.get("subresource")),
        namespace=_text(what.get("namespace")),
        name=_text(what.get("name")),
        received=received or done,
        done=done,
        code=code if code < 300 else 0,
        manager=query.get("fieldManager") or _prefix(event.get("userAgent")),
        query=query,
        body=event.get("requestObject"),
        response=event.get("responseObject"),
        uid=_uid(event, status),
        gone=status.get("status") == "Success",
        mutated=_mutated(event),
        webhooks=_webhooks(event),
        finished=event.get("stage") in _ENDED and 0 < code < 300 and trial is False,
    )


def coherent(event: Mapping[str, Any]) -> bool:
    """Tell whether the parts of an event are about one object.

    They are not where a piece of a file is lost, and a line goes on with the end of another.
    """
    what, body = _mapping(event.get("objectRef")), _mapping(event.get("requestObject"))
    name, uri = what.get("name"), event.get("requestURI")
    if not name or not isinstance(name, str) or not isinstance(uri, str):
        return True
    inside = _mapping(body.get("metadata")).get("name")
    if event.get("verb") != "create" and f"/{name}" not in unquote(uri):
        return False
    return not isinstance(inside, str) or inside in {"", name}


def _trial(event: Mapping[str, Any], query: Mapping[str, str]) -> bool | None:
    """Tell whether it was a dry run; None where that cannot be told.

    Where a DELETE has a body, its query does not count.
    """
    asked = "dryRun" in query
    if not str(event.get("verb")).startswith("delete"):
        return asked
    body = event.get("requestObject")
    if isinstance(body, dict) and body:
        return bool(body.get("dryRun"))
    return None if event.get("level") == "Metadata" else asked


def _prefix(agent: Any) -> str:
    """Return the manager that a client gets which names none."""
    return _text(agent).partition("/")[0][:128]


def _unclear(code: int, status: Mapping[str, Any]) -> bool:
    """Tell whether a request that failed may have been carried out all the same."""
    message = str(status.get("message")).lower()
    return code == 504 or (code >= 500 and ("timeout" in message or "deadline" in message))


def _actor(event: Mapping[str, Any], verb: str, uri: str) -> Actor:
    real = _mapping(event.get("user"))
    acting = _mapping(event.get("impersonatedUser"))
    user = acting or real
    agent = _text(event.get("userAgent"))
    return Actor(
        user=_text(user.get("username")),
        groups=_texts(user.get("groups")),
        client=agent.split(" ")[0],
        source_ips=_texts(event.get("sourceIPs")),
        time=_text(event.get("requestReceivedTimestamp") or event.get("stageTimestamp")),
        verb=verb,
        audit_id=_text(event.get("auditID")),
        uri=uri[:MOST_TEXT],
        impersonated_by=_text(real.get("username")) if acting else "",
    )


def is_person(actor: Actor) -> bool | None:
    """Tell people from controllers, nodes and the API server, by the names that these have.

    None for a client that names itself as a component of the cluster and acts as somebody who
    may be a person: where components share one account, its name says nothing.
    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-subjects
    """
    if actor.user.startswith(_MACHINES):
        return False
    return None if not actor.user or actor.client.startswith(_COMPONENTS) else True


def _query(uri: str) -> dict[str, str]:
    try:
        return {key: values[-1] for key, values in parse_qs(urlsplit(uri).query).items()}
    except ValueError:
        return {}


def _uid(event: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Return the uid of the object, as its answer told it."""
    answer = _mapping(_mapping(event.get("responseObject")).get("metadata"))
    return _text(answer.get("uid") or _mapping(status.get("details")).get("uid"))


def _mutated(event: Mapping[str, Any]) -> bool:
    """Tell whether a webhook changed the object and the log does not say how."""
    notes = _mapping(event.get("annotations"))
    changed = any(k.startswith(_MUTATED) and '"mutated":true' in str(v) for k, v in notes.items())
    return changed and not any(key.startswith(_PATCHED) for key in notes)


def _webhooks(event: Mapping[str, Any]) -> tuple[Any, ...]:
    notes = _mapping(event.get("annotations"))
    return tuple(notes[key] for key in sorted(notes) if key.startswith(_PATCHED))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any, most: int = MOST_TEXT) -> str:
    if not isinstance(value, str):
        return ""
    text = value[:most]
    return text if text.isprintable() else plain(text)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(one) for one in value[:64]) if isinstance(value, list) else ()
