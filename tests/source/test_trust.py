"""Files of trusted keys: what is read from them, what is refused and how it is said."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing import Key, People, Person, people

from opslib.core.errors import InputError, OpslibError
from opslib.source.keyring import ring
from opslib.source.trust import MAX_BYTES, Verification
from opslib.source.verify import verification


@pytest.fixture(scope="module")
def some() -> Iterator[People]:
    """Make one OpenPGP key and one ssh key."""
    with people() as made:
        made.person("Ada")
        made.key("ada")
        yield made


@pytest.fixture
def ada(some: People) -> Person:
    """Return Ada."""
    return some.made[0]


@pytest.fixture
def key(some: People) -> Key:
    """Return Ada's ssh key."""
    return Key(some.folder / "ada")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPSLIB_VERIFY", "OPSLIB_TRUST"):
        monkeypatch.delenv(name, raising=False)


def _file(folder: Path, data: bytes | str, name: str = "keys") -> Path:
    place = folder / name
    place.write_bytes(data if isinstance(data, bytes) else data.encode())
    return place


def _refused(file: Path, *words: str) -> InputError:
    """Name a file as trusted, be refused before anything is done, and find these words."""
    with pytest.raises(InputError) as caught:
        verification("head", [file])
    assert caught.value.exit_code == 2
    assert f"--trust {file}" in str(caught.value.where)
    assert caught.value.expected
    for word in words:
        assert word in str(caught.value), word
    return caught.value


def test_forms_are_told_by_content(tmp_path: Path, ada: Person, key: Key) -> None:
    """Armored, binary and allowed_signers files go together, whatever their names are."""
    files = [
        _file(tmp_path, ada.public(), "a.txt"),
        _file(tmp_path, ada.public(armor=False), "b.txt"),
        _file(tmp_path, f"# people\n\n{key.line()}  \r\n{key.line('')}", "c.asc"),
    ]
    trust = verification("every", files).load()
    assert [name for name, _ in trust.keys] == [str(files[0]), str(files[1])]
    assert trust.signers == key.line() + key.line("")


def test_options_of_a_line(tmp_path: Path, key: Key) -> None:
    """All that ssh-keygen knows is taken, also quoted principals with spaces and lists."""
    lines = [
        f'"ada@example.com,*@example.org" {key.public} a comment',
        key.line('cert-authority,namespaces="git,file",valid-before="20400101"').strip(),
        key.line('NAMESPACES="git"').strip(),
    ]
    file = _file(tmp_path, "\n".join(lines))
    assert verification("head", [file]).load().signers.splitlines() == lines


def test_lines_that_ssh_keygen_would_pass_over(tmp_path: Path, key: Key) -> None:
    """A line that trusts nobody is an error with its number, not a silence."""
    good = key.line()
    wrong = {
        key.public: "no principal",
        f'ada@example.com namespace="git" {key.public}': "'namespace=\"git\"' is not known",
        f"ada@example.com {key.public[:-20]}": "no public key",
        "ada@example.com": "no public key",
        "ada@example.com ssh-rsa " + key.public.split()[1]: "no public key",
        "hello world, this is no key": "no public key",
    }
    for line, word in wrong.items():
        with pytest.raises(InputError) as caught:
            verification("head", [_file(tmp_path, f"{good}# x\n{line}\n")])
        assert f"--trust {tmp_path / 'keys'}:3" == caught.value.where
        assert word in caught.value.what
        assert "ssh-keygen(1)" in str(caught.value.hint)


def test_files_that_hold_no_public_key(tmp_path: Path, ada: Person, key: Key) -> None:
    """Each is named with what was expected instead; a private key is told to be one."""
    _refused(tmp_path / "absent", "No such file")
    _refused(tmp_path, "directory")
    _refused(_file(tmp_path, ""), "empty")
    _refused(_file(tmp_path, "# nobody\n"), "no key")
    _refused(_file(tmp_path, ada.private()), "private key", "export the public")
    _refused(_file(tmp_path, key.path.read_bytes()), "private key")
    _refused(_file(tmp_path, "-----BEGIN CERTIFICATE-----\nx\n"), "neither")
    _refused(_file(tmp_path, bytes(range(1, 60)) + b"\xff\xfe"), "neither")
    _refused(_file(tmp_path, b"a" * (MAX_BYTES + 1)), str(MAX_BYTES))
    broken = ada.public().replace(b"\n\n", b"\n\nAAAA", 1)
    _refused(_file(tmp_path, broken), "no key can be read")
    _refused(_file(tmp_path, ada.public(armor=False)[:20]), "no key can be read")


def test_a_private_key_inside_a_public_block(tmp_path: Path, ada: Person) -> None:
    """It is found when it is read, and is in no keyring of an agent afterwards."""
    disguised = ada.private().replace(b"PRIVATE KEY", b"PUBLIC KEY")
    error = _refused(_file(tmp_path, disguised), "private key")
    assert "PRIVATE" not in str(error)


def test_depths(tmp_path: Path, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is verified unless asked; naming keys asks for the head; unknown words are told."""
    file = _file(tmp_path, ada.public())
    assert verification() == Verification("none", ())
    assert not verification().on
    assert verification("", [file]) == Verification("head", (file,))
    assert verification("none", [tmp_path / "absent"]).depth == "none"
    assert verification("every", [file]).depth == "every"
    with pytest.raises(InputError, match="'all'") as caught:
        verification("all", [file])
    assert "--verify" in str(caught.value.where)
    assert "none, head, every" in str(caught.value.expected)
    with pytest.raises(InputError, match="--verify head") as caught:
        verification("head")
    assert "--trust" in str(caught.value.where)
    monkeypatch.setenv("OPSLIB_TRUST", f"{file}{os.pathsep}{file}")
    assert verification() == Verification("head", (file, file))
    monkeypatch.setenv("OPSLIB_VERIFY", "every")
    assert verification().depth == "every"
    assert verification("none").depth == "none"
    monkeypatch.setenv("OPSLIB_VERIFY", "evry")
    with pytest.raises(InputError, match="'evry'"):
        verification()


@pytest.mark.parametrize("name", ["gpg", "ssh-keygen"])
def test_a_program_that_is_missing(
    tmp_path: Path, ada: Person, key: Key, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that cannot be used are an error that names the program, the option and the way."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for program in {"git", "gpg", "ssh-keygen", "false"} - {name}:
        (bin_dir / program).symlink_to(str(shutil.which(program)))
    file = _file(tmp_path, ada.public() if name == "gpg" else key.line())
    other = _file(tmp_path, key.line() if name == "gpg" else ada.public(), "other")
    monkeypatch.setenv("PATH", str(bin_dir))
    with pytest.raises(InputError, match=name) as caught:
        verification("", [file])
    assert "--trust" in str(caught.value)
    assert "install" in str(caught.value.hint)
    with ring(verification("", [other]).load()) as keys:
        assert keys.settings


def test_a_keyring_that_finds_no_room(
    tmp_path: Path, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder for temporary files that cannot be written is named."""
    trust = verification("", [_file(tmp_path, ada.public())]).load()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(OpslibError, match="no keyring") as caught, ring(trust):
        raise AssertionError
    assert "TMPDIR" in str(caught.value.hint)


def test_a_repository_does_not_vouch_for_itself(tmp_path: Path, ada: Person) -> None:
    """A trust file in the work tree that it is for is refused, also behind a link."""
    repo = tmp_path / "repo"
    repo.mkdir()
    file = _file(repo, ada.public())
    link = tmp_path / "link"
    link.symlink_to(file)
    for one in (file, link):
        with pytest.raises(InputError, match="vouch") as caught:
            verification("", [one]).refuse_inside(str(repo))
        assert caught.value.where == f"--trust {one}"
    verification("", [_file(tmp_path, ada.public())]).refuse_inside(str(repo))
    verification("", [file]).refuse_inside("https://example.org/repo")


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(data: bytes) -> None:
    """No content makes the reading of a trust file fail otherwise."""
    import tempfile

    with tempfile.NamedTemporaryFile() as stream:
        stream.write(data)
        stream.flush()
        try:
            Verification("head", (Path(stream.name),)).load()
        except InputError as error:
            assert stream.name in str(error.where)  # noqa: PT017  # both ends of the property
