"""Secret parameters: references in the notebook and the record, values in the kernel only."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from opslib import runbook
from opslib.cli.main import run as command_line
from opslib.core import secrecy
from opslib.core.errors import InputError, Problems
from opslib.runbook.parameters import schema_from_source
from opslib.runbook.secret import Secret

from .conftest import LOAD, Make, code, parameters

VALUE = "kR7#pQ2x!vN9-zT4m"
CELL = (
    'from opslib.runbook import Secret\ndb_password: Secret = "env:DB_PASSWORD"  # of the database'
)


@pytest.mark.parametrize(
    "given", ["env:NAME", "file:/run/secrets/a b", "file:~/x", "vault:kv/teams/pay/db#password"]
)
def test_references_are_taken(given: str) -> None:
    """The three forms, also where None is allowed and in a list."""
    schema = schema_from_source("a: Secret | None = None\nb: list[Secret] = []", "here")
    typed = schema.check({"a": given, "b": json.dumps([given])})
    assert typed == {"a": Secret(given), "b": [Secret(given)]}


@pytest.mark.parametrize(
    "given",
    [VALUE, "", "env:", "env:not a name", "file:relative", "vault:kv/x", "env:A\n", " env:A"],
)
def test_a_value_is_refused_and_not_repeated(given: str) -> None:
    """What is no reference is bad input, and its error does not say what it was."""
    schema = schema_from_source("a: Secret", "here")
    with pytest.raises(Problems) as caught:
        schema.check({"a": given})
    assert caught.value.exit_code == 2
    assert "env:NAME" in str(caught.value)
    if len(given) >= 8:
        assert given not in str(caught.value) + json.dumps(caught.value.as_dict())


def test_the_command_line_refuses_a_value(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 before anything starts; neither stdout nor stderr has the value."""
    path = make(parameters(CELL), LOAD)
    for extra in ([], ["--json"]):
        assert command_line(["run", str(path), "-p", "db_password", VALUE, *extra]) == 2
        told = capsys.readouterr()
        assert VALUE not in told.out + told.err
        assert "db_password" in told.err
    assert not (path.parent.parent / "outputs").exists()


def test_a_default_by_value_is_refused_and_not_repeated() -> None:
    """A password in the notebook itself is told without saying it."""
    with pytest.raises(InputError) as caught:
        schema_from_source(f"a: Secret = {VALUE!r}", "here")
    assert VALUE not in str(caught.value)
    with pytest.raises(InputError):
        schema_from_source("a: Secret | str", "here")


def test_the_parameters_are_listed_with_references(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    """``opslib run --parameters`` shows type, reference and help."""
    path = make(parameters(CELL), LOAD)
    assert command_line(["run", str(path), "--parameters"]) == 0
    assert re.search(
        r"db_password +Secret +\S*env:DB_PASSWORD\S* +of the database", capsys.readouterr().out
    )
    assert command_line(["run", str(path), "--parameters", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["type"], row["default"]) == ("Secret", "env:DB_PASSWORD")


def test_only_reveal_gives_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, repr, format, pickles and copies have the reference; joining it to text fails."""
    monkeypatch.setenv("DB_PASSWORD", VALUE)
    one = Secret("env:DB_PASSWORD")
    assert one.reveal() == VALUE
    shown = [
        str(one),
        repr(one),
        f"{one}",
        f"{one:>40}",
        "{}".format(one),  # noqa: UP032  # the form is the point
        repr([one]),
        repr(vars(Secret)),
    ]
    assert not any(VALUE in text for text in shown)
    assert VALUE.encode() not in pickle.dumps(one)
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one  # noqa: S301  # made above
    with pytest.raises(TypeError):
        "dsn" + one  # type: ignore[operator]
    with pytest.raises(TypeError):
        list(one)


def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable, a missing, empty or binary file, no Vault: each its own message."""
    monkeypatch.delenv("VAULT_ADDR", raising=False)
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for reference, words in {
        "env:NOT_SET_HERE": "not set",
        f"file:{tmp_path}/missing": "No such file",
        f"file:{tmp_path}/empty": "empty",
        f"file:{tmp_path}/binary": "not text",
        f"file:{tmp_path}": "directory",
        "vault:kv/a#b": "VAULT_ADDR is not set",
    }.items():
        with pytest.raises(InputError, match=words):
            Secret(reference).reveal()


def test_a_file_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    """The value is taken without its last line break, and its mode looked at."""
    path = tmp_path / "pass"
    path.write_text(VALUE + "\n")
    path.chmod(0o600)
    assert Secret(f"file:{path}").reveal() == VALUE
    path.chmod(0o644)
    with pytest.warns(UserWarning, match="0644"):
        assert Secret(f"file:{path}").reveal() == VALUE


class _VaultStandIn(BaseHTTPRequestHandler):
    """Speaks what hvac asks of Vault's KV version 2. A stand-in: Vault itself is not here."""

    def do_GET(self) -> None:
        if self.headers.get("X-Vault-Token") != "hvs.test-token-0001":
            self._answer(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/kv/data/teams/pay/db":
            self._answer(200, {"data": {"data": {"password": VALUE, "port": 5432}, "metadata": {}}})
        else:
            self._answer(404, {"errors": []})

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Say nothing on stderr."""


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the stand-in and point VAULT_ADDR at it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _VaultStandIn) as server:
        worker = threading.Thread(target=server.serve_forever)
        worker.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("VAULT_ADDR", address)
        monkeypatch.setenv("VAULT_TOKEN", "hvs.test-token-0001")
        yield address
        server.shutdown()
        worker.join()


def test_vault_gives_a_key(vault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key of a KV v2 secret; what Vault refuses or does not have is told without a value."""
    assert Secret("vault:kv/teams/pay/db#password").reveal() == VALUE
    for reference, words in {
        "vault:kv/teams/pay/db#port": "no text under port",
        "vault:kv/teams/pay/other#a": "no such secret",
    }.items():
        with pytest.raises(InputError, match=words) as caught:
            Secret(reference).reveal()
        assert VALUE not in str(caught.value)
    monkeypatch.setenv("VAULT_TOKEN", "hvs.another")
    with pytest.raises(InputError, match="refuses"):
        Secret("vault:kv/teams/pay/db#password").reveal()
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    with pytest.raises(InputError, match="does not answer"):
        Secret("vault:kv/teams/pay/db#password").reveal()


def test_a_run_has_the_value_and_its_record_the_reference(make: Make) -> None:
    """The kernel gets the value; cells that print it leave masks; every file has the reference."""
    show = (
        "secret = p.db_password.reveal()\n"
        "print(len(secret), p.db_password, p, secret)\n"
        "print(secret[::-1])\nprint(secret.swapcase())"
    )
    path = make(parameters(CELL), LOAD, code(show), code("runbook.report(login=p.db_password)"))
    done = runbook.run(path, {"db_password": "env:OTHER"}, env={"OTHER": VALUE})
    assert done.outcome == "ok", done.result["error"]
    assert done.result["parameters"] == {"db_password": "env:OTHER"}
    assert done.result["report"] == {"login": "env:OTHER"}
    for file in done.folder.iterdir():
        assert VALUE not in file.read_text(encoding="utf-8"), file
    record = done.record.read_text(encoding="utf-8")
    assert "17 " in record
    assert re.search("\u2039secret:[^\u203a]+#\\d+\u203a", record)
    # Not proven: what a cell makes of a value by other means than encoding it.
    assert VALUE[::-1] not in record
    assert VALUE.swapcase() in record


def test_papermill_with_a_value_leaves_no_value(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Papermill injects what it is given; our engine refuses it before anything is written."""
    import papermill

    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    path = make(parameters(CELL), LOAD)
    with pytest.raises(papermill.exceptions.PapermillException) as caught:
        papermill.execute_notebook(
            path,
            tmp_path / "done.ipynb",
            {"db_password": VALUE},
            engine_name="opslib",
            progress_bar=False,
        )
    assert VALUE not in str(caught.value)
    assert "db_password is secret" in str(caught.value)
    assert not (tmp_path / "done.ipynb").exists()
    assert not list(tmp_path.glob("outputs/*/*"))


def test_the_runner_knows_before_the_kernel_goes_on(tmp_path: Path) -> None:
    """A value is in the runner's registry when ``note`` returns, for 300 values from 4 threads."""
    from opslib.runbook.secretline import Channel

    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    there = secrecy.Registry()
    channel = Channel(folder, there)
    assert os.stat(channel.address).st_mode & 0o077 == 0
    failures = []

    def work(base: int) -> None:
        here = secrecy.Registry()
        here.tell = line = secrecy.Line(channel.address)
        for number in range(75):
            value = f"Value-{base}-{number}-kR7pQ2"
            here.note(value, "x/y")
            if value not in [one.value for one in there.known()]:
                failures.append(value)
        line.close()

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    channel.close()
    assert failures == []
    assert len(there.known()) == 300
