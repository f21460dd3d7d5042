"""Whether the controller is one whose answers tell what is sealed: it was mended in v0.40.0.

Before v0.39 /v1/verify, and before v0.40 /v1/rotate, rendered the template that whoever asked
had sent, and failed or not by what a value is: a value could be guessed bit by bit.
https://github.com/bitnami/sealed-secrets/pull/2019 , https://github.com/bitnami/sealed-secrets/pull/2049
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opslib.core.errors import OpslibError
from opslib.kube.client import Cluster
from opslib.kube.errors import ApiError

SAFE = (0, 40, 0)
_BUILD = re.compile(rb'sealed_secrets_controller_build_info\{.*revision="([^"]{1,60})"')
_IMAGE = re.compile(r"sealed-secrets[^@]*:v?(\d+\.\d+\.\d+)")
_NUMBERS = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_MOST_LINES = 20_000
_SECONDS = 5.0


def warning(cluster: Cluster, namespace: str, service: Mapping[str, Any], proxy: str) -> str:
    """Return what a person should know of the controller's version; "" where it is not old.

    ``service`` is its Service, ``proxy`` the path of the service proxy to it. It is asked in
    three ways, as far as the rights go: its metrics, the image of its pods, and whether it has
    an address that came with v0.39. Nothing is said where none of them tells.
    """
    found = next(_told(cluster, namespace, service), "")
    numbers = _numbers(found)
    if numbers >= SAFE:
        return ""
    if not found:
        if _has_readyz(cluster, proxy):
            return ""
        found = "older than v0.39.0"
    return (
        f"the controller {namespace}/{service['metadata']['name']} is {found}: before v0.40.0"
        " whoever can reach it can find out sealed values by trying; it should be updated"
    )


def _told(cluster: Cluster, namespace: str, service: Mapping[str, Any]) -> Iterator[str]:
    """Yield versions as the metrics and the images say them; what is no version is left out."""
    for ask in (_of_metrics, _of_image):
        try:
            found = ask(cluster, namespace, service)
        except (OpslibError, KeyError, IndexError, TypeError, AttributeError):
            continue  # no right to it, or none there: the next one may tell
        if _NUMBERS.fullmatch(found):
            yield f"v{found.removeprefix('v')}"


def _of_metrics(cluster: Cluster, namespace: str, service: Mapping[str, Any]) -> str:
    """Ask the Service of the metrics, which the manifests and the chart call alike."""
    base = f"/api/v1/namespaces/{namespace}/services"
    name = f"{service['metadata']['name']}-metrics"
    port = cluster.request("GET", f"{base}/{name}", timeout=_SECONDS)["spec"]["ports"][0]
    path = f"{base}/http:{name}:{port.get('name') or ''}/proxy/metrics"
    for number, line in enumerate(cluster.stream(path, timeout=_SECONDS)):
        if match := _BUILD.match(line):
            return match[1].decode(errors="replace")
        if number > _MOST_LINES:
            break
    return ""


def _of_image(cluster: Cluster, namespace: str, service: Mapping[str, Any]) -> str:
    selector = service["spec"]["selector"]
    query = {"labelSelector": ",".join(f"{key}={value}" for key, value in selector.items())}
    items, _ = cluster.list(f"/api/v1/namespaces/{namespace}/pods", query)
    images = [str(one["image"]) for pod in items for one in pod["spec"]["containers"]]
    return next((match[1] for image in images if (match := _IMAGE.search(image))), "")


def _has_readyz(cluster: Cluster, proxy: str) -> bool:
    """Tell whether the controller has /readyz; also where it cannot be known."""
    try:
        for _ in cluster.stream(f"{proxy}/readyz", timeout=_SECONDS):
            pass
    except ApiError as error:
        return error.code != 404
    except OpslibError:
        return True
    return True


def _numbers(text: str) -> tuple[int, ...]:
    match = _NUMBERS.fullmatch(text)
    return tuple(map(int, match.groups())) if match else ()
