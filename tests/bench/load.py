"""Repositories of many objects, all alike on every machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

NAMESPACE = "load"

_CONFIG = """apiVersion: v1
kind: ConfigMap
metadata:
  name: o{i}
  namespace: load
  labels: {{app: a{i}}}
data:
  key: 'value {i}'
  other: text
"""
_SERVICE = """apiVersion: v1
kind: Service
metadata:
  name: o{i}
  namespace: load
  labels: {{app: a{i}}}
spec:
  clusterIP: None
  selector: {{app: a{i}}}
  ports:
    - name: http
      port: 80
      targetPort: 8080
"""
# Amounts in the server's own form: 1000m would change hands with each manager that applies it, as
# what is declared and what is kept are different texts.
_DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: o{i}
  namespace: load
  labels: {{app: a{i}}}
spec:
  replicas: 0
  selector:
    matchLabels: {{app: a{i}}}
  template:
    metadata:
      labels: {{app: a{i}}}
    spec:
      containers:
        - name: app
          image: registry.example/app:1
          ports:
            - containerPort: 8080
          env:
            - name: A
              value: b
          resources:
            requests: {{cpu: 100m, memory: 64Mi}}
            limits: {{cpu: "1", memory: 128Mi}}
"""
SHAPES = (_CONFIG, _SERVICE, _DEPLOYMENT)


def make(repo: Path, objects: int) -> Path:
    """Make a repository with so many ConfigMaps, Services and Deployments; return its folder."""
    folder = repo / "app"
    folder.mkdir(parents=True)
    for number in range(objects):
        text = SHAPES[number % 3].format(i=number)
        (folder / f"o{number:05}.yaml").write_text(text, encoding="utf-8")
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", f"{objects} objects")
    return folder


def requests(objects: int, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the JSON of each object, for those who send them as they are."""
    for number in range(objects):
        manifest = yaml.safe_load(SHAPES[number % 3].format(i=number))
        manifest["metadata"]["namespace"] = namespace
        version, plural = manifest["apiVersion"], f"{manifest['kind'].lower()}s"
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        yield f"{root}/namespaces/{namespace}/{plural}/o{number}", json.dumps(manifest)


def git(repo: Path, *words: str) -> None:
    """Run git as a person with a name."""
    who = ["-c", "user.name=Bench", "-c", "user.email=bench@example.com"]
    subprocess.run(["git", "-C", str(repo), *who, *words], check=True, capture_output=True)
