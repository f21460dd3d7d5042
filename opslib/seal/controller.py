"""The controller in the cluster, reached through the API server's service proxy.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/#manually-constructing-apiserver-proxy-urls
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.core.errors import InputError, OpslibError
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError
from opslib.seal import age
from opslib.seal.names import CONTROLLER_NAME, CONTROLLER_NAMESPACE

PER_SECOND = 2.0
"""Requests a second to /v1/verify and /v1/rotate: the controller's default --rate-limit."""
_MOST_CERT = 1_000_000
_TRIES = 12
_FLAGS = "name it with --controller-name and --controller-namespace"


@dataclass
class Controller:
    """One controller. ``per_second`` paces what it limits; it answers 429 above that."""

    cluster: Cluster
    namespace: str = CONTROLLER_NAMESPACE
    name: str = CONTROLLER_NAME
    per_second: float = PER_SECOND
    _service: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _base: str = ""
    _warned: bool = False
    _next: float = field(default=0.0, repr=False)

    def certificate(self) -> bytes:
        """Return what the controller serves as its certificate, unchanged.

        Raises InputError where there is no controller, or it does not answer.
        """
        path = f"{self._proxy()}/v1/cert.pem"
        size, lines = 0, []
        try:
            for line in self.cluster.stream(path, accept="application/x-pem-file, */*"):
                size += len(line)
                if size > _MOST_CERT:
                    raise InputError("the answer is too large for a certificate", where=path)
                lines.append(line + b"\n")
        except ApiError as error:
            raise self._silent(error, "its certificate cannot be fetched") from error
        return b"".join(lines)

    def news(self) -> list[str]:
        """Return what a person should know of its version, once; the controller has answered."""
        if self._warned:
            return []
        self._warned = True
        base = self._proxy()
        told = age.warning(self.cluster, self.namespace, self._service, base)
        return [told] if told else []

    def verify(self, manifest: Mapping[str, Any]) -> bool:
        """Ask whether the controller can unseal all values; nothing of them is answered."""
        try:
            self._post("/v1/verify", manifest)
        except ApiError as error:
            if error.code == 409:
                return False
            raise self._silent(error, "it cannot verify") from error
        return True

    def rotate(self, manifest: Mapping[str, Any]) -> dict[str, str]:
        """Let the controller seal all values anew for its present key; return the ciphertexts.

        Nothing else of the answer is used: the controller drops template.data, and the labels
        and annotations of the template.
        """
        try:
            answer = self._post("/v1/rotate", _bare(manifest))
        except ApiError as error:
            if error.code in {409, 500}:
                raise OpslibError(
                    "the controller cannot unseal it, so it cannot seal it anew",
                    where=str((manifest.get("metadata") or {}).get("name")),
                    hint="opslib seal check says why",
                ) from error
            raise self._silent(error, "it cannot seal anew") from error
        spec = answer.get("spec") if isinstance(answer, dict) else None
        data = spec.get("encryptedData") if isinstance(spec, dict) else None
        if not isinstance(data, dict) or not all(isinstance(one, str) for one in data.values()):
            raise OpslibError("the answer of the controller is no SealedSecret", where=self._place)
        return {str(key): text for key, text in data.items()}

    @property
    def _place(self) -> str:
        return f"{self.cluster.server} Service {self.namespace}/{self.name}"

    def _proxy(self) -> str:
        """Return the path of the proxy: by the name of the Service's first port, as kubeseal."""
        if not self._base:
            path = f"/api/v1/namespaces/{self.namespace}/services/{self.name}"
            try:
                self._service = self.cluster.get(path)
                port = str((self._service["spec"]["ports"][0]).get("name") or "")
            except ApiError as error:
                raise self._missing(error) from error
            except (KeyError, IndexError, TypeError):
                raise InputError("the Service has no port", where=self._place) from None
            base = f"/api/v1/namespaces/{self.namespace}/services"
            self._base = f"{base}/http:{self.name}:{port}/proxy"
        return self._base

    def _post(self, path: str, manifest: Mapping[str, Any]) -> Any:
        """Send one request at the controller's pace; refused as one too many, it is repeated."""
        where = self._proxy() + path
        for number in range(_TRIES):
            self._wait()
            try:
                return self.cluster.request("POST", where, body=dict(manifest))
            except ApiError as error:
                if error.code != 429 or number == _TRIES - 1:
                    raise
                self._next = time.monotonic() + min(error.retry_after or 1.0, 30.0)
        raise AssertionError  # the loop returns or raises

    def _wait(self) -> None:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + 1 / self.per_second

    def _missing(self, error: ApiError) -> OpslibError:
        if error.code != 404:
            return self._silent(error, "it cannot be asked")
        return InputError(
            "there is no Sealed Secrets controller",
            where=self._place,
            expected=f"a Service {self.name} in {self.namespace}",
            hint=f"{self._elsewhere()}; or seal offline with --cert FILE",
        )

    def _elsewhere(self) -> str:
        """Look for a controller under another name, as Helm installs it."""
        try:
            items, _ = self.cluster.list("/api/v1/services")
        except OpslibError:
            return _FLAGS
        found = [
            (str(one["metadata"]["namespace"]), str(one["metadata"]["name"]))
            for one in items
            if "sealed-secrets" in one["metadata"]["name"]
            and not one["metadata"]["name"].endswith("-metrics")
        ]
        if not found:
            return _FLAGS
        namespace, name = found[0]
        return f"there is one: --controller-namespace {namespace} --controller-name {name}"

    def _silent(self, error: ApiError, what: str) -> OpslibError:
        """Say what an answer means that came from the proxy or the controller."""
        if error.code in {502, 503, 504}:
            return InputError(
                f"the controller does not answer, so {what}: {error.what}",
                where=self._place,
                hint="see that its pod is ready and its Service has endpoints, or use --cert FILE",
            )
        if error.code == 403:
            return InputError(
                f"the API server forbids the way to the controller, so {what}",
                where=self._place,
                expected="the right to get (and create) services/proxy in its namespace",
                hint="the role sealed-secrets-service-proxier gives it; or use --cert FILE",
            )
        return error


def _bare(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a SealedSecret without its template: less for the controller to see or to lose."""
    whole = copy.deepcopy(dict(manifest))
    spec = {"encryptedData": whole.get("spec", {}).get("encryptedData", {})}
    metadata = whole.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    kept = {k: v for k, v in annotations.items() if k.startswith("sealedsecrets.bitnami.com/")}
    own = {name: metadata[name] for name in ("name", "namespace") if metadata.get(name)}
    own |= {"annotations": kept} if kept else {}
    return {
        "apiVersion": whole.get("apiVersion"),
        "kind": whole.get("kind"),
        "metadata": own,
        "spec": spec,
    }
