"""One key of any file is one line of a diff: however the YAML is written, all else stays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opslib.core.errors import InputError
from opslib.seal import notes
from opslib.seal.edit import SealedFile
from opslib.seal.sealed import Declared, read_sealed

OLD = {"alpha": "AgA" + "a" * 60 + "=", "be.ta": "AgB" + "b" * 61, "1": "AgC" + "c" * 61}
FRESH = "AgD" + "d" * 57 + "=="
NOTE = notes.Note("SHA256:" + "x" * 43, "shop/db", date(2026, 11, 30), "ada")

comments = st.sampled_from(["", "  # why", " # sum=00000000/64", "\t# tab", "   #", " # 'quoted\""])
above = st.sampled_from(["", "# above\n", "    # deeper\n", "\n", "\n# after a gap\n\n"])
heads = st.sampled_from(
    ["", "---\n", "# head\n", "# head\n---\n", "%YAML 1.1\n---\n", "--- # doc\n"]
)
styles = st.sampled_from(["plain", "single", "double", "tagged", "gap"])


@dataclass(frozen=True)
class Written:
    """A file, and the number of its line with the key that is edited."""

    text: str
    line: int


def _row(key: str, value: str, style: str) -> str:
    name = json.dumps(key) if style == "double" or key == "1" else key
    shown = {"single": f"'{value}'", "double": f'"{value}"', "tagged": f"!!str {value}"}
    return f"{name}:{'   ' if style == 'gap' else ' '}{shown.get(style, value)}"


@st.composite
def files(draw: st.DrawFn) -> Written:
    """Write a file with the SealedSecret among others, in one of many hands."""
    indent = draw(st.sampled_from(["  ", "    ", " "]))
    order = draw(st.permutations(list(OLD)))
    edited = draw(st.sampled_from(order))
    text = draw(heads)
    before = draw(
        st.sampled_from(["", "kind: ConfigMap\ndata: &x {a: b, c: 'SealedSecret'}\n---\n"])
    )
    text += before if "---" in text or not before else f"{before}"
    text += f"apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\n{draw(above)}"
    text += f"metadata:{draw(comments)}\n{indent}name: db\n{indent}namespace: shop\nspec:\n"
    template = (
        f"{indent}template:\n{indent * 2}data:\n{indent * 3}alpha: |\n{indent * 4}alpha: AgA\n"
    )
    first = draw(st.booleans())
    text += template if first else ""
    text += f"{indent}encryptedData:{draw(comments)}\n"
    line = 0
    for key in order:
        text += draw(above)
        line = text.count("\n") if key == edited else line
        text += f"{indent * 2}{_row(key, OLD[key], draw(styles))}{draw(comments)}\n"
    text += "" if first else template
    text += draw(st.sampled_from(["", "# end", "---\n", "...\n", "---\nkind: List\nitems: []\n"]))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    if draw(st.booleans()):
        text = "\ufeff" + text
    return Written(text, line)


def _edited_key(written: Written) -> str:
    row = written.text.splitlines()[written.line]
    return next(key for key, value in OLD.items() if value in row)


@settings(max_examples=250, deadline=None)
@given(files(), st.booleans())
def test_one_key_is_one_line_however_it_is_written(written: Written, noting: bool) -> None:
    """The line of the key changes, and no byte of any other; the object is what was meant."""
    key = _edited_key(written)
    file = SealedFile(written.text.encode(), "f.yaml")
    file.noting = noting
    file.set({key: FRESH})
    after = file.result()
    old, new = written.text.split("\n"), after.split("\n")
    assert len(old) == len(new)
    assert [n for n, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]] == [
        written.line
    ]
    (before,) = read_sealed(written.text.encode(), "f", others=True)
    (made,) = read_sealed(after.encode(), "f", others=True)
    assert made.data == {**before.data, key: FRESH}
    assert made.template == before.template
    tail = old[written.line].partition(OLD[key])[2]
    if noting or "sum=" in tail:
        assert made.sums[key] == notes.check_sum(FRESH)


@settings(max_examples=120, deadline=None)
@given(files())
def test_notes_deleting_and_renaming_keep_the_rest(written: Written) -> None:
    """With a note, only lines are added; a deleted key takes its line; a renamed one its name."""
    key = _edited_key(written)
    old = written.text.split("\n")
    file = SealedFile(written.text.encode(), "f.yaml")
    file.set({key: FRESH}, {key: NOTE})
    noted = file.result().split("\n")
    kept = [row for n, row in enumerate(old) if n != written.line]
    assert [row for row in noted if row in kept and row.strip()] == [r for r in kept if r.strip()]
    (made,) = read_sealed("\n".join(noted).encode(), "f", others=True)
    assert made.read_notes() == ({key: NOTE}, [])
    file = SealedFile(written.text.encode(), "f.yaml")
    file.delete(key)
    gone = file.result().split("\n")
    assert gone == kept
    file = SealedFile(written.text.encode(), "f.yaml")
    file.rename(key, "other")
    renamed = file.result().split("\n")
    assert [n for n, pair in enumerate(zip(old, renamed, strict=True)) if pair[0] != pair[1]] == [
        written.line
    ]
    (made,) = read_sealed("\n".join(renamed).encode(), "f", others=True)
    assert made.data["other"] == OLD[key]


HEAD = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata: {name: db}\nspec:\n"
A = OLD["alpha"]
HOSTILE: dict[str, str] = {
    "alias of the value": f"{HEAD}  x: &v {A}\n  encryptedData:\n    alpha: *v\n",
    "anchor on the value": f"{HEAD}  encryptedData:\n    alpha: &v {A}\n    b: *v\n",
    "alias of the mapping": f"{HEAD}  x: &m {{alpha: {A}}}\n  encryptedData: *m\n",
    "merge key": f"{HEAD}  x: &m {{alpha: {A}}}\n  encryptedData:\n    <<: *m\n    b: {A}\n",
    "key twice": f"{HEAD}  encryptedData:\n    alpha: {A}\n    alpha: {A}\n",
    "object twice": f"{HEAD}  encryptedData: {{alpha: {A}}}\n---\n{HEAD}  encryptedData: {{}}\n",
    "complex key": f"{HEAD}  encryptedData:\n    ? alpha\n    : {A}\n",
    "value on the next line": f"{HEAD}  encryptedData:\n    alpha:\n      {A}\n",
    "two lines": f"{HEAD}  encryptedData:\n    alpha: {A[:30]}\n      {A[30:]}\n",
    "two quoted lines": f'{HEAD}  encryptedData:\n    alpha: "{A[:30]}\\\n      {A[30:]}"\n',
    "literal": f"{HEAD}  encryptedData:\n    alpha: |\n      {A[:9]}\n      {A[9:]}\n    b: {A}\n",
    "folded, kept": f"{HEAD}  encryptedData:\n    alpha: >+\n      {A}\n\n    b: {A}\n",
    "flow": f"{HEAD}  encryptedData: {{b: {A}, alpha: {A}}}  # both\n",
    "flow on lines": f"{HEAD}  encryptedData: {{\n    alpha: '{A}', # one\n    \"b\": {A}\n  }}\n",
    "all flow": f"{{apiVersion: bitnami.com/v1alpha1, kind: SealedSecret, metadata: {{name: db}}, "
    f"spec: {{encryptedData: {{alpha: {A}}}}}}}\n",
    "json with tabs": json.dumps(
        {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "db"},
         "spec": {"encryptedData": {"alpha": A, "b": A}}}, indent="\t"),
    "json on one line": json.dumps(
        {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "db"},
         "spec": {"encryptedData": {"alpha": A, "b": A}}}),
    "null": f"{HEAD}  encryptedData:\n    alpha:\n    b: {A}\n",
    "null, last": f"{HEAD}  encryptedData:\n    b: {A}\n    alpha:\n",
    "empty mapping": f"{HEAD}  encryptedData: {{}}\n",
    "no mapping": f"{HEAD}  encryptedData:\n",
    "a list": f"{HEAD}  encryptedData: [{A}]\n",
    "within a List": "apiVersion: v1\nkind: List\nitems:\n- " + HEAD.replace("\n", "\n  ")
    + f"  encryptedData:\n      alpha: {A} # here\n      b: {A}\n",
    "tabs behind the colon": f"{HEAD}  encryptedData:\n    alpha:\t{A}\t# tab\n    b: {A}\n",
    "no end of line": f"{HEAD}  encryptedData:\n    alpha: {A}",
    "a sum in the midst": f"{HEAD}  encryptedData:\n    alpha: {A} # sum=00000000/9 mine\n",
    "the key elsewhere": f"{HEAD}  template: {{data: {{alpha: x}}}}\n  encryptedData:\n"
    f"    # alpha: {A}\n    alpha: {A}\n",
}  # fmt: skip
REFUSED = {
    "alias of the value", "anchor on the value", "alias of the mapping", "merge key",
    "key twice", "object twice", "a list", "no mapping",
}  # fmt: skip
"""What is refused in words; all others are edited."""


@pytest.mark.parametrize("name", HOSTILE)
def test_odd_files_are_edited_or_refused_whole(name: str) -> None:
    """What is edited is what was meant, and all other lines are there; what is not is said."""
    text = HOSTILE[name]
    if name in REFUSED:
        with pytest.raises(InputError, match=r"[a-z]") as caught:
            _set(text)
        assert (caught.value.where or "").startswith("f.yaml")
        return
    before, after = _set(text)
    (made,) = read_sealed(after.encode(), "f", others=True)
    wanted: dict[str, Any] = {**before.data, "alpha": FRESH}
    assert made.data == wanted
    assert set(made.read_notes()[0]) == {"alpha"}
    for row in text.splitlines():
        if "# " in row:
            assert row.partition("# ")[2].split()[-1] in after


def _set(text: str) -> tuple[Declared, str]:
    file = SealedFile(text.encode(), "f.yaml")
    file.set({"alpha": FRESH}, {"alpha": NOTE})
    return file.declared, file.result()
