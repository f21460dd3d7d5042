"""An apply that changes a sealed value and what reads it, beside the real controller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from opslib.kube.client import Cluster
from opslib.seal import certificates
from opslib.seal.controller import Controller
from opslib.seal.sealing import Options, seal
from opslib.seal.secret import read_secrets

from .parts import dumped, secret
from .running import Running, until

READER = """
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: NAMESPACE}
spec:
  containers:
  - name: app
    image: registry.example/app:1
    env:
    - name: PASSWORD
      valueFrom: {secretKeyRef: {name: db, key: password}}
"""


def test_what_reads_a_value_is_written_when_it_is_unsealed(
    controller: Running, server: Cluster, namespace: str, tmp_path: Path
) -> None:
    """While the controller stands still nothing that reads the value is there; then all is."""
    cert = certificates.parse(Controller(server, controller.namespace).certificate(), "")
    document = dumped(secret({"password": "n0t-in-git"}, "db", namespace))
    (made,) = seal(read_secrets(document, "in"), cert, Options())
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "db.yaml").write_text(yaml.safe_dump(made.manifest))
    (repo / "reader.yaml").write_text(READER.replace("NAMESPACE", namespace))
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "both"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *words],
                       cwd=repo, check=True)  # fmt: skip
    words = [sys.executable, "-m", "opslib", "apply", "--yes", "--repo", str(repo)]
    env = {**os.environ, "KUBECONFIG": controller.kubeconfig}
    base = f"/api/v1/namespaces/{namespace}"
    for pid in controller.controller.pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        process = subprocess.Popen([*words, "--app", namespace], env=env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)  # fmt: skip
        sealed = f"/apis/bitnami.com/v1alpha1/namespaces/{namespace}/sealedsecrets/db"
        until(lambda: server.find(sealed), "the SealedSecret")
        for _ in range(5):
            assert server.find(f"{base}/pods/reader") is None
    finally:
        for pid in controller.controller.pids:
            os.kill(pid, signal.SIGCONT)
    said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    times = [
        server.get(f"{base}/{one}")["metadata"]["creationTimestamp"]
        for one in ("secrets/db", "pods/reader")
    ]
    assert times == sorted(times)
    assert controller.secret(namespace, "db") == {"password": b"n0t-in-git"}
