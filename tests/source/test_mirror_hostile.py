"""Repositories made to do harm: nothing of theirs runs, and nothing leads out of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from opslib.core.errors import InputError
from opslib.source import export, snapshot, transport
from opslib.source.mirror import Mirror, Source

from .conftest import Repo

FILE, LINK, TREE, MODULE = "100644", "120000", "040000", "160000"


def fetched(repo: Repo) -> tuple[Mirror, str]:
    mirror = Mirror.open(Source(str(repo.path), "main"))
    return mirror, mirror.fetch().commit


def with_links(repo: Repo, **links: str) -> tuple[Mirror, str]:
    """Commit symbolic links (name: target) in ``app``, beside a.yaml and sub/c.yaml."""
    (repo.path / "app" / "sub").mkdir(exist_ok=True)
    (repo.path / "app" / "sub" / "c.yaml").write_text("c: 1\n")
    for name, target in links.items():
        (repo.path / "app" / name).symlink_to(target)
    repo.commit("links")
    return fetched(repo)


# -- commands in a repository's own settings


def test_nothing_of_the_repositorys_settings_runs(repo: Repo, tmp_path: Path) -> None:
    """Monitors, filters, hooks and the like of a folder's own settings are not run."""
    mark = tmp_path / "mark"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho ran >> {mark}\nexec cat\n")
    script.chmod(0o755)
    repo.commit("filtered", **{".gitattributes": "*.yaml filter=evil diff=evil\n"})
    run = str(script)
    for key in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.alternateRefsCommand",
                "uploadpack.packObjectsHook", "filter.evil.clean", "filter.evil.smudge",
                "filter.evil.process", "diff.evil.textconv", "diff.external",
                "credential.helper", "core.askPass", "gpg.program"):  # fmt: skip
        repo.git("config", key, run)
    hooks = repo.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "reference-transaction", "pre-auto-gc", "post-checkout"):
        (hooks / name).write_text(script.read_text())
        (hooks / name).chmod(0o755)
    (repo.path / "app" / "a.yaml").write_text("a: changed\n")
    mirror, head = fetched(repo)
    mirror.read_many(head, mirror.files(head))
    mirror.blame(head, "app/a.yaml", 1)
    mirror.log(head, "app")
    assert "app/a.yaml" in mirror.warnings[0]
    assert not mark.exists()
    repo.git("config", "--unset", "filter.evil.process")
    repo.git("status")
    assert mark.exists()  # the trap works: plain git does run it


def test_rewriting_settings_of_the_repository_do_not_count(repo: Repo) -> None:
    """A repository cannot turn its own address into another one."""
    repo.git("config", "url.ext::sh -c false .insteadOf", str(repo.path))
    assert fetched(repo)[1] == repo.git("rev-parse", "HEAD")


def test_settings_of_the_user_cannot_bring_commands_back(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an insteadOf of the user does not lead to a command."""
    mark = tmp_path / "mark"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(
        f'[url "ext::touch {mark} "]\n\tinsteadOf = https://example.invalid/\n'
        "[protocol]\n\tallow = always\n"
    )
    with pytest.raises(InputError, match="not allowed") as caught:
        Mirror.open(Source("https://example.invalid/x")).fetch()
    assert "insteadOf" in str(caught.value.hint)
    assert not mark.exists()


def test_missing_objects_are_not_fetched_from_elsewhere(repo: Repo, tmp_path: Path) -> None:
    """A partial clone as a source does not make git call the remote that it names."""
    mark = tmp_path / "mark"
    blob = repo.git("rev-parse", "HEAD:app/a.yaml")
    (repo.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    for key, value in {
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "remote.origin.url": str(repo.path),
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": f"touch {mark};git-upload-pack",
        "core.sshCommand": f"touch {mark}",
    }.items():
        repo.git("config", key, value)
    with pytest.raises(InputError, match="cannot fetch the source"):
        fetched(repo)
    assert not mark.exists()


# -- links


def test_links_inside_are_followed(repo: Repo) -> None:
    """Links to files and through folders are read; they are not listed, which is said."""
    mirror, head = with_links(
        repo, **{"l.yaml": "a.yaml", "up": "../README", "dir": "sub", "chain.yaml": "dir/../l.yaml"}
    )
    assert mirror.read(head, "app/l.yaml") == b"a: 1\n"
    assert mirror.read(head, "app/up") == b"read me\n"
    assert mirror.read(head, "app/dir/c.yaml") == b"c: 1\n"
    assert mirror.read(head, "app/chain.yaml") == b"a: 1\n"
    assert mirror.files(head, "app") == ["app/a.yaml", "app/b.yaml", "app/sub/c.yaml"]
    assert mirror.files(head, "app/dir") == ["app/sub/c.yaml"]
    assert mirror.links(head, "app") == ["app/chain.yaml", "app/dir", "app/l.yaml", "app/up"]
    warning = "symbolic links are not listed as files: app/chain.yaml, app/l.yaml"
    assert warning in mirror.warnings


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/etc/passwd", "out of the repository"),
        ("../../etc/passwd", "out of the repository"),
        ("../..", "out of the repository"),
        ("sub/../../../x", "out of the repository"),
        ("bad.yaml", "in a circle"),
        ("sub/../bad.yaml", "in a circle"),
        ("none.yaml", "to nothing"),
        ("a.yaml/x", "to nothing"),
        ("../.git/config", "to nothing"),
        ("x" * 5000, "too long"),
    ],
)
def test_links_that_lead_out(repo: Repo, tmp_path: Path, target: str, why: str) -> None:
    """A link out of the commit is refused with its target, by read and by export."""
    blob = repo.blob(target)
    a = repo.blob("a: 1\n")
    sub = repo.tree((FILE, a, "c.yaml"))
    app = repo.tree((FILE, a, "a.yaml"), (LINK, blob, "bad.yaml"), (TREE, sub, "sub"))
    repo.commit_tree(repo.tree((TREE, app, "app")))
    mirror, head = fetched(repo)
    for call in (
        lambda: mirror.read(head, "app/bad.yaml"),
        lambda: mirror.export(head, "app", tmp_path / "out"),
    ):
        with pytest.raises(InputError, match=why) as caught:
            call()
        assert caught.value.where == "app/bad.yaml"
        assert why == "too long" or target in caught.value.what
    assert not (tmp_path / "out").exists()


def test_two_links_in_a_circle(repo: Repo) -> None:
    """Links that name each other end in an error."""
    mirror, head = with_links(repo, one="two", two="one")
    with pytest.raises(InputError, match="in a circle"):
        mirror.read(head, "app/one")


def test_export_makes_links_plain(repo: Repo, tmp_path: Path) -> None:
    """Links to files and folders become copies: nothing exported is a link."""
    mirror, head = with_links(repo, **{"l.yaml": "a.yaml", "dir": "sub", "out": "../README"})
    mirror.export(head, "app", tmp_path / "out")
    found = sorted(p for p in (tmp_path / "out").rglob("*") if not p.is_dir())
    names = [str(p.relative_to(tmp_path / "out")) for p in found]
    assert names == ["a.yaml", "b.yaml", "dir/c.yaml", "l.yaml", "out", "sub/c.yaml"]
    assert not any(p.is_symlink() for p in (tmp_path / "out").rglob("*"))
    assert (tmp_path / "out" / "l.yaml").read_text() == "a: 1\n"


@pytest.mark.parametrize("links", [{"self": "."}, {"up": ".."}, {"x": "sub", "sub/back": "../x"}])
def test_export_of_folders_in_a_circle(repo: Repo, tmp_path: Path, links: dict[str, str]) -> None:
    """Links to folders that contain them are refused, not followed for ever."""
    mirror, head = with_links(repo, **links)
    with pytest.raises(InputError, match=r"circle"):
        mirror.export(head, "app", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_of_links_that_multiply(repo: Repo, tmp_path: Path) -> None:
    """Links to folders of links to folders end at the limit of files, soon."""
    tree = repo.tree((FILE, repo.blob("x"), "x"))
    folders = [(TREE, tree, "d00")]
    for number in range(1, 30):
        link = repo.blob(f"../d{number - 1:02}")
        inner = repo.tree(*((LINK, link, f"l{n}") for n in range(10)))
        folders.append((TREE, inner, f"d{number:02}"))
    repo.commit_tree(repo.tree(*folders))
    mirror, head = fetched(repo)
    began = time.monotonic()
    with pytest.raises(InputError, match="too many files"):
        mirror.export(head, "", tmp_path / "out")
    assert time.monotonic() - began < 20
    assert not (tmp_path / "out").exists()


def test_submodules_are_left_out(repo: Repo, tmp_path: Path) -> None:
    """A submodule is skipped and named; nothing of it is fetched."""
    blob = repo.blob("a: 1\n")
    repo.commit_tree(repo.tree((FILE, blob, "a.yaml"), (MODULE, "1" * 40, "vendor")))
    mirror, head = fetched(repo)
    assert mirror.files(head) == ["a.yaml"]
    assert "vendor is a submodule: its files are not part of this" in mirror.warnings
    mirror.export(head, "", tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.yaml"]


# -- names


@pytest.mark.parametrize(
    "name",
    [".git", ".GIT", ".Git", "git~1", "GIT~2", ".git.", ".git ", ".git...", ".git::$DATA",
     ".git:x", ".g\u200cit", "a\\b", "..\\x", "a\nb", "a\x1b[31m", "a\tb", b"caf\xe9"],
)  # fmt: skip
def test_names_that_are_not_exported(repo: Repo, tmp_path: Path, name: str | bytes) -> None:
    """Names that a file system could read as .git, or a terminal as orders, never reach a disk."""
    blob = repo.blob("a: 1\n")
    inner = repo.tree((FILE, blob, name))
    repo.commit_tree(repo.tree((TREE, inner, "app"), (FILE, blob, "z.yaml")))
    with pytest.raises(InputError):  # git's own check at the fetch, or the export's
        _export_all(repo, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [".git", "GIT~1", ".git .", ".git:x", "..\\x", "a\x07b"])
def test_the_exports_own_check_of_names(name: str) -> None:
    """The export does not lean on git's check: it refuses by itself."""
    with pytest.raises(InputError):
        export._check_names([(f"app/{name}/config", "x")])
    export._check_names([("app/.gitignore", "x"), ("app/.github/x", "x"), ("git/a~1", "x")])


def _export_all(repo: Repo, target: Path) -> None:
    mirror, head = fetched(repo)
    for name in mirror.files(head):
        assert name.isprintable()
    mirror.export(head, "", target)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc/x"])
def test_trees_that_git_refuses(repo: Repo, name: str) -> None:
    """A tree with names that lead elsewhere does not get into the mirror."""
    raw = f"{FILE} {name}".encode() + b"\0" + bytes.fromhex(repo.blob("x"))
    tree = repo.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", stdin=raw)
    repo.commit_tree(tree)
    with pytest.raises(InputError, match="cannot fetch the source") as caught:
        fetched(repo)
    assert "made to do harm" in str(caught.value.hint)


def test_odd_names_can_be_listed_and_read(repo: Repo) -> None:
    """Bytes that are no UTF-8 and control characters are shown as escapes, and are readable."""
    blob = repo.blob("a: 1\n")
    names: list[str | bytes] = [b"caf\xe9.yaml", "a\nb.yaml", "ünï.yaml", "a b.yaml"]
    repo.commit_tree(repo.tree(*((FILE, blob, name) for name in names)))
    mirror, head = fetched(repo)
    files = mirror.files(head)
    assert files == sorted(["caf\\xe9.yaml", "a\\nb.yaml", "ünï.yaml", "a b.yaml"])
    assert set(mirror.read_many(head, files).values()) == {b"a: 1\n"}


def test_names_that_cannot_be_told_apart(repo: Repo) -> None:
    """A name that is another one's escape is refused."""
    blob = repo.blob("a: 1\n")
    repo.commit_tree(repo.tree((FILE, blob, b"\xe9"), (FILE, blob, "\\xe9")))
    mirror, head = fetched(repo)
    with pytest.raises(InputError, match="told apart"):
        mirror.files(head)


def test_paths_are_no_patterns(repo: Repo) -> None:
    """A path means itself: no magic, no wildcard, no option."""
    head = repo.commit("odd", **{"-x": "1\n", "*": "2\n", ":(glob)*": "3\n"})
    mirror, _ = fetched(repo)
    for name, text in (("-x", b"1\n"), ("*", b"2\n"), (":(glob)*", b"3\n")):
        assert mirror.files(head, name) == [name]
        assert mirror.read(head, name) == text
        assert [r.commit for r in mirror.log(head, name)] == [head]
        found = mirror.blame(head, name, 1)
        assert found is not None
        assert found.commit == head


# -- sizes


def test_large_files(repo: Repo, tmp_path: Path) -> None:
    """A file above the limit is listed, and neither read nor exported."""
    (repo.path / "app" / "big.bin").write_bytes(b"\0" * (snapshot.MAX_FILE + 1))
    head = repo.commit("big")
    mirror, _ = fetched(repo)
    assert "app/big.bin" in mirror.files(head)
    with pytest.raises(InputError, match="too large") as caught:
        mirror.read(head, "app/big.bin")
    assert caught.value.where == "app/big.bin"
    with pytest.raises(InputError, match="too large"):
        mirror.export(head, "app", tmp_path / "out")
    assert mirror.read(head, "app/a.yaml") == b"a: 1\n"


def test_many_large_files(repo: Repo, tmp_path: Path) -> None:
    """The same content under many names counts each time."""
    blob = repo.blob(b"\0" * snapshot.MAX_FILE)
    count = snapshot.MAX_TOTAL // snapshot.MAX_FILE
    repo.commit_tree(repo.tree(*((FILE, blob, f"f{n:03}") for n in range(count + 1))))
    mirror, head = fetched(repo)
    names = mirror.files(head)
    assert len(mirror.read_many(head, names[:2])) == 2
    with pytest.raises(InputError, match="too large together"):
        mirror.read_many(head, names)
    with pytest.raises(InputError, match="too large together"):
        mirror.export(head, "", tmp_path / "out")


def test_tree_of_endless_files(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of few objects that names a thousand million files is refused, soon."""
    tree = repo.tree(*((FILE, repo.blob("x"), f"f{n}") for n in range(10)))
    for _ in range(9):
        tree = repo.tree(*((TREE, tree, f"d{n}") for n in range(10)))
    repo.commit_tree(tree)
    monkeypatch.setattr(transport, "LOOK_SECONDS", 0.5)
    began = time.monotonic()
    mirror, head = fetched(repo)
    assert any("not looked for uncommitted" in text for text in mirror.warnings)
    with pytest.raises(InputError, match="too many files"):
        mirror.files(head)
    assert time.monotonic() - began < 30


def test_pointers_of_large_file_storage(repo: Repo) -> None:
    """A pointer that stands for a file elsewhere is said to be one."""
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    head = repo.commit("pointer", p_yaml=text)
    mirror, _ = fetched(repo)
    mirror.read(head, "p.yaml")
    assert any("p.yaml is a pointer of Git LFS" in text for text in mirror.warnings)


def test_tag_that_is_no_commit(repo: Repo) -> None:
    """A tag of a file names no commit."""
    repo.git("tag", "file", repo.git("rev-parse", "HEAD:README"))
    with pytest.raises(InputError, match="file is not a commit"):
        Mirror.open(Source(str(repo.path), "file")).fetch()
