"""Who vouches for a record: signatures, Git and time stamps, each by the real program."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from signing import Key, People, people, program

from opslib import runbook
from opslib.core.errors import InputError
from opslib.runbook.anchor import NOTES, Anchoring
from opslib.runbook.audit import Vouching, audit

from .conftest import code, text, write


@pytest.fixture(scope="module")
def someone() -> Iterator[People]:
    """Keep a place for keys."""
    with people() as one:
        yield one


@pytest.fixture(scope="module")
def key(someone: People) -> Key:
    """Return the ssh key of the machine that runs runbooks."""
    return someone.key("runner", "runner@example.com")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a repository with one runbook; return the notebook."""
    root = tmp_path / "project"
    notebook = write(root / "notebooks" / "work.ipynb", text("# Work"), code("print(1)"))
    git(root, "init", "-q")
    git(root, "add", "notebooks")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "work")
    return notebook


def git(root: Path, *words: str) -> str:
    """Run git in a repository."""
    return program("git", "-C", root, *words).decode()


def signers(key: Key, path: Path) -> Path:
    """Write the file of trusted keys that an auditor has."""
    path.write_text(key.line('namespaces="git,opslib-record"'))
    return path


@pytest.mark.parametrize("kind", ["notes", "commit", "tag"])
def test_a_signed_and_anchored_record(
    kind: str, project: Path, key: Key, someone: People, tmp_path: Path
) -> None:
    """Key and repository vouch for the head; for a rewritten folder neither does."""
    root = project.parents[1]
    done = runbook.run(project, {}, anchoring=Anchoring(kind, str(key.path)))
    mine = signers(key, tmp_path / "trusted")
    good = audit(done.folder, Vouching((mine,), root))
    assert good.state == "intact", str(good)
    said = " ".join(good.notes)
    assert "signed by runner@example.com" in said
    assert "names this head" in said
    assert git(root, "status", "--porcelain", "--untracked-files=no") == ""

    bare = tmp_path / "runner.pub"
    shutil.copy(key.path.with_suffix(".pub"), bare)
    assert audit(done.folder, Vouching((bare,))).ok
    other = signers(someone.key(f"other-{kind}", "eve@example.com"), tmp_path / "others")
    assert not audit(done.folder, Vouching((other,))).ok
    narrow = tmp_path / "narrow"
    narrow.write_text(key.line('namespaces="git"'))
    assert not audit(done.folder, Vouching((narrow,))).ok, "a key for commits is none for records"

    again = runbook.run(project, {})
    shutil.copy(again.folder / "manifest.json", done.folder / "manifest.json")
    assert not audit(done.folder, Vouching((mine,), root)).ok
    assert audit(again.folder).ok
    assert not audit(again.folder, Vouching((mine,))).ok, "nobody signed this one"
    assert not audit(again.folder, Vouching((), root)).ok, "and no repository names it"


def test_an_openpgp_key_signs_too(
    project: Path, someone: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detached signature is by gpg; the auditor has the public key alone."""
    ada, eve = someone.person("Ada"), someone.person("Eve")
    monkeypatch.setenv("GNUPGHOME", str(ada.home))
    done = runbook.run(project, {}, anchoring=Anchoring("tag", ada.fingerprint))
    assert (done.folder / "manifest.json.asc").is_file()
    files = []
    for one in (ada, eve):
        files.append(tmp_path / f"{one.name}.asc")
        files[-1].write_bytes(one.public())
    good = audit(done.folder, Vouching((files[0],), project.parents[1]))
    assert good.ok, str(good)
    assert "Ada" in " ".join(good.notes)
    assert not audit(done.folder, Vouching((files[1],))).ok


def other(path: Path) -> bytes:
    """Return a signature with one other bit, or a text with another letter."""
    if path.suffix != ".sig":
        return path.read_bytes().replace(b"a", b"b", 1)
    first, *body, last = path.read_bytes().splitlines()
    bits = base64.b64decode(b"".join(body))
    return b"\n".join([first, base64.b64encode(bits[:-1] + bytes([bits[-1] ^ 1])), last, b""])


def test_signatures_and_anchors_cannot_be_taken_away_unseen(
    project: Path, key: Key, tmp_path: Path
) -> None:
    """What was asked for is in the manifest: its absence, change or replacement is found."""
    done = runbook.run(project, {}, anchoring=Anchoring("notes", str(key.path)))
    assert audit(done.folder).ok
    for name in ("anchors.json", "manifest.json.sig"):
        copy = Path(shutil.copytree(done.folder, tmp_path / f"without-{name}"))
        (copy / name).unlink()
        assert name in {one.file for one in audit(copy).problems}
        copy = Path(shutil.copytree(done.folder, tmp_path / f"other-{name}"))
        (copy / name).write_bytes(other(copy / name))
        assert name in {one.file for one in audit(copy).problems}


def test_many_runs_at_once_lose_no_anchor(project: Path) -> None:
    """Notes of runs that end together are all there."""
    root = project.parents[1]
    done: list[Path] = []
    words = ["from opslib import runbook; from opslib.runbook.anchor import Anchoring; import sys"]
    words += ["print(runbook.run(sys.argv[1], {}, anchoring=Anchoring('notes')).folder)"]
    started = [
        subprocess.Popen(
            [_python(), "-c", "\n".join(words), project], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for one in started:
        out, _ = one.communicate(timeout=120)
        done.append(Path(out.strip()))
    assert len(set(done)) == 3
    for folder in done:
        assert audit(folder, Vouching((), root)).ok


def _python() -> str:
    import sys

    return sys.executable


def test_what_cannot_be_anchored_is_said_and_fails_no_run(tmp_path: Path, key: Key) -> None:
    """No repository, a server that is down: the run is ok, the record says what is missing."""
    notebook = write(tmp_path / "notebooks" / "work.ipynb", code("print(1)"))
    asked = Anchoring("commit", str(key.path), "http://127.0.0.1:9/tsa")
    done = runbook.run(notebook, {}, anchoring=asked)
    assert (done.outcome, done.exit_code) == ("ok", 0)
    rows = json.loads((done.folder / "anchors.json").read_bytes())["anchors"]
    assert {one["kind"]: "error" in one for one in rows} == {
        "signature": False,
        "timestamp": True,
        "commit": True,
    }
    verdict = audit(done.folder)
    assert verdict.ok
    assert any("not done" in note for note in verdict.notes)


@pytest.mark.parametrize(
    "asked",
    [
        Anchoring("sealed"),
        Anchoring("tag"),
        Anchoring("commit"),
        Anchoring(sign_key="/nowhere/id_ed25519"),
        Anchoring(timestamp="ftp://example.com"),
        Anchoring(timestamp="/etc/passwd"),
    ],
)
def test_what_cannot_work_is_refused_before_the_run(asked: Anchoring, tmp_path: Path) -> None:
    """Bad options cost no run."""
    notebook = write(tmp_path / "notebooks" / "work.ipynb", code("print(1)"))
    with pytest.raises(InputError):
        runbook.run(notebook, {}, anchoring=asked)
    assert not (tmp_path / "outputs").exists()


# --- time stamps --------------------------------------------------------------------------------

CONFIG = """
[tsa]
default_tsa = one
[one]
dir = {dir}
serial = $dir/serial
signer_cert = $dir/tsa.pem
signer_key = $dir/tsa.key
certs = $dir/ca.pem
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
"""


def openssl(place: Path, line: str) -> None:
    """Run openssl in a folder."""
    subprocess.run(["openssl", *line.split()], cwd=place, check=True, capture_output=True)


@contextlib.contextmanager
def time_server(place: Path) -> Iterator[str]:
    """Run a time server of openssl's own replies behind a small real HTTP server."""
    new = "-newkey rsa:2048 -nodes"
    openssl(place, f"req -x509 {new} -days 2 -subj /CN=CA -keyout ca.key -out ca.pem")
    openssl(place, f"req {new} -subj /CN=Time -keyout tsa.key -out tsa.csr")
    (place / "ext").write_text("extendedKeyUsage=critical,timeStamping\n")
    signing = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext"
    openssl(place, f"x509 -req -in tsa.csr {signing} -out tsa.pem")
    (place / "serial").write_text("01\n")
    (place / "tsa.cnf").write_text(CONFIG.format(dir=place))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            (place / "q").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            openssl(place, "ts -reply -config tsa.cnf -queryfile q -out r")
            self.send_response(200)
            self.end_headers()
            self.wfile.write((place / "r").read_bytes())

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_time_stamp_says_when(tmp_path: Path) -> None:
    """The token is over this manifest and by that authority, or it is none."""
    place = tmp_path / "tsa"
    place.mkdir()
    notebook = write(tmp_path / "notebooks" / "work.ipynb", code("print(1)"))
    with time_server(place) as url:
        done = runbook.run(notebook, {}, anchoring=Anchoring(timestamp=url))
    verdict = audit(done.folder, Vouching(tsa=place / "ca.pem"))
    assert verdict.ok, str(verdict)
    assert any(note.startswith("time stamp: there at ") for note in verdict.notes)
    other = runbook.run(notebook, {})
    assert not audit(other.folder, Vouching(tsa=place / "ca.pem")).ok
    shutil.copy(done.folder / "manifest.json.tsr", other.folder)
    assert not audit(other.folder, Vouching(tsa=place / "ca.pem")).ok
    new = "-newkey rsa:2048 -nodes"
    openssl(place, f"req -x509 {new} -days 2 -subj /CN=Other -keyout o.key -out o.pem")
    assert not audit(done.folder, Vouching(tsa=place / "o.pem")).ok


def test_notes_are_read_by_git_itself(project: Path) -> None:
    """The anchor is plain Git: `git notes show` prints it."""
    done = runbook.run(project, {}, anchoring=Anchoring("notes"))
    head = json.loads((done.folder / "manifest.json").read_bytes())["head"]
    line = git(project.parents[1], "notes", f"--ref={NOTES}", "show", "HEAD").strip()
    assert line == f"opslib-record {done.run_id} {head}"
