"""Places that cannot be written and controllers that cannot be asked: said, and nothing is half."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from opslib.kube.client import Cluster
from opslib.sandbox import cluster as sandboxes
from opslib.sandbox.cluster import Status
from opslib.seal.names import CONTROLLER_NAME as NAME
from opslib.seal.sealed import read_sealed

from .conftest import Verb
from .parts import dumped, secret

VALUE = "tr0ub4dor-and-three"
GOOD = secret({"password": VALUE})


@pytest.fixture
def sealed(seal: Verb, cert: Path, tmp_path: Path) -> Path:
    """Return a sealed file that is there already."""
    path = tmp_path / "old.yaml"
    assert seal("--cert", cert, "-w", path, stdin=dumped(GOOD)).code == 0
    return path


_INSIDE = """
mount -t tmpfs -o size=64k,mode=700 none "$1" || exit 99
cp "$2" "$1/old.yaml"
if [ "$3" = full ]; then cat /dev/zero > "$1/.fill" 2>/dev/null; else mount -o remount,ro "$1"; fi
place=$1
shift 3
"$@" 2>&1
code=$?
ls -A "$place"
sha256sum < "$place/old.yaml"
exit $code
"""

WAYS = {
    "a new file": ("-w", "new.yaml"),
    "over a file": ("-w", "old.yaml"),
    "a merge": ("--merge-into", "old.yaml"),
    "set": ("set", "old.yaml", "password"),
    "many": ("--out", "{namespace}-{name}.yaml"),
}


@pytest.mark.parametrize(
    ("disk", "way"),
    [
        ("full", "over a file"),
        ("full", "set"),
        ("full", "many"),
        ("read-only", "a new file"),
        ("read-only", "a merge"),
    ],
)
def test_a_full_and_a_read_only_disk(
    cert: Path, sealed: Path, tmp_path: Path, disk: str, way: str
) -> None:
    """The place is named, the exit code is 1 or 2, what was there stays, and no more is there."""
    place = tmp_path / "disk"
    place.mkdir()
    text = sealed.read_bytes()
    target = WAYS[way][1]
    program = [sys.executable, "-m", "opslib", "seal", WAYS[way][0], str(place / target)]
    program += [*WAYS[way][2:], "--cert", str(cert)]
    own = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    words = [*own, "sh", "-c", _INSIDE, "sh", str(place), str(sealed), disk, *program]
    more = dumped(GOOD, secret({"a": "b"}, "web")) if way == "many" else dumped(GOOD)
    done = subprocess.run(
        words, input=VALUE.encode() if way == "set" else more, capture_output=True, check=False
    )
    told = done.stdout.decode()
    assert done.returncode == (1 if disk == "full" else 2), told
    assert "it cannot be written: " + ("No space" if disk == "full" else "Read-only") in told
    name = target.replace("{namespace}-{name}", "shop-db")
    assert f"where: {place / name}\n" in told
    assert "nothing was written" in told
    assert told.splitlines()[-1].split()[0] == hashlib.sha256(text).hexdigest()
    left = told.splitlines()[-3:-1] if disk == "full" else told.splitlines()[-2:-1]
    assert left == ([".fill", "old.yaml"] if disk == "full" else ["old.yaml"])
    assert VALUE not in told


def test_all_files_of_a_call_or_none(seal: Verb, cert: Path, tmp_path: Path) -> None:
    """One of several targets is a folder: it is named, and the others are as they were."""
    (tmp_path / "web.yaml").mkdir()
    (tmp_path / "db.yaml").write_text("before")
    many = dumped(GOOD, secret({"a": "b"}, "api"), secret({"a": "b"}, "web"))
    done = seal("--cert", cert, "--out", "{name}.yaml", stdin=many)
    assert done.code == 2
    assert "where: web.yaml" in done.err
    assert (tmp_path / "db.yaml").read_text() == "before"
    assert not (tmp_path / "api.yaml").exists()
    assert not list(tmp_path.glob(".*.tmp"))


def test_targets_keep_what_they_are(seal: Verb, cert: Path, tmp_path: Path, key: Path) -> None:
    """A link leads where it did, a file keeps its mode, a device is written to, plain is 0600."""
    real = tmp_path / "real.yaml"
    real.write_text("before")
    real.chmod(0o664)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    assert seal("--cert", cert, "-w", link, stdin=dumped(GOOD)).code == 0
    assert link.is_symlink()
    assert read_sealed(real.read_bytes(), "real")
    assert real.stat().st_mode & 0o777 == 0o664
    assert seal("--cert", cert, "-w", "/dev/null", stdin=dumped(GOOD)).code == 0
    assert Path("/dev/null").is_char_device()
    words = ("--recovery-unseal", "--recovery-private-key", key, "-f", real, "-w", "clear.json")
    assert seal(*words).code == 0
    assert (tmp_path / "clear.json").stat().st_mode & 0o777 == 0o600


def test_an_empty_value_is_told(seal: Verb, cert: Path, sealed: Path) -> None:
    """Nothing on standard input is an empty value: legal, and seldom meant."""
    done = seal("set", sealed, "password", "--cert", cert)
    assert done.code == 0
    assert "warning: the value is empty" in done.err


def test_two_documents_where_one_is_meant(
    seal: Verb, cert: Path, sealed: Path, tmp_path: Path
) -> None:
    """A file of two SealedSecrets, or of none: which one is asked for, and nothing is written."""
    two = tmp_path / "two.yaml"
    two.write_text(sealed.read_text() + sealed.read_text().replace("name: db", "name: web"))
    none = tmp_path / "none.yaml"
    none.write_text("kind: ConfigMap\n")
    before = two.read_bytes()
    for words in (("set", two, "password"), ("delete", two, "password")):
        more = ("--cert", cert) if words[0] == "set" else ()
        done = seal(*words, *more, stdin=b"x")
        assert done.code == 2
        assert "the file has 2 SealedSecrets" in done.err
        assert "shop/db, shop/web" in done.err
        done = seal(words[0], none, "password", *more, stdin=b"x")
        assert done.code == 2
        assert "there is no SealedSecret in it" in done.err
    done = seal("--cert", cert, "--merge-into", none, stdin=dumped(GOOD))
    assert done.code == 2
    assert "there is no SealedSecret in it" in done.err
    done = seal("--cert", cert, "--merge-into", two, stdin=dumped(GOOD, GOOD))
    assert done.code == 2
    assert "two Secrets of the input have one name" in done.err
    assert two.read_bytes() == before
    assert none.read_text() == "kind: ConfigMap\n"


def test_no_kubeconfig_shows_the_way_without(seal: Verb) -> None:
    """Neither --cert nor a cluster: what is missing is said, and that a file would do."""
    done = seal("--kubeconfig", "missing", stdin=dumped(GOOD))
    assert done.code == 2
    assert "or seal offline: --cert FILE" in done.err
    raw = seal("--raw", "--name", "x", "--cert", "missing", stdin=b"x")
    assert "strict needs --namespace" in raw.err


def _service(server: Cluster, namespace: str, ports: list[dict[str, object]]) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME},
        "spec": {"ports": ports} if ports else {"type": "ExternalName", "externalName": "a.test"},
    }
    server.request("POST", f"/api/v1/namespaces/{namespace}/services", body=body)


@pytest.mark.parametrize("ports", [True, False], ids=["no endpoints", "no port"])
def test_a_controller_that_does_not_answer(
    seal: Verb, sandbox: Status, server: Cluster, namespace: str, *, ports: bool
) -> None:
    """Its Service is there, and nothing is behind it: said, with the way without a cluster."""
    _service(server, namespace, [{"name": "http", "port": 8080}] if ports else [])
    kubeconfig = sandboxes.environment(sandbox.name)["KUBECONFIG"]
    words = ("--kubeconfig", kubeconfig, "--controller-namespace", namespace)
    done = seal(*words, "-w", "out.yaml", stdin=dumped(GOOD))
    assert done.code == 2
    assert ("the controller does not answer" if ports else "the Service has no port") in done.err
    assert f"Service {namespace}/{NAME}" in done.err
    assert not Path("out.yaml").exists()


def _role(server: Cluster, namespace: str, rules: list[dict[str, list[str]]]) -> None:
    """Give the namespace's default account these rights and no others."""
    group = "rbac.authorization.k8s.io"
    base = f"/apis/{group}/v1/namespaces/{namespace}"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    server.request("POST", f"{base}/roles", body=role)
    server.request("POST", f"{base}/rolebindings", body=binding)


@pytest.mark.parametrize("service", [True, False], ids=["no proxy", "nothing at all"])
def test_no_right_to_the_service_proxy(
    seal: Verb, sandbox: Status, server: Cluster, *, namespace: str, service: bool
) -> None:
    """An account that may see the Service and not its proxy, or neither: which right is missing."""
    _service(server, namespace, [{"name": "http", "port": 8080}])
    if service:
        rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]}
        _role(server, namespace, [rule])
    config = yaml.safe_load(Path(sandboxes.environment(sandbox.name)["KUBECONFIG"]).read_text())
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = server.request("POST", accounts, body=body)["status"]["token"]
    config["users"][0]["user"] = {"token": token}
    Path("kubeconfig").write_text(yaml.safe_dump(config))
    words = ("--kubeconfig", "kubeconfig", "--controller-namespace", namespace)
    for verb in (("-w", "out.yaml"), ("--fetch-cert", "-w", "out.yaml")):
        done = seal(*words, *verb, stdin=dumped(GOOD))
        assert done.code == 2, done.err
        assert "forbids the way to the controller" in done.err
        assert "services/proxy" in done.err
        assert "--cert FILE" in done.err
        assert token not in done.err
    assert not Path("out.yaml").exists()


def test_a_certificate_of_the_web(seal: Verb, tmp_path: Path) -> None:
    """A URL that is not there, and one that answers something else."""
    done = seal("--cert", "http://127.0.0.1:9/cert.pem", stdin=dumped(GOOD))
    assert done.code == 2
    assert "where: http://127.0.0.1:9/cert.pem" in done.err
    (tmp_path / "page").write_text("<html>sign in</html>")
    done = seal("--cert", f"file://{tmp_path}/page", stdin=dumped(GOOD))
    assert "this is a web page" in done.err
