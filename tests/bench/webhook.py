"""A small mutating webhook with a certificate of its own: it marks objects and adds a sidecar."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opslib.kube.client import Cluster

MARK = "webhook.example.com/seen"
_CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
SIDECAR = {
    "name": "proxy",
    "image": "registry.example/proxy:1",
    "env": [{"name": "MODE", "value": "strict"}],
    "resources": {"requests": {"cpu": "10m"}},
}


def mutations(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the JSON Patch for an object: a mark, and a sidecar in pod templates."""
    found: list[dict[str, Any]] = []
    annotations = one["metadata"].get("annotations")
    if annotations is None:
        found.append({"op": "add", "path": "/metadata/annotations", "value": {MARK: "yes"}})
    elif MARK not in annotations:
        path = "/metadata/annotations/" + MARK.replace("/", "~1")
        found.append({"op": "add", "path": path, "value": "yes"})
    pod = ((one.get("spec") or {}).get("template") or {}).get("spec") or {}
    if pod.get("containers") and all(c["name"] != "proxy" for c in pod["containers"]):
        path = "/spec/template/spec/containers/-"
        found.append({"op": "add", "path": path, "value": SIDECAR})
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = json.loads(body)["request"]
        patch = base64.b64encode(json.dumps(mutations(request["object"])).encode()).decode()
        response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
        answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        text = json.dumps({**answer, "response": {**response, "patch": patch}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is inherited
        del format, args


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about connections that the API server closes."""


@contextmanager
def webhook(cluster: Cluster, place: Path, name: str, namespace: str) -> Iterator[None]:
    """Let the webhook change what is written in one namespace, while the block runs."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", "hook.key", "-out", "hook.crt"]
    place.mkdir(exist_ok=True)
    subprocess.run([*words.split(), *names, *files], cwd=place, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "hook.crt", place / "hook.key")
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        bundle = base64.b64encode((place / "hook.crt").read_bytes()).decode()
        body = _configuration(name, namespace, server.server_address[1], bundle)
        cluster.request("POST", _CONFIGURATIONS, body=body)
        _wait(cluster, namespace)
        yield
    finally:
        cluster.request("DELETE", f"{_CONFIGURATIONS}/{name}")
        server.shutdown()
        server.server_close()
        thread.join()


def _wait(cluster: Cluster, namespace: str) -> None:
    """Wait until the API server asks the webhook: it takes notice of a new one in a while."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "hook-probe"}}
    until = time.monotonic() + 30
    while time.monotonic() < until:
        made = cluster.request("POST", path, query={"dryRun": "All"}, body=body)
        if MARK in (made["metadata"].get("annotations") or {}):
            return
        time.sleep(0.05)
    raise SystemExit("the API server does not ask the webhook")


def _configuration(name: str, namespace: str, port: int, bundle: str) -> dict[str, Any]:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rules = [
        {
            "apiGroups": ["", "apps"],
            "apiVersions": ["v1"],
            "resources": ["configmaps", "deployments"],
            "operations": ["CREATE", "UPDATE"],
        }
    ]
    hook = {
        "name": "mark.webhook.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
        "rules": rules,
        "namespaceSelector": selector,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
        "timeoutSeconds": 20,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [hook],
    }
