"""Addresses, logins and servers: what is allowed, what fails and how it is said."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.core.proc import Finished
from opslib.source import transport
from opslib.source.address import parse_address, without_credentials
from opslib.source.mirror import Mirror, Source
from opslib.source.reasons import failure

from .conftest import Repo, Site

TOKEN = "s3cr3t-t0ken"

ALLOWED = {
    "https://GitHub.com/acme/platform.git/": "https://github.com/acme/platform.git",
    "HTTPS://ann:pw@example.org:443/x": "https://example.org/x",
    "http://127.0.0.1:8080/repo.git": "http://127.0.0.1:8080/repo.git",
    "https://[::1]:8443/x": "https://[::1]:8443/x",
    "ssh://git@example.org:22/acme/x.git": "ssh://git@example.org/acme/x.git",
    "ssh://git@example.org:2222/~ann/x": "ssh://git@example.org:2222/~ann/x",
    "git@Example.org:acme/x.git": "git@example.org:acme/x.git",
}

REFUSED = [
    "ext::sh -c touch% /tmp/x",
    "EXT::sh",
    "fd::17",
    "::x",
    "foo::https://example.org/x",
    "--upload-pack=touch /tmp/x",
    "-x",
    "git://example.org/x",
    "ftp://example.org/x",
    "ext://x",
    "javascript://x",
    "file://example.org/x",
    "https://",
    "https:///x",
    "https://exa mple.org/x",
    "https://-example.org/x",
    "https://example.org:99999/x",
    "https://example.org:port/x",
    "https://example.org/x?token=1",
    "https://example.org/x#y",
    "ssh://-oProxyCommand=touch/x",
    "ssh://-l@example.org/x",
    "ssh://example.org",
    "ssh://git:password@example.org/x",
    "git@-oProxyCommand=touch:x",
    "-git@example.org:x",
    "git@example.org:-x",
    "git:pw@example.org:x",
    "https://example.org/a\nb",
    "https://example.org/a%0ab",
    "https://example.org/a%00b",
    "https://a%0ab:c@example.org/x",
    "/srv/a\x1b[31m",
    "/srv/a\x00b",
    "",
    "  ",
    "no-such-folder",
    "~no-such-user-anywhere/x",
    "http://[::1/x",
]


@pytest.mark.parametrize("text", ALLOWED)
def test_allowed_addresses(text: str) -> None:
    """Allowed addresses are normalized; user and password are kept apart and not shown."""
    address = parse_address(text)
    assert address.url == ALLOWED[text]
    assert parse_address(address.url).url == address.url
    assert "pw" not in repr(address)


@pytest.mark.parametrize("text", REFUSED)
def test_refused_addresses(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is no plain address is refused before git sees it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        Mirror.open(Source(text))
    assert caught.value.where
    assert "password" not in (caught.value.where or "")
    assert str(caught.value).replace("\n", "").isprintable()
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    """No text makes the reading of addresses fail otherwise, and none gives control characters."""
    try:
        address = parse_address(text)
    except InputError as error:
        assert "\x1b" not in str(error)  # noqa: PT017  # both ends of the property are asserted
        return
    assert not address.url.startswith("-")
    assert "::" not in address.url.partition("[")[0].partition("/")[0]


@given(st.text("abc@:/?#%", min_size=1, max_size=12))
def test_no_password_is_shown(noise: str) -> None:
    """Whatever a password is made of, an error about the address does not show it."""
    text = f"https://ann:{TOKEN}{noise}@example.org:port/x"
    try:
        shown = repr(parse_address(text))
    except InputError as error:
        shown = str(error)
    assert TOKEN not in shown
    assert TOKEN not in without_credentials(text)
    assert TOKEN not in repr(Source(text))


@pytest.mark.parametrize(
    "ref",
    ["-x", "--upload-pack=x", "a..b", "a b", "main~1", "main^", "a:b", "x.lock", "@{1}", "/a",
     "a//b", "a\nb", "a\x1b", "a*", "x" * 300, ".a", "a\\b", "@"],
)  # fmt: skip
def test_refused_refs(repo: Repo, ref: str) -> None:
    """What git takes for no ref's name is refused, by open and by resolve."""
    with pytest.raises(InputError, match="cannot be a branch"):
        Mirror.open(Source(str(repo.path), ref))
    mirror = Mirror.open(Source(str(repo.path)))
    mirror.fetch()
    with pytest.raises(InputError, match="cannot be a branch"):
        mirror.resolve(ref)


@pytest.mark.parametrize("path", ["/etc", "..", "../x", "a/../../x"])
def test_refused_paths(repo: Repo, path: str) -> None:
    """A path outside the repository is refused."""
    with pytest.raises(InputError, match="not inside the repository"):
        Mirror.open(Source(str(repo.path), "", path))
    mirror = Mirror.open(Source(str(repo.path)))
    head = mirror.fetch().commit
    with pytest.raises(InputError, match="not inside the repository"):
        mirror.read(head, path)


# -- servers


def test_http(site: Site, repo: Repo) -> None:
    """A repository is fetched by HTTP."""
    revision = Mirror.open(Source(site.url)).fetch()
    assert revision.url == site.url
    assert revision.commit == repo.git("rev-parse", "HEAD")
    assert revision.ref == "main"


def test_no_such_repository(site: Site) -> None:
    """A repository that a server does not have is named, with what to check."""
    url = site.url.replace("repo", "other")
    with pytest.raises(InputError, match="not found") as caught:
        Mirror.open(Source(url)).fetch()
    assert caught.value.where == url
    assert "no such repository" in str(caught.value.hint)
    assert "\n" not in caught.value.what


def test_server_error(site: Site) -> None:
    """An error of the server is said as one, and leaves the mirror as it was."""
    mirror = Mirror.open(Source(site.url))
    head = mirror.fetch().commit
    site.status = 503
    with pytest.raises(InputError, match="503") as caught:
        mirror.fetch()
    assert "try again" in str(caught.value.hint)
    assert mirror.resolve("").commit == head


def test_host_that_cannot_be_reached(mirrors: Path) -> None:
    """A closed port and a name that does not exist give the same advice."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/x", "http://no-such-host.invalid/x"):
        with pytest.raises(InputError) as caught:
            Mirror.open(Source(url)).fetch()
        assert caught.value.where == url
        assert "cannot be reached" in str(caught.value.hint)


def test_ssh_host_that_cannot_be_reached(mirrors: Path) -> None:
    """The reason of ssh is told, not git's last line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match="Connection refused"):
        Mirror.open(Source(f"ssh://git@127.0.0.1:{port}/x")).fetch()


def test_silent_server(silent: int, mirrors: Path) -> None:
    """A server that does not answer costs the time-out and no more; nothing stays behind."""
    url = f"http://127.0.0.1:{silent}/x"
    began = time.monotonic()
    with pytest.raises(InputError, match="time-out") as caught:
        Mirror.open(Source(url)).fetch(timeout=1)
    assert 0.9 < time.monotonic() - began < 20
    assert caught.value.where == url
    assert caught.value.hint
    assert not list(mirrors.glob("*.git"))
    assert not list(mirrors.glob("*.new"))


# -- logins


def login_url(site: Site, user: str = "ann", password: str = TOKEN) -> str:
    return site.url.replace("//", f"//{user}:{password}@")


def test_login_in_the_address(site: Site, mirrors: Path, repo: Repo) -> None:
    """A login in the address is used, and is in no URL, folder, file or text afterwards."""
    site.login = f"ann:{TOKEN}/+"
    source = Source(login_url(site, password=f"{TOKEN}%2F%2B"))
    mirror = Mirror.open(source)
    revision = mirror.fetch()
    assert revision.commit == repo.git("rev-parse", "HEAD")
    assert revision.url == mirror.url == site.url
    shown = repr((source, revision, mirror.warnings, mirror.url))
    assert TOKEN not in shown
    stored = [p for p in mirrors.rglob("*") if TOKEN in p.name]
    stored += [p for p in mirrors.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert stored == []
    assert Mirror.open(Source(site.url)).url == mirror.url


def test_wrong_login(site: Site) -> None:
    """A login that is refused is said so without its words, also when the server echoes them."""
    site.login = "ann:other"
    for url in (login_url(site), site.url, site.url.replace("//", f"//{TOKEN}@")):
        with pytest.raises(InputError) as caught:
            Mirror.open(Source(url)).fetch()
        assert TOKEN not in str(caught.value)
        assert TOKEN not in json.dumps(caught.value.as_dict())
        assert "check the login" in str(caught.value.hint)
        assert caught.value.where == site.url


def test_login_is_not_stored_by_the_users_helpers(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login in the address is not handed to the user's credential store."""
    site.login = f"ann:{TOKEN}"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    Mirror.open(Source(login_url(site))).fetch()
    assert any(site.asked)
    assert not (tmp_path / ".git-credentials").exists()


def test_credential_helpers_of_the_user_work(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address without a login, or with the user's name only, asks the user's helpers."""
    site.login = f"ann:{TOKEN}"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    (tmp_path / ".git-credentials").write_text(f"http://ann:{TOKEN}@127.0.0.1%3a{site.port}\n")
    for url in (site.url, site.url.replace("//", "//ann@")):
        assert Mirror.open(Source(url)).fetch().url == site.url


def test_login_is_in_no_process_list(silent: int, mirrors: Path) -> None:
    """While a fetch runs, no command line of this machine has the login."""
    proc = Path("/proc")
    if not proc.is_dir():
        pytest.fail("this test reads /proc: run it on Linux")
    url = f"http://ann:{TOKEN}@127.0.0.1:{silent}/x"
    mirror = Mirror.open(Source(url))

    def fetch() -> None:
        with pytest.raises(InputError):
            mirror.fetch(timeout=3)

    thread = threading.Thread(target=fetch)
    thread.start()
    seen: set[bytes] = set()
    while thread.is_alive():
        for one in proc.glob("[0-9]*/cmdline"):
            try:
                seen.add(one.read_bytes())
            except OSError:
                continue
    thread.join()
    here = [line for line in seen if f"127.0.0.1:{silent}".encode() in line]
    assert any(b"remote-http" in line for line in here)
    assert not [line for line in seen if TOKEN.encode() in line]


def test_ssh_command_of_the_user_is_used(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_SSH_COMMAND, else core.sshCommand of the user, reaches ssh repositories."""
    script = tmp_path / "ssh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\nexec git-upload-pack {repo.path}\n')
    script.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(f"[core]\n\tsshCommand = {script} --config\n")
    source = Source("git@example.invalid:acme/x.git")
    assert Mirror.open(source).fetch().url == "git@example.invalid:acme/x.git"
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{script} --variable")
    assert Mirror.open(source).fetch().ref == "main"
    log = (tmp_path / "log").read_text()
    assert "--config" in log.splitlines()[0]
    assert "--variable" in log.splitlines()[-1]


def test_repository_of_another_user(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of another owner is not opened; the message says how to trust it."""
    real = transport._environment
    monkeypatch.setattr(
        transport,
        "_environment",
        lambda *, allow: real(allow=allow) | {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"},
    )
    with pytest.raises(InputError, match="dubious ownership") as caught:
        Mirror.open(Source(str(repo.path)))
    assert f"safe.directory {repo.path}" in str(caught.value.hint)


def test_reasons() -> None:
    """The words of the other side are short, plain, and not taken from a repository's name."""

    def said(err: str, url: str = "https://example.org/ssl-proxy") -> InputError:
        return failure(url, Finished(("git",), 128, b"", err.encode()))

    long = said("remote: \x1b[31m" + "x" * 500)
    assert len(long.what) < 260
    assert "\x1b" not in str(long)
    unsure = said("fatal: repository 'https://example.org/ssl-proxy' not found")
    assert "no such repository" in str(unsure.hint)
    assert said("").what.endswith("exit code 128")
    key = said("Host key verification failed.\nfatal: Could not read from remote repository.")
    assert "known_hosts" in str(key.hint)
    denied = said("git@example.org: Permission denied (publickey).\nfatal: Could not read")
    assert "check the login" in str(denied.hint)
    assert os.linesep not in denied.what
