"""Tells what a text is (a document, a program, settings, prose) and reads it as such."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from opslib.seal.scan import coded, hcl, lines, notebook, outline, shapes, tables, tree, verified
from opslib.seal.scan.lines import Dialect, Hit, Lines
from opslib.seal.scan.sink import Place, Sink, joined
from opslib.seal.scan.tree import Node, Unparsed
from opslib.seal.scan.walk import Walk

MOST_DEPTH = 6
"""Texts within texts: a document in a value of a document, and so on."""
MOST_CODED = 3
"""Levels of base64; two must be found, and a Secret may hold a file that has two."""
_CODE = frozenset(
    """py pyi js mjs cjs jsx ts tsx go java kt kts scala groovy gradle rb rs c h cc cpp hpp cs fs
    swift php pl pm lua r jl dart m mm ex exs erl clj hs vue svelte sol proto css scss less ps1
    psm1 jenkinsfile vb bas pas coffee cue jsonnet libsonnet bzl star nix dhall rego""".split()
)
_SETTINGS = frozenset(
    """env ini properties conf cfg cnf toml sh bash zsh ksh fish bat cmd dockerfile containerfile
    mk make npmrc pypirc netrc pgpass my.cnf service socket repo desktop rc envrc editorconfig
    htpasswd prefs tfrc terraformrc ovpn sql xml csproj plist nuspec""".split()
)
_PROSE = frozenset(
    """md markdown rst txt adoc asciidoc log out html htm tex diff patch csv tsv org""".split()
)
_MARKUP = frozenset("""md markdown rst adoc asciidoc html htm tex diff patch csv tsv org""".split())
_YAML = frozenset(["yaml", "yml", "eyaml", "kubeconfig", "gotmpl", "sls"])
_JSON = frozenset(
    """json tfstate ipynb jsonc json5 jsonl ndjson webmanifest geojson dockercfg dockerconfigjson
    backup""".split()
)
_HCL = frozenset(["tf", "tfvars", "hcl", "tofu", "nomad", "pkr"])
_LOCALE = re.compile(
    r"(?:^|/)(?:i18n|l10n|locales?|lang(?:uages?)?|translations?|messages?)(?:/|[._-])|messages_\w\w\.",
    re.IGNORECASE,
)
_KEY_LINE = re.compile(r"[ \t-]*[\"']?[\w.$/ -]{1,80}[\"']?:(?:\s|$)|---")
_MANIFEST = re.compile(r"^[ \t-]*[\"']?(?:apiVersion|kind)[\"']?: ?\S", re.MULTILINE)
_SETTING_LINE = re.compile(r"^\s*(?:export\s+)?[A-Za-z_][\w.\-]*\s*=", re.MULTILINE)
_COMMENT = re.compile(
    r"(?:^|[ \t])#(?P<text>[^\n]*)|\{\{-?\s*/\*(?P<long>.{0,4000}?)\*/", re.MULTILINE | re.DOTALL
)
_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[ \t]*(?P<lang>[\w+-]*)[^\n]*\n(?P<body>.*?)^[ \t]*(?:```|~~~)",
    re.MULTILINE | re.DOTALL,
)
_USERS = "/chpasswd/list"


_CLEAN: dict[tuple[str, str, int, int, bool], None] = {}
"""Short texts that hold nothing, as they were read: versions of a file share most of theirs."""
_MOST_CLEAN = 50_000


def read(text: str, place: Place, sink: Sink) -> None:
    """Read a text and note what it holds in the open."""
    if place.depth > MOST_DEPTH or place.coded > MOST_CODED or not text.strip():
        return
    if not place.depth:
        translated = _LOCALE.search(place.hint) is not None
        _Reader(text, replace(place, translated=translated), sink).run()
        return
    users = place.pointer.endswith(_USERS)
    known = (text, place.hint, place.depth, place.coded * 2 + users, place.translated)
    if len(text) > 2000:
        _Reader(text, place, sink).run()
    elif known not in _CLEAN:
        before = sink.count
        _Reader(text, place, sink).run()
        if sink.count == before:
            if len(_CLEAN) >= _MOST_CLEAN:
                _CLEAN.clear()
            _CLEAN[known] = None


def extension(name: str) -> str:
    """Return what a file's name says of its form, in small letters."""
    base = re.split(r"[/\\]", name)[-1].lower()
    if base.startswith(".env") or base.endswith(".env"):
        return "env"
    parts = [part for part in base.lstrip(".").split(".") if part]
    if not parts:
        return ""
    if parts[0] in {"dockerfile", "containerfile", "makefile", "jenkinsfile"}:
        return {"makefile": "mk"}.get(parts[0], parts[0])
    last = parts[-1]
    if (
        last
        in {
            "example",
            "sample",
            "dist",
            "template",
            "tpl",
            "j2",
            "tmpl",
            "bak",
            "orig",
            "old",
            "erb",
            "enc",
            "in",
        }
        and len(parts) > 1
    ):
        last = parts[-2]
    return last


class _Reader:
    """One text: tried as a document first, then by its lines."""

    def __init__(self, text: str, place: Place, sink: Sink) -> None:
        self.text = text
        self.place = place
        self.sink = sink
        self.extension = extension(place.hint)

    def run(self) -> None:
        if self._as_document():
            return
        if self.extension in _HCL or (not self.extension and hcl.likely(self.text)):
            hcl.read(self.text, self.place, self.sink, self._embed)
            self._remarks()
            self._coded(self.text, self._spans(self.text))
            return
        self.by_lines(self._dialect())

    def _embed(self, text: str, place: Place) -> None:
        read(text, place, self.sink)

    # -- documents

    def _as_document(self) -> bool:
        head = self.text.lstrip("\ufeff \t\r\n")[:1]
        if head in {"{", "["} or self.extension in _JSON:
            roots = self._try(tree.read_json, self.text)
            if roots is not None:
                self._walk(roots)
                return True
        if not self._yaml():
            return False
        text = self.text.removeprefix("\ufeff")
        # A template first: what it is filled in by looks like a mapping to a parser.
        roots = self._try(outline.read_template, text) or self._try(tree.read_yaml, text)
        broken = roots is None
        sure = self.extension in _YAML or _MANIFEST.search(text) is not None
        if roots is None and sure:
            roots = outline.read(text)
        if roots is None or not (sure or any(root.form != "text" for root in roots)):
            return False
        self._walk(roots)
        self._remarks()
        return self.extension in _YAML or not broken

    def _yaml(self) -> bool:
        """Tell what may be YAML; whether it is one is found out by reading it."""
        text, kind = self.text, self.extension
        if kind in _YAML:
            return True
        if kind in _CODE | _HCL | _MARKUP:
            return False
        known = text.startswith("#cloud-config") or _MANIFEST.search(text) is not None
        return known or (kind not in _SETTINGS and self._keys_and_values())

    def _keys_and_values(self) -> bool:
        text, kind = self.text, self.extension
        if re.match(r"(?:\s|#[^\n]*\n)*(?:---\s|[{\[])", text):
            return True
        rows = [row for row in text.split("\n")[:300] if row.strip() and row.lstrip()[:1] != "#"]
        if len(rows) < 2 or not _KEY_LINE.match(rows[0]):
            return False
        keys = sum(_KEY_LINE.match(row) is not None for row in rows)
        return keys >= len(rows) * (0.6 if kind in _PROSE else 0.3)

    @staticmethod
    def _try(reader: object, text: str) -> list[Node] | None:
        try:
            return reader(text)  # type: ignore[operator,no-any-return]
        except Unparsed:
            return None

    def _walk(self, roots: list[Node]) -> None:
        for root in roots:
            if notebook.is_one(root):
                notebook.read(root, self.place, self.sink, self._embed)
            else:
                Walk(self.sink, self.place, self._embed).document(root)

    def _remarks(self) -> None:
        """Read comments, which parsers drop."""
        if "#" not in self.text and "/*" not in self.text:
            return
        count = Lines(self.text)
        for found in _COMMENT.finditer(self.text):
            group = "text" if found["text"] is not None else "long"
            remark = found[group]
            if len(remark) < 8:
                continue
            inner = Place(
                "remark.md",
                self.place.pointer,
                self.place.at(count.of(found.start(group))),
                flat=group == "text" or self.place.flat,
                depth=self.place.depth + 1,
                coded=self.place.coded,
            )
            _Reader(remark, inner, self.sink).by_lines(Dialect.PROSE)

    # -- lines

    def _dialect(self) -> Dialect:
        if self.extension in _CODE:
            return Dialect.CODE
        if self.extension in _SETTINGS or self.text.startswith("#!"):
            return Dialect.SETTINGS
        if self.extension in _PROSE:
            return Dialect.PROSE
        rows = [row for row in self.text.split("\n")[:200] if row.strip()]
        settings = sum(_SETTING_LINE.match(row) is not None for row in rows)
        return Dialect.SETTINGS if rows and settings >= len(rows) * 0.5 else Dialect.PROSE

    def by_lines(self, dialect: Dialect) -> None:
        text, count = self.text, Lines(self.text)
        if verified.signed(text):
            return
        spans: list[tuple[int, int]] = []
        for one in shapes.shapes(text):
            spans.append((one.start, one.start + len(one.value)))
            self._add(Hit(one.start, one.kind, "", one.value, one.detail), count)
        # What stands in a key or in the code of Markdown was read there.
        done = [span for span in spans if span[1] - span[0] > 200]
        done += self._fences(dialect)
        spans += done
        for hit in self._hits(dialect):
            if not any(start <= hit.start < end for start, end in done):
                self._add(hit, count)
        self._coded(text, spans)

    def _hits(self, dialect: Dialect) -> Iterator[Hit]:
        text, kind = self.text, self.extension
        yield from lines.hits(text, dialect)
        if kind in {"csv", "tsv"}:
            head = text.split("\n", 1)[0]
            mark = max(",;\t|", key=head.count)
            yield from tables.delimited(text, mark, strict=False)
        elif "|" in text and dialect is not Dialect.CODE:
            yield from tables.delimited(text, "|", strict=True)
        if "<td" in text:
            yield from tables.html(text)
        if kind in {"out", "txt", "log", "list"}:
            yield from tables.aligned(text)
        if kind == "pgpass":
            yield from lines.pgpass(text)
        if self.place.pointer.endswith(_USERS):
            yield from lines.user_lines(text)

    def _fences(self, dialect: Dialect) -> Iterator[tuple[int, int]]:
        """Read the code of Markdown in its own language; yield where documents stand."""
        if dialect is not Dialect.PROSE or ("```" not in self.text and "~~~" not in self.text):
            return
        count = Lines(self.text)
        for found in _FENCE.finditer(self.text):
            lang = found["lang"].lower()
            name = {
                "python": "py",
                "bash": "sh",
                "shell": "sh",
                "console": "sh",
                "yml": "yaml",
                "javascript": "js",
                "typescript": "ts",
                "terraform": "tf",
                "dotenv": "env",
                "golang": "go",
            }.get(lang, lang)
            inner = Place(
                f"fence.{name}",
                self.place.pointer,
                self.place.at(count.of(found.start("body"))),
                self.place.flat or bool(self.place.rows),
                depth=self.place.depth + 1,
                coded=self.place.coded,
            )
            read(found["body"], inner, self.sink)
            yield found.start("body"), found.end("body")

    def _spans(self, text: str) -> list[tuple[int, int]]:
        return [(one.start, one.start + len(one.value)) for one in shapes.shapes(text)]

    def _coded(self, text: str, spans: list[tuple[int, int]]) -> None:
        """Decode base64 and look at what it says."""
        if self.place.coded >= MOST_CODED:
            return
        count: Lines | None = None
        for start, run, data in coded.inner(text):
            if any(a <= start < b for a, b in spans):
                continue
            what = shapes.der(data)
            packed = coded.inflate(data)
            clear = None if what else coded.readable(packed if packed is not None else data)
            if not what and (clear is None or len(clear) < 8):
                continue
            count = count or Lines(text)
            line = self.place.at(count.of(start))
            if what:
                kind = "keystore" if "store" in what else "private-key"
                self.sink.add(kind, line, self.place.pointer, run.strip(), what)
            elif clear:
                inner = Place(
                    "",
                    self.place.pointer,
                    line,
                    flat=True,
                    depth=self.place.depth + 1,
                    coded=self.place.coded + 1,
                )
                read(clear, inner, self.sink)

    def _add(self, hit: Hit, count: Lines) -> None:
        pointer = joined(self.place.pointer, hit.name) if hit.name else self.place.pointer
        self.sink.add(hit.kind, self.place.at(count.of(hit.start)), pointer, hit.value, hit.detail)
