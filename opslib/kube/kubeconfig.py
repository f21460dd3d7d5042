"""Which server, as whom: a kubeconfig read as kubectl reads it.

The official client loads certificates, tokens and exec plugins; what it reads otherwise than
kubectl is read here: the first file that names a current context decides (the client takes
the last), an empty file among several is no error, and a context that is asked for by name
needs no current one. https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opslib.core import secrecy
from opslib.core.errors import InputError
from opslib.core.imports import absent

# kubernetes.dynamic probes for kubernetes_validate, and that loads jsonschema with its
# format grammars (3 s); the dynamic client is not used here.
with absent("kubernetes_validate"):
    import kubernetes.client
    import kubernetes.config

    from opslib.kube import tls

_HINT = "name a kubeconfig with --kubeconfig or KUBECONFIG, and a context with --context"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Access:
    """A loaded configuration, the context and default namespace it stands for, its TLS.

    The paths of certificates in the configuration may be those of files that are gone.
    """

    configuration: Any
    context: str
    namespace: str
    tls: tls.Tls | None = None


@dataclass(frozen=True)
class _Merged:
    """What the files say together: the first that defines a name wins."""

    files: tuple[Path, ...]
    current: str
    contexts: dict[str, dict[str, Any]]
    users: dict[str, dict[str, Any]]

    @property
    def where(self) -> str:
        return os.pathsep.join(map(str, self.files))


def access(kubeconfig: Path | str | None, context: str | None) -> Access:
    """Load a kubeconfig (default: KUBECONFIG, ~/.kube/config, the pod's own account).

    Several files are separated as in PATH. Raises InputError for what cannot be used: no
    file, not YAML, no such context, bad certificates, a plugin that gives no credentials.
    """
    default = Path.home() / ".kube" / "config"
    files = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG", "")
    if not files and not default.exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _in_cluster()
    merged = _merge(files, default, "--kubeconfig" if kubeconfig else "KUBECONFIG")
    name = _choose(merged, context)
    with tls.short_lived() as place:
        configuration = _loaded(merged, name, place)
        user = merged.users.get(str(merged.contexts[name].get("user")), {})
        _note_credentials(configuration, user)
        _check_server(configuration, merged, name)
        _check_plugin(configuration, merged, name)
        made = _tls(configuration, name, place)
    namespace = str(merged.contexts[name].get("namespace") or "default")
    return Access(configuration, name, namespace, made)


def _loaded(merged: _Merged, name: str, place: Path) -> Any:
    """Return the official client's configuration; it may write its files into ``place``."""
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_kube_config(
            merged.where,
            name,
            client_configuration=configuration,
            persist_config=False,
            temp_file_path=str(place),
        )
    except kubernetes.config.ConfigException as error:
        raise _unusable(str(error), merged.where) from error
    except (TypeError, ValueError, KeyError, AttributeError, OSError) as error:
        raise _unusable(_one_line(error), merged.where) from error
    return configuration


def _tls(configuration: Any, context: str, inline: Path | None = None) -> tls.Tls | None:
    try:
        found = tls.of(configuration, inline)
        if found:
            found.context()
    except (ssl.SSLError, ValueError, OSError) as error:
        text = f"its certificates cannot be read: {_one_line(error)}"
        raise _unusable(text, f"context {context}") from error
    return found


def _note_credentials(configuration: Any, user: dict[str, Any]) -> None:
    """Note what a kubeconfig holds or its plugin gave: tokens, passwords, the key."""
    for value in configuration.api_key.values():
        secrecy.note(str(value).rpartition(" ")[2], "kubeconfig/token")
    for field in ("token", "password", "client-key-data"):
        if isinstance(user.get(field), str):
            secrecy.note(user[field], f"kubeconfig/{field}")
    provider = user.get("auth-provider")
    config = provider.get("config") if isinstance(provider, dict) else None
    for field, value in config.items() if isinstance(config, dict) else ():
        if "token" in str(field) or "secret" in str(field):
            secrecy.note(str(value), f"kubeconfig/{field}")
    if configuration.key_file:
        with contextlib.suppress(OSError):
            secrecy.note(Path(configuration.key_file).read_bytes(), "kubeconfig/client-key")


def client(found: Access) -> Any:
    """Make the official client of an access."""
    made = kubernetes.client.ApiClient(found.configuration)
    tls.settle(made.rest_client.pool_manager, found.tls)
    return made


def _in_cluster() -> Access:
    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_incluster_config(client_configuration=configuration)
        namespace = _POD_NAMESPACE.read_text(encoding="utf-8").strip()
    except (kubernetes.config.ConfigException, OSError) as error:
        raise InputError(
            f"the pod's service account cannot be used: {_one_line(error)}",
            where=str(_POD_NAMESPACE.parent),
            hint="mount a service account token into the pod, or set KUBECONFIG",
        ) from error
    return Access(configuration, "in-cluster", namespace, _tls(configuration, "in-cluster"))


def _merge(files: str, default: Path, option: str) -> _Merged:
    paths = [Path(part).expanduser() for part in files.split(os.pathsep) if part] or [default]
    there = [path for path in paths if path.exists()]
    if not there:
        raise InputError(
            f"there is no kubeconfig at {os.pathsep.join(map(str, paths))}",
            where=option if files else "~/.kube/config",
            hint="start a control plane here with `opslib sandbox up`, "
            "or name yours with --kubeconfig",
        )
    read = {path: content for path in there if (content := _read(path))}
    if not read:
        raise _unusable("it is empty", os.pathsep.join(map(str, there)))
    contexts: dict[str, dict[str, Any]] = {}
    users: dict[str, dict[str, Any]] = {}
    for path, content in read.items():
        for name, entry in _named(path, content, "contexts", "context"):
            contexts.setdefault(name, entry)
        for name, entry in _named(path, content, "users", "user"):
            users.setdefault(name, entry)
    current = next(
        (str(c["current-context"]) for c in read.values() if c.get("current-context")), ""
    )
    return _Merged(tuple(read), current, contexts, users)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_bytes().decode(), yaml.CSafeLoader)
    except IsADirectoryError as error:
        raise _unusable("it is a directory, not a file", str(path)) from error
    except OSError as error:
        raise _unusable(error.strerror or type(error).__name__, str(path)) from error
    except yaml.MarkedYAMLError as error:
        # Only the line: the text around it may be a key.
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _unusable(f"not YAML: {error.problem}", f"{path}:{line}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _unusable("not YAML: it holds bytes that are no text", str(path)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise _unusable("it is not a mapping with clusters, contexts and users", str(path))
    return content


def _named(
    path: Path, content: dict[str, Any], field: str, part: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = content.get(field) or []
    if not isinstance(entries, list):
        raise _unusable(f"its {field} are not a list", str(path))
    for entry in entries:
        if not isinstance(entry, dict) or "name" not in entry:
            raise _unusable(f"an entry of its {field} has no name", str(path))
        inner = entry.get(part)
        yield str(entry["name"]), inner if isinstance(inner, dict) else {}


def _choose(merged: _Merged, wanted: str | None) -> str:
    name = wanted or merged.current
    known = ", ".join(sorted(merged.contexts)) or "none is defined"
    if not name:
        raise InputError(
            "the kubeconfig has no current context",
            where=merged.where,
            expected=f"one of: {known}",
            hint="choose one with --context, or `kubectl config use-context`",
        )
    if name not in merged.contexts:
        raise InputError(
            f"the kubeconfig has no context {name!r}",
            where=merged.where,
            expected=f"one of: {known}",
        )
    return name


def _check_server(configuration: Any, merged: _Merged, name: str) -> None:
    if not str(configuration.host or "").startswith(("https://", "http://")):
        text = f"the cluster of context {name!r} has no server address with http:// or https://"
        raise _unusable(text, merged.where)


def _check_plugin(configuration: Any, merged: _Merged, name: str) -> None:
    """The client only logs a plugin's failure, and goes on as an anonymous user."""
    plugin = merged.users.get(str(merged.contexts[name].get("user")), {}).get("exec")
    given = configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    if not isinstance(plugin, dict) or given or configuration.cert_file:
        return
    command = str(plugin.get("command", ""))
    missing = not shutil.which(command)
    why = "is not installed" if missing else "gave no credentials"
    hint = plugin.get("installHint") if missing else None
    raise InputError(
        f"the credential plugin {command!r} {why}",
        where=merged.where,
        hint=" ".join(str(hint).split()) if hint else "log in again with the plugin's own tool",
    )


def _unusable(why: str, where: str) -> InputError:
    text = " ".join(why.split())
    return InputError(f"the kubeconfig cannot be used: {text}", where=where, hint=_HINT)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
