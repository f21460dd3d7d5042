"""One edit of a YAML text each: a tree of nodes in, the edited text out.

Whether the text then says what is wanted is for the caller to prove (see ``yamledit``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from opslib.source import yamlwrite as write
from opslib.source.yamltree import CannotEdit, Node, Path, Tree, key_of
from opslib.source.yamlwrite import Layout, filled


def put(tree: Tree, path: Path, value: Any) -> str:
    """Write another value in the place of one that is there."""
    node = tree.find(path)
    if not path:
        raise CannotEdit("the whole document would be another one", line=tree.line(node.start))
    parent = tree.find(path[:-1])
    if _in_flow(tree, path):
        quote = node.style if node.style in {"'", '"'} else ""
        text = write.inline(value, layout=_layout(tree), quote=quote, flow=True)
        return _replaced(tree, node, text)
    if node.kind == "scalar" and not filled(value):
        return _scalar(tree, parent, node, value)
    if node.flow and node.kind in {"map", "seq"} and (not filled(value) or _fits(tree, node)):
        return _replaced(tree, node, write.inline(value, layout=_layout(tree)))
    if parent.kind == "seq":
        return _item(tree, parent, node, value)
    return _value(tree, parent, path[-1], node, value)


def _fits(tree: Tree, node: Node) -> bool:
    return "\n" not in tree.text[node.start : node.end] or tree.json


def _in_flow(tree: Tree, path: Path) -> bool:
    return any(tree.find(path[:depth]).flow for depth in range(len(path)))


def _replaced(tree: Tree, node: Node, text: str) -> str:
    start = node.outer if node.tag and not node.anchor else node.start
    lead = " " if start == node.end and tree.text[start - 1 : start] in {":", "-"} else ""
    return tree.text[:start] + lead + text + tree.text[node.end :]


def _scalar(tree: Tree, parent: Node, node: Node, value: Any) -> str:
    """Write a scalar in another one's place, in its quotes, or as its block."""
    if isinstance(value, str) and "\n" in value and node.style in {"", "|", ">"}:
        block = _block(tree, parent, node, value)
        if block is not None:
            return block
    layout = _layout(tree)
    text = write.inline(value, layout=layout, quote=node.style if node.style in {"'", '"'} else "")
    if node.style in {"|", ">"}:
        comment = tree.text[node.start : tree.tail(node.start)].partition("#")[2]
        text += f"  #{comment}" if comment else ""
        if tree.text[node.end - 1 : node.end] == "\n":
            text += tree.newline
    return _replaced(tree, node, text)


def _block(tree: Tree, parent: Node, node: Node, value: str) -> str | None:
    """Write a text of several lines as a literal block; None where that cannot be."""
    column = parent.column
    indent = column + _layout(tree).step
    body = tree.text[node.start : node.end].split("\n")[1:]
    if node.style in {"|", ">"} and (first := next((line for line in body if line.strip()), "")):
        indent = len(first) - len(first.lstrip(" "))
        digits = [char for char in tree.text[node.start : node.start + 3] if char.isdigit()]
        indent = column + int(digits[0]) if digits else indent
    block = write.literal(value, indent, column)
    if block is None:
        return None
    if node.style not in {"|", ">"}:
        lead = " " if node.start == node.end else ""
        header = lead + block[0] + _comment(tree.text[node.end : tree.tail(node.end)])
        rest = tree.text[tree.tail(node.end) :]
        text = tree.newline.join([header, *block[1]])
        return tree.text[: node.start] + text + (rest or tree.newline)
    header = block[0] + _comment(tree.text[node.start : tree.tail(node.start)])
    lines = tree.newline.join([header, *block[1]])
    if node.end and tree.text[node.end - 1 : node.end] == "\n":
        lines += tree.newline
    elif not tree.text[node.end :] and value.endswith("\n"):
        lines += tree.newline  # at the end of a file without a line end
    return _replaced(tree, node, lines)


def _item(tree: Tree, seq: Node, node: Node, value: Any) -> str:
    """Write a collection in the place of a list's item, or anything in that of a collection."""
    lines = write.item_lines(value, seq.column, layout=_layout(tree))
    text = tree.newline.join([lines[0][seq.column + 2 :], *lines[1:]])
    start = node.outer
    lead = " " if start == node.end and tree.text[start - 1 : start] == "-" else ""
    return tree.text[:start] + lead + text + tree.text[node.end :]


def _value(tree: Tree, parent: Node, key: str | int, node: Node, value: Any) -> str:
    """Write a value after its key, where one of the two takes several lines."""
    name = next(one for one, _ in parent.pairs if key_of(one) == key)
    colon = tree.text.index(":", name.end) + 1
    line_end = tree.tail(colon)
    lines = write.pair_lines(str(key), value, parent.column, layout=_layout(tree))
    head = write.key_text(str(key), layout=_layout(tree))
    first = lines[0][parent.column + len(head) + 1 :]
    rest = "".join(tree.newline + line for line in lines[1:])
    if node.block or node.style in {"|", ">"}:  # what stands on the key's line is a comment
        comment = _comment(tree.text[colon:line_end])
    else:
        comment = _comment(tree.text[node.end : tree.tail(node.end)])
    end = tree.tail(node.end) if not node.block else node.end
    if tree.text[node.end - 1 : node.end] == "\n":
        end = node.end
        rest += tree.newline
    elif node.block:
        end = tree.tail(node.end)
    return tree.text[:colon] + first + comment + rest + tree.text[end:]


def _comment(text: str) -> str:
    """Return the comment at the end of a piece of a line, with the blanks before it."""
    at = text.find(" #")
    return "" if at < 0 else "  " + text[at:].strip()


def add(tree: Tree, path: Path, key: str, value: Any) -> str:
    """Add a key at the end of a mapping, in its style."""
    node = tree.find(path)
    if node.kind == "alias":
        raise CannotEdit(f"*{node.anchor} stands for this mapping", line=tree.line(node.start))
    layout = _layout(tree)
    if not node.pairs:
        pair = write.inline({key: value}, layout=layout)
        return (
            _replaced(tree, node, pair)
            if len(pair) < write.WIDTH
            else put(tree, path, {key: value})
        )
    last_key, last = node.pairs[-1]
    quote = last.style if last.style in {'"', "'"} else ""
    if node.flow:
        name = write.key_text(key, layout=layout, quote=last_key.style, flow=True)
        text = f"{name}: {write.inline(value, layout=layout, quote=quote, flow=True)}"
        return _appended(tree, last_key, max(last.end, last_key.end), text)
    mark = '"' if all(one.style == '"' for one, _ in node.pairs) else ""
    lines = write.pair_lines(key, value, node.column, layout=layout, quote=quote, key_quote=mark)
    return _inserted(tree, tree.after(last.end), lines)


def _appended(tree: Tree, first: Node, end: int, text: str) -> str:
    """Add to a flow collection, after ``end``; ``first`` starts the last part that is there."""
    rest = tree.text[end:]
    comma = end + rest.index(",") + 1 if rest.lstrip().startswith(",") else 0
    head, sign = (comma, "") if comma else (end, ",")
    if not tree.first_on_line(first.outer):
        return tree.text[:head] + sign + " " + text + tree.text[head:]
    lead = tree.text[tree.head(first.outer) : first.outer]
    line = tree.tail(head)
    between = tree.text[head:line]
    if between.strip() and not between.strip().startswith("#"):
        line, between = head, ""
    ending = "," if comma else ""
    return (
        tree.text[:head] + sign + between + tree.newline + lead + text + ending + tree.text[line:]
    )


def _inserted(tree: Tree, place: int, lines: list[str]) -> str:
    """Insert lines where a line starts."""
    text = "".join(line + tree.newline for line in lines)
    if place and tree.text[place - 1] != "\n":  # the last line of a file without a line end
        text = tree.newline + text
    return tree.text[:place] + text + tree.text[place:]


def insert(tree: Tree, path: Path, value: Any) -> str:
    """Insert an item into a list; the last step of the path is its number."""
    seq, number = tree.find(path[:-1]), path[-1]
    if seq.kind != "seq" or not isinstance(number, int):
        raise CannotEdit("this is not written as a list", line=tree.line(seq.start))
    layout = _layout(tree)
    quote = seq.items[-1].style if seq.items and seq.items[-1].style in {'"', "'"} else ""
    if seq.flow:
        text = write.inline(value, layout=layout, quote=quote, flow=True)
        if number < len(seq.items):
            at = seq.items[number].outer
            return tree.text[:at] + text + ", " + tree.text[at:]
        return _appended(tree, seq.items[-1], seq.items[-1].end, text)
    lines = write.item_lines(value, seq.column, layout=layout, quote=quote)
    if number >= len(seq.items):
        return _inserted(tree, tree.after(seq.items[-1].end), lines)
    dash = tree.dash(seq, number)
    if tree.first_on_line(dash):
        return _inserted(tree, tree.above(dash), lines)
    text = tree.newline.join([lines[0][seq.column :], *lines[1:]])  # a list in a list: "- - a"
    return tree.text[:dash] + text + tree.newline + " " * seq.column + tree.text[dash:]


def remove(tree: Tree, path: Path) -> str:
    """Remove a key or an item with the comment on its lines."""
    node, parent = tree.find(path), tree.find(path[:-1])
    parts = parent.pairs if parent.kind == "map" else [(one, one) for one in parent.items]
    if len(parts) == 1:
        return put(tree, path[:-1], {} if parent.kind == "map" else [])
    number = next(n for n, part in enumerate(parts) if part[1] is node)
    if parent.flow:
        return _without_flow(tree, parts, number)
    if parent.kind == "seq":
        start = tree.dash(parent, number)
        follows = tree.dash(parent, number + 1) if number + 1 < len(parts) else 0
    else:
        start = parts[number][0].outer
        follows = parts[number + 1][0].outer if number + 1 < len(parts) else 0
    end = tree.after(max(node.end, start + 1))
    if tree.first_on_line(start):
        return tree.text[: tree.head(start)] + tree.text[end:]
    if not follows or "?" in tree.text[tree.head(start) : start]:
        raise CannotEdit("its layout is in the way", line=tree.line(start))
    # The first of a list's item: what follows takes its place behind the dash.
    while tree.text[end] == " ":
        end += 1
    return tree.text[:start] + tree.text[end:]


def _without_flow(tree: Tree, parts: list[tuple[Node, Node]], number: int) -> str:
    first, last = parts[number]
    end = max(first.end, last.end)
    if number + 1 < len(parts):
        follows = parts[number + 1][0].outer
        if "#" in tree.text[end:follows]:
            end += tree.text[end:follows].index(",") + 1
            return tree.text[: first.outer] + tree.text[end:].lstrip(" ")
        return tree.text[: first.outer] + tree.text[follows:]
    before = max(parts[number - 1][0].end, parts[number - 1][1].end)
    if "#" in tree.text[before : first.outer]:
        return tree.text[: first.outer] + tree.text[end:]
    return tree.text[:before] + tree.text[end:]


def permute(tree: Tree, path: Path, order: list[int]) -> str:
    """Bring the items of a list into another order, each with the comments above it."""
    seq = tree.find(path)
    if seq.flow:
        texts = [tree.text[item.outer : item.end] for item in seq.items]
        out = tree.text
        for number in reversed(range(len(texts))):
            item = seq.items[number]
            out = out[: item.outer] + texts[order[number]] + out[item.end :]
        return out
    dashes = [tree.dash(seq, number) for number in range(len(seq.items))]
    if not all(map(tree.first_on_line, dashes)):
        raise CannotEdit("its list is not written line by line", line=tree.line(seq.start))
    starts = [tree.above(dash) for dash in dashes]
    starts[0] = tree.head(dashes[0])
    ends = [*starts[1:], tree.after(seq.end)]
    parts = [tree.text[start:end] for start, end in zip(starts, ends, strict=True)]
    whole = parts[-1].endswith("\n")
    parts = [part if part.endswith("\n") else part + tree.newline for part in parts]
    text = "".join(parts[number] for number in order)
    text = text if whole else text.removesuffix(tree.newline)
    return tree.text[: starts[0]] + text + tree.text[ends[-1] :]


def _layout(tree: Tree) -> Layout:
    """Return how the document is written, as its first nested collections show."""
    step = dash = None
    for parent, child in _nested(tree.root):
        if child.kind == "map" and step is None and parent.kind == "map":
            step = child.column - parent.column
        if child.kind == "seq" and dash is None and parent.kind == "map":
            dash = child.column - parent.column
    return Layout(step if step and step > 0 else 2, dash or 0, tree.json)


def _nested(node: Node | None) -> Iterator[tuple[Node, Node]]:
    if node is None:
        return
    for child in [*(value for _, value in node.pairs), *node.items]:
        if child.block:
            if node.block:
                yield node, child
            yield from _nested(child)
