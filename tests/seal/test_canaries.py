"""500 values by every way out: none is in a record, a file, a process, Git or the API server.

Each way is shown to be looked at: what is leaked there on purpose is found there.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter

from opslib.core.errors import InputError
from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.seal.secret import read_secrets

from . import parts
from .canary import Canary, Seeker, make, spellings, word
from .channels import CHANNELS, HANDED, OUTSIDE, RAISING
from .running import Running, until
from .watching import Watch

COUNT = 500
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Flock:
    """The canaries with what finds them, and a control for each way, which is told to nobody."""

    canaries: list[Canary]
    seeker: Seeker
    controls: dict[str, str]
    file: Path

    def controls_in(self, data: bytes) -> set[str]:
        """Return the ways whose control stands in some bytes."""
        return {name for name, text in self.controls.items() if text.encode() in data}


@pytest.fixture(scope="module")
def flock(tmp_path_factory: pytest.TempPathFactory) -> Flock:
    """Make them, and a file of them that is outside of all that is looked at."""
    canaries = make(COUNT)
    names = (*CHANNELS, *OUTSIDE, "git", "annotation", "audit")
    controls = {name: word(22) for name in names}
    file = tmp_path_factory.mktemp("flock") / "values.json"
    values = [base64.b64encode(one.value).decode() for one in canaries]
    file.write_text(json.dumps({"values": values, "controls": controls}))
    file.chmod(0o600)
    return Flock(canaries, Seeker([one.cores for one in canaries]), controls, file)


@dataclass(frozen=True)
class Ground:
    """The folders of one run, each its own, and all of them looked at."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "cwd", "out", "cache", "state"):
            (self.root / name).mkdir(parents=True)

    def environment(self, flock: Flock, **more: str) -> dict[str, str]:
        """Return an environment in which nothing of the user's is used."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        places = {"HOME": "home", "TMPDIR": "tmp", "OPSLIB_STATE": "state", "IPYTHONDIR": "home/i"}
        own = {name: str(self.root / place) for name, place in places.items()}
        git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return {**kept, **own, **git, "FLOCK": str(flock.file), "PYTHONWARNINGS": "ignore", **more}


def _run(
    ground: Ground, flock: Flock, watch: Watch, *words: Any, stdin: bytes = b"", **env: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a ground under watch."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=ground.root / "cwd",
        env=ground.environment(flock, **env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    watch.processes.roots.add(process.pid)
    out, err = process.communicate(stdin, timeout=800)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _notebook(path: Path, *cells: Mapping[str, Any]) -> Path:
    made = nbformat.v4.new_notebook()
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made.metadata["kernelspec"] = kernel
    for number, cell in enumerate(cells):
        made.cells.append(nbformat.v4.new_code_cell(id=f"cell-{number}", **cell))
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


def _cell(source: str, *tags: str) -> dict[str, Any]:
    return {"source": source, "metadata": {"tags": list(tags)}}


LOAD = "from opslib import runbook\n\np = runbook.load(globals())"


def test_what_finds_them_finds_each_in_every_spelling(flock: Flock) -> None:
    """Each of 500 in each spelling, at changing places, is found, and nothing in what is random."""
    missed, tried = [], 0
    for number, one in enumerate(flock.canaries):
        for core in one.cores[:1]:
            for name, form in spellings(core):
                tried += 1
                if number not in flock.seeker.found(b"'" * (tried % 9) + form + b"..."):
                    missed.append((number, one.shape, name))
    assert missed == []
    noise = os.urandom(2_000_000)
    for data in (noise, base64.b64encode(noise), noise.hex().encode()):
        assert flock.seeker.found(data) == set()
    print(f"{tried} spellings of {COUNT} canaries found; shapes: {Counter(_shapes(flock))}")


def _shapes(flock: Flock) -> list[str]:
    return [one.shape for one in flock.canaries]


@pytest.mark.timeout(900)
def test_no_canary_leaves_a_kernel(flock: Flock, tmp_path: Path) -> None:
    """A recorded run that prints, shows, raises, logs and reports 500 values leaves none."""
    ground = Ground(tmp_path / "ground")
    cells = [_cell("plain: str = ''", "parameters"), _cell(LOAD), _cell(HANDED)]
    cells += [
        _cell(source, *(["raises-exception"] if name in RAISING else []))
        for name, source in CHANNELS.items()
    ]
    path = _notebook(ground.root / "cwd" / "notebooks" / "book.ipynb", *cells)
    with Watch(ground.root) as watch:
        done = _run(ground, flock, watch, "opslib", "run", path, "--out", ground.root / "out")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    (record,) = (ground.root / "out").glob("*/book-*")
    seen = [(str(name), data) for name, data in watch.files.contents()]
    seen += [("stdout", done.stdout), ("stderr", done.stderr)]
    page, _ = HTMLExporter().from_filename(str(record / "record.ipynb"))
    seen.append(("nbconvert's own page", page.encode()))
    findings = {name: found for name, data in seen if (found := flock.seeker.found(data))}
    assert findings == {}
    assert flock.seeker.found(b"\n".join(watch.processes.arguments)) == set()
    assert flock.seeker.found(b"\n".join(watch.processes.environments)) == set()
    assert flock.seeker.below(ground.root) == {}
    _controls(flock, watch, record, page)
    text = (record / "record.ipynb").read_text()
    assert "core dumps 0 0" in text
    assert f"refused {COUNT * 16} " in text
    size = sum(len(data) for _, data in seen)
    print(
        f"{COUNT} canaries, {len(CHANNELS)} ways: 0 in {len(seen)} files ({size >> 10} KiB), "
        f"{len(watch.processes.seen)} processes, {watch.looks} looks; "
        f"{text.count(chr(0x2039) + 'secret:')} masks"
    )
    watch.files.close()


def _controls(flock: Flock, watch: Watch, record: Path, page: str) -> None:
    """What was leaked on purpose is found where it was leaked."""
    wanted = set(CHANNELS) - {"process", "chunks", "descriptor"}
    notebook = (record / "record.ipynb").read_bytes()
    attached = {"attachment"}
    assert flock.controls_in(notebook) >= wanted - attached
    assert flock.controls["chunks"] in notebook.decode()
    html = {"print", "display", "pandas", "traceback", "logging", "warnings", "out"}
    assert flock.controls_in(page.encode()) >= html
    assert flock.controls_in((record / "record.html").read_bytes()) >= html
    assert flock.controls_in((record / "result.json").read_bytes()) >= {"result"}
    assert flock.controls_in((record / "canaries.json").read_bytes()) == attached
    assert flock.controls_in(b"".join(watch.processes.arguments)) == {"arguments"}
    assert flock.controls_in(b"".join(watch.processes.environments)) == {"environment"}
    files = {
        name
        for path, data in watch.files.contents()
        if not path.startswith(str(record))
        for name in flock.controls_in(data)
    }
    assert files >= {"temporary", "folder", "home"}


@pytest.mark.timeout(900)
def test_no_canary_is_in_what_papermill_writes(flock: Flock, tmp_path: Path) -> None:
    """Parameters are references; what papermill's own command writes and prints has no value."""
    ground = Ground(tmp_path / "ground")
    source = flock.file.parent / "papermill"
    given = _files(flock, source)
    declared = "from opslib.runbook import Secret\n\nvalues: dict[str, Secret] = {}"
    show = (
        "for one in p.values.values(): print(one.reveal(), one)\n"
        "raise ValueError(' '.join(one.reveal() for one in p.values.values()))"
    )
    path = _notebook(
        ground.root / "cwd" / "notebooks" / "book.ipynb",
        _cell(declared, "parameters"),
        _cell(LOAD),
        _cell(show),
    )
    words = ["papermill", "--engine", "opslib", path, "done.ipynb", "--no-progress-bar"]
    with Watch(ground.root) as watch:
        done = _run(ground, flock, watch, *words, "-y", json.dumps({"values": given}))
    assert (ground.root / "cwd" / "done.ipynb").exists(), done.stderr.decode()[-3000:]
    assert done.returncode == 1, done.stderr.decode()[-3000:]
    data = done.stdout + done.stderr + b"".join(data for _, data in watch.files.contents())
    assert flock.seeker.found(data) == set()
    assert flock.seeker.found(b"".join(watch.processes.arguments)) == set()
    assert flock.seeker.found(b"".join(watch.processes.environments)) == set()
    assert b"file:" in (ground.root / "cwd" / "done.ipynb").read_bytes()
    masks = (ground.root / "cwd" / "done.ipynb").read_text().count("\u2039secret:")
    assert masks >= len(given)
    print(f"{len(given)} canaries as parameters of papermill: 0 found, {masks} masks")
    watch.files.close()


def _files(flock: Flock, folder: Path) -> dict[str, str]:
    """Write each canary that is text into a file of its own; return the references by key."""
    folder.mkdir(mode=0o700)
    given = {}
    for number, one in enumerate(flock.canaries):
        if one.text is not None and one.text == one.text.rstrip("\r\n"):
            path = folder / f"k{number}"
            path.write_bytes(one.value)
            path.chmod(0o600)
            given[f"k{number}"] = f"file:{path}"
    return given


@pytest.mark.timeout(900)
def test_no_canary_on_the_way_from_the_runbook_to_the_cluster(
    flock: Flock, controller: Running, sandbox: Status, namespace: str, tmp_path: Path
) -> None:  # fmt: skip
    """Sealed, committed, applied, unsealed and followed: the Secret has all 500, nothing else any.

    Nothing else: Git's objects, files, arguments, environments, the API server's other objects
    and all annotations, the audit log, the logs of controller and API server.
    """
    ground = Ground(tmp_path / "ground")
    repo = _repository(ground.root / "repo", controller, namespace)
    audit = sandboxes.environment(sandbox.name)["OPSLIB_AUDIT_LOG"]
    begun = Path(audit).stat().st_size if Path(audit).exists() else 0
    env = {"KUBECONFIG": controller.kubeconfig, "OPSLIB_CACHE": str(ground.root / "cache")}
    texts = _files(flock, flock.file.parent / "runbook")
    rest = {f"k{n}": o.value for n, o in enumerate(flock.canaries) if f"k{n}" not in texts}
    source = parts.dumped(parts.secret(rest, "canaries", namespace))
    told: list[subprocess.CompletedProcess[bytes]] = []
    given = {"secret": f"{namespace}/canaries", "repo": str(repo), "keys": ""}
    with Watch(ground.root) as watch:

        def do(*words: Any, stdin: bytes = b"") -> None:
            told.append(_run(ground, flock, watch, "opslib", *words, stdin=stdin, **env))
            assert told[-1].returncode == 0, told[-1].stderr.decode()[-3000:]

        def runbook(**more: str) -> None:
            pairs = [word for pair in ({**given, **more}).items() for word in ("-p", *pair)]
            do("run", PROJECT / "notebooks" / "seal-secret.ipynb", *pairs,
               "--out", ground.root / "out")  # fmt: skip

        do("seal", "--cert", repo / "cert.pem", "-w", repo / "canaries.yaml", stdin=source)
        _git(repo, "add", "-A")
        _git(repo, "commit", "-qm", "what is no text")
        runbook(values=json.dumps(texts), mode="apply", in_advance="true", author="A <a@b.c>")
        _git(repo, "merge", "-q", _git(repo, "branch", "--format=%(refname:short)").split()[-1])
        do("apply", "--yes", "--repo", repo, "--app", namespace)
        until(lambda: controller.synced(namespace, "canaries"), "Synced", 60)
        runbook(mode="follow", keys="k0", wait="30s")
    secret = controller.secret(namespace, "canaries")
    assert secret == {f"k{n}": one.value for n, one in enumerate(flock.canaries)}
    _leak(flock, repo, controller.cluster, namespace)
    places = {
        "files": b"\0".join(data for _, data in watch.files.contents()),
        "output": b"".join(one.stdout + one.stderr for one in told),
        "arguments": b"".join(watch.processes.arguments),
        "environments": b"".join(watch.processes.environments),
        "Git objects": _objects(repo),
        "API server": _of_server(controller.cluster, namespace),
        "audit log": Path(audit).read_bytes()[begun:],
        "logs": _logs(Path(audit).parent, controller),
    }
    findings = {name: found for name, data in places.items() if (found := flock.seeker.found(data))}
    assert findings == {}
    assert "git" in flock.controls_in(places["Git objects"])
    assert "annotation" in flock.controls_in(places["API server"])
    assert {"annotation", "audit"} <= flock.controls_in(Path(audit).read_bytes()[begun:])
    assert flock.seeker.found(json.dumps(_values(secret)).encode()) == set(range(COUNT))
    print(f"{COUNT} canaries reached the Secret; 0 in " + ", ".join(
        f"{name} ({len(data) >> 10} KiB)" for name, data in places.items()
    ) + f", of {len(watch.processes.seen)} processes")  # fmt: skip
    watch.files.close()


def _values(secret: Mapping[str, bytes]) -> list[str]:
    return [base64.b64encode(value).decode() for value in secret.values()]


def _repository(repo: Path, controller: Running, namespace: str) -> Path:
    repo.mkdir()
    _git(repo, "init", "-q")
    sealing = {"name": "here", "keys": [controller.fingerprint()], "certificate": "cert.pem"}
    pins = {"apiVersion": "opslib.dev/v1", "kind": "Sealing", "clusters": [sealing]}
    (repo / "seal.yaml").write_text(json.dumps(pins))
    (repo / "cert.pem").write_bytes(controller.certificate())
    reader = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "reader", "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "reader"}},
            "template": {
                "metadata": {"labels": {"app": "reader"}},
                "spec": {
                    "containers": [
                        {
                            "name": "reader",
                            "image": "registry.example.com/reader:1",
                            "envFrom": [{"secretRef": {"name": "canaries"}}],
                        }
                    ]
                },
            },
        },
    }
    (repo / "reader.yaml").write_text(json.dumps(reader))
    return repo


def _git(repo: Path, *words: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", repo, *who, *words], check=True, capture_output=True)
    return done.stdout.decode()


def _leak(flock: Flock, repo: Path, server: Cluster, namespace: str) -> None:
    """Put the controls where nothing else may be: a blob, an annotation, a request."""
    words = ["git", "-C", str(repo), "hash-object", "-w", "--stdin"]
    subprocess.run(words, input=flock.controls["git"].encode(), check=True, capture_output=True)
    metadata = {
        "name": "leak",
        "annotations": {"kapp.k14s.io/original": flock.controls["annotation"]},
    }
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"a": flock.controls["audit"]}}  # fmt: skip
    server.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", body=body)


def _objects(repo: Path) -> bytes:
    """Return the contents of every object of a repository."""
    words = ["git", "-C", str(repo), "cat-file", "--batch-all-objects", "--batch"]
    return subprocess.run(words, check=True, capture_output=True).stdout


def _of_server(server: Cluster, namespace: str) -> bytes:
    """Return all objects of the namespaces as the API server has them; of Secrets no data."""
    found = []
    for place in (namespace, "opslib-system"):
        core, apps = f"/api/v1/namespaces/{place}", f"/apis/apps/v1/namespaces/{place}"
        sealed = f"/apis/bitnami.com/v1alpha1/namespaces/{place}/sealedsecrets"
        paths = [f"{core}/{kind}" for kind in ("configmaps", "events", "pods", "secrets")]
        paths += [f"{apps}/{kind}" for kind in ("deployments", "replicasets")]
        for path in (*paths, sealed):
            items, _ = server.list(path)
            found += [{k: v for k, v in one.items() if not (path.endswith("/secrets")
                       and k == "data")} for one in items]  # fmt: skip
    return json.dumps(found, ensure_ascii=False).encode()


def _logs(folder: Path, controller: Running) -> bytes:
    names = [*folder.glob("kube-*.log"), controller.controller.folder / "log"]
    return b"".join(path.read_bytes() for path in names)


def test_no_copy_of_a_value_is_sealed_beside_it(flock: Flock) -> None:
    """Last-applied is stripped, foreign copies are refused, and no message has the value."""
    seen: list[str] = []
    refused = 0
    for number, one in enumerate(flock.canaries):
        plain = parts.secret({"value": one.value}, f"c{number}")
        last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(plain)}
        (secret,) = read_secrets(parts.dumped({**plain, "metadata": {**plain["metadata"],
                                 "annotations": last}}), "stdin")  # fmt: skip
        seen.append(json.dumps(secret.metadata))
        for copy in (json.dumps(plain), base64.b64encode(one.value).decode(), one.value.hex()):
            foreign = {**plain["metadata"], "annotations": {"kapp.k14s.io/original": copy}}
            try:
                read_secrets(parts.dumped({**plain, "metadata": foreign}), "stdin")
            except InputError as error:
                refused += 1
                seen.append(f"{error}")
    assert refused == 3 * COUNT
    assert flock.seeker.found("\n".join(seen).encode()) == set()
    print(f"{refused} foreign copies refused, {COUNT} of kubectl stripped: 0 values in messages")
