"""Manifests in the many ways in which people write YAML, and what becomes of them in a cluster."""

from __future__ import annotations

import copy
import random
from typing import Any

from opslib.source.yamlwrite import Layout, inline, key_text, literal

TEXTS = [
    "info", "2s", "yes", "1", "0644", "a b", "x: y", "#no", "it's", 'say "hi"', "", "*", "v1.2.3",
    "line1\nline2\n", "l1\n\n  l2", "http://host:80/p", "-x", "--flag=1", "grün", "tab\there",
    "null", "[x]", "{{ .V }}", "a, b", "2027-03-31", "12:30:45", "1e3", "!x", "&y", "%z", "a\n\n\n",
]  # fmt: skip
KEYS = [
    "app", "tier", "app.kubernetes.io/name", "8080", "yes", "odd key", "example.com/a.b", "#k", "ü",
    "LOG_LEVEL", "config.yaml", "a:b", "-k",
]  # fmt: skip
_LAYOUT = Layout()


class Maker:
    """Makes one file of manifests, in a style that its seed decides on."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311  # dice of a test
        self.comments = 0
        self.newline = self.dice.choice(["\n", "\n", "\n", "\r\n"])
        self.dash = self.dice.choice([0, 2])
        self.end = self.dice.choice([self.newline, self.newline, ""])

    def file(self) -> tuple[list[dict[str, Any]], str]:
        """Return the manifests and the text of a file."""
        found = [self._manifest(n) for n in range(self.dice.randint(1, 3))]
        parts = [self.newline.join(self._block(one, 0)) for one in found]
        lead = self.dice.choice(["", f"# of the team{self.newline}", f"---{self.newline}"])
        between = f"{self.newline}---{self.dice.choice(['', '  # next'])}{self.newline}"
        return found, lead + between.join(parts) + self.end

    def change(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return the object after somebody was at it: one or two edits below its identity."""
        live = copy.deepcopy(manifest)
        for _ in range(self.dice.randint(1, 2)):
            top = self.dice.choice([key for key in live if key not in {"apiVersion", "kind"}])
            if top == "metadata":
                name = self.dice.choice(["labels", "annotations"])
                live[top][name] = self._edited(live[top].get(name, {}), texts=True) or {"a": "b"}
            else:
                live[top] = self._edited(live[top], texts=top == "data")
        return live

    # -- values

    def _manifest(self, number: int) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": f"one-{number}"}
        if self.dice.random() < 0.6:
            metadata["namespace"] = "production"
        for name in ("labels", "annotations"):
            if self.dice.random() < 0.6:
                metadata[name] = self._texts()
        if self.dice.random() < 0.4:
            head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            return {**head, "data": self._texts() or {"a": "b"}}
        head = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": metadata}
        return {**head, "spec": {key: self._value(0) for key in self._keys(1, 6)}}

    def _keys(self, least: int, most: int) -> list[str]:
        return self.dice.sample(KEYS, self.dice.randint(least, most))

    def _texts(self) -> dict[str, Any]:
        return {key: self.dice.choice(TEXTS) for key in self._keys(1, 4)}

    def _scalar(self) -> Any:
        other = [self.dice.randint(-5, 70000), True, False, 1.5]
        return self.dice.choice([self.dice.choice(TEXTS), self.dice.choice(TEXTS), *other])

    def _value(self, depth: int) -> Any:
        kind = self.dice.random()
        if depth > 3 or kind < 0.4:
            return self._scalar()
        if kind < 0.65:
            return {key: self._value(depth + 1) for key in self._keys(0, 4)}
        if kind < 0.8:
            return [self._scalar() for _ in range(self.dice.randint(0, 4))]
        names = self.dice.sample(["x", "y", "z", "web", "app"], self.dice.randint(0, 4))
        return [{"name": n, **{k: self._value(depth + 2) for k in self._keys(0, 2)}} for n in names]

    def _edited(self, value: Any, *, texts: bool = False) -> Any:
        if isinstance(value, dict):
            return self._edited_mapping(value, texts=texts)
        if isinstance(value, list):
            return self._edited_list(value)
        return self.dice.choice(TEXTS) if texts or self.dice.random() < 0.5 else self._scalar()

    def _edited_mapping(self, value: dict[str, Any], *, texts: bool) -> dict[str, Any]:
        changed, kind = dict(value), self.dice.random()
        keys = [key for key in value if key != "name"]
        if keys and kind < 0.55:
            key = self.dice.choice(keys)
            changed[key] = self._edited(value[key], texts=texts)
        elif keys and kind < 0.75:
            del changed[self.dice.choice(keys)]
        else:
            new = self.dice.choice(TEXTS) if texts else self._value(2)
            changed[self.dice.choice([k for k in KEYS if k not in value])] = new
        return changed

    def _edited_list(self, value: list[Any]) -> list[Any]:
        changed, kind = list(value), self.dice.random()
        if changed and kind < 0.35:
            number = self.dice.randrange(len(changed))
            changed[number] = self._edited(changed[number])
        elif changed and kind < 0.6:
            del changed[self.dice.randrange(len(changed))]
        elif kind < 0.7:
            self.dice.shuffle(changed)
        else:
            named = bool(changed) and isinstance(changed[0], dict)
            names = {one["name"] for one in changed} if named else set()
            new = {"name": self.dice.choice(["new", "other"]), "LOG_LEVEL": "info"}
            if not named or new["name"] not in names:
                changed.insert(self.dice.randint(0, len(changed)), new if named else self._scalar())
        return changed

    # -- text

    def _comment(self) -> str:
        self.comments += 1
        return f'# c{self.comments}: it\'s "so"'

    def _tail(self, share: float = 0.2) -> str:
        return "  " + self._comment() if self.dice.random() < share else ""

    def _block(self, value: Any, column: int) -> list[str]:
        lines: list[str] = []
        for part in value.items() if isinstance(value, dict) else value:
            if self.dice.random() < 0.2:
                lines.append(" " * column + self._comment())
            elif self.dice.random() < 0.05:
                lines.append("")
            if isinstance(value, dict):
                key = key_text(part[0], layout=_LAYOUT, quote=self.dice.choice(["", "", '"']))
                lines += self._after(" " * column + key + ":", part[1], column, item=False)
            else:
                lines += self._item(part, column)
        return lines

    def _item(self, value: Any, column: int) -> list[str]:
        dash = " " * column + "-"
        if not isinstance(value, dict | list) or not value or self.dice.random() < 0.2:
            return self._after(dash, value, column, item=True)
        lines = self._block(value, column + 2)
        if lines[0].strip()[:1] in {"", "#"}:
            return [dash, *lines]
        return [f"{dash} {lines[0][column + 2 :]}", *lines[1:]]

    def _after(self, head: str, value: Any, column: int, *, item: bool) -> list[str]:
        if isinstance(value, dict | list) and value and self.dice.random() < 0.8:
            deeper = 2 if item or isinstance(value, dict) else self.dash
            return [head + self._tail(), *self._block(value, column + deeper)]
        if isinstance(value, str) and "\n" in value and self.dice.random() < 0.8:
            block = literal(value, column + 2, column)
            if block:
                return [f"{head} {block[0]}{self._tail(0.1)}", *block[1]]
        quote = self.dice.choice(["", "", '"', "'"])
        flow = isinstance(value, dict | list)
        text = inline(value, layout=_LAYOUT, quote=quote, flow=flow)
        return [f"{head} {text}{self._tail()}"]
