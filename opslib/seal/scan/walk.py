"""Walks a document's tree and judges each value by what it is called and what holds it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

from opslib.seal.scan import blanks, coded, judge, looks, shapes, verified
from opslib.seal.scan.names import Telling, snake_case, telling
from opslib.seal.scan.sink import Place, Sink, joined
from opslib.seal.scan.tree import Node

MOST_VISITS = 2_000_000
"""Values of one document, aliases followed."""
_VALUE_KEYS = frozenset(
    """value values default plain plaintext plain_text text string content raw _ $ #text literal
    defaultValue default_value""".split()
)
_HOLDERS = re.compile(
    r"(?:^|_)(?:secrets|passwords|tokens|credentials|creds|api_?keys|access_?keys)$"
)
_NAMES = ("name", "key", "Key", "Name", "ParameterKey", "variable", "env", "OptionName", "id")
_TELLS = frozenset({"auth", "sensitive", "instances", "encoding", "secretGenerator"})
_VALUES = ("value", "Value", "ParameterValue", "val", "default", "defaultValue")
_REFERS = re.compile(
    r"(?:Cluster)?(?:ExternalSecret|PushSecret)|Vault(?:Static|Dynamic|PKI)Secret|SecretProviderClass"
)
_REFER_KEYS = frozenset(
    {"secretKey", "key", "property", "objectName", "objectAlias", "name", "secret"}
)
_TERRAFORM = {
    "random_password": {"result", "bcrypt_hash"},
    "tls_private_key": {"private_key_pem", "private_key_openssh", "private_key_pem_pkcs8"},
    "aws_iam_access_key": {"secret", "ses_smtp_password_v4"},
    "kubernetes_secret": {"data", "string_data", "binary_data"},
    "kubernetes_secret_v1": {"data", "string_data", "binary_data"},
}


_WORTH = re.compile(r"[=:]|\s-|[A-Za-z0-9+/_-]{16}|(?i:identified|machine|echo|htpasswd)|\n")

_DIGEST = re.compile(r"(?:[\w./:-]+@)?(?:sha256:)?[0-9a-f]{32,128}")


class TooLarge(Exception):
    """A document has more values than are looked at; it stays inside this package."""


class Walk:
    """The walk over the documents of one text; ``embed`` reads a text within."""

    def __init__(self, sink: Sink, place: Place, embed: Callable[[str, Place], None]) -> None:
        self.sink = sink
        self.place = place
        self.embed = embed
        self.mac = False
        self.refers = False
        self.visits = 0

    def document(self, root: Node) -> None:
        """Judge a whole document."""
        self.mac = verified.has_mac(root)
        self.refers = bool(_REFERS.fullmatch(root.word("kind")))
        self._visit(root, self.place.pointer, "", Telling.NOTHING)

    def _visit(self, node: Node, pointer: str, name: str, tell: Telling, kind: str = "") -> None:
        self.visits += 1
        if self.visits > MOST_VISITS:
            raise TooLarge
        if node.form == "map":
            self._mapping(node, pointer, name, tell, kind)
        elif node.form == "list":
            self._list(node, pointer, name, tell, kind)
        else:
            self._text(node, pointer, name, tell)

    # -- mappings

    def _mapping(self, node: Node, pointer: str, name: str, tell: Telling, kind: str) -> None:
        held = node.held
        kind = node.word("kind") if "kind" in held else kind
        done = self._special(node, held, pointer, kind)
        pair = self._pair(held, pointer)
        holder = bool(name) and _holds(name)
        item_kind = kind.removesuffix("List") if kind.endswith("List") and kind != "List" else ""
        for key, value in node.pairs:
            word = key.text
            if word in done or (value is pair):
                continue
            if len(word) > 15:
                self._shapes(word, key.line, pointer, "")
            here = joined(pointer, word)
            if self.refers and word in _REFER_KEYS and value.form == "text":
                self._text(value, here, "", Telling.NOTHING)
                continue
            inner = telling(word)
            if not inner and tell and (word in _VALUE_KEYS or (value.form == "text" and holder)):
                inner = tell if word in _VALUE_KEYS else Telling.COMPOUND
            self._visit(value, here, word, inner, item_kind if word == "items" else "")

    def _special(self, node: Node, held: dict[str, Node], pointer: str, kind: str) -> set[str]:
        """Judge what the form of a mapping says of its values; return the keys that are done."""
        if kind == "Secret":
            return self._secret(node, pointer)
        if kind == "SealedSecret":
            return self._sealed(node, pointer)
        if "kty" in held:
            return self._jwk(node, pointer)
        done: set[str] = set()
        if not _TELLS & held.keys():
            return done
        auth = held.get("auth")
        if auth is not None and auth.form == "text" and shapes.basic(auth.text):
            self._add("basic-auth", auth, joined(pointer, "auth"), "registry login")
            done.add("auth")
        if node.word("sensitive") == "true" and (value := node.get("value")) is not None:
            self._all(value, joined(pointer, "value"))
            done.add("value")
        if "instances" in held:
            self._state(node, pointer)
        if "encoding" in held and "content" in held:
            self._file(node, pointer)
        self._generator(node, pointer)
        return done

    def _secret(self, node: Node, pointer: str) -> set[str]:
        done = set()
        for word, held in node.pairs:
            field = word.text
            if field not in {"data", "stringData"}:
                continue
            done.add(field)
            here = joined(pointer, field)
            if held.form == "text":
                self._text(held, here, field, Telling.NOTHING)
            for key, value in _entries(held):
                self._entry(key.text, value, joined(here, key.text), encoded=field == "data")
        return done

    def _entry(self, key: str, value: Node, pointer: str, *, encoded: bool) -> None:
        """Judge one entry of a Secret."""
        if value.form != "text":
            self._visit(value, pointer, key, telling(key))
            return
        text = value.text
        if value.tag and value.tag != "!binary":
            return
        if verified.claims(text):
            if not (self.mac and verified.encrypted(text)):
                self._add("unverified-encryption", value, pointer)
            return
        if not judge.in_secret(key, text, encoded=encoded):
            if not blanks.blank(text):
                self._content(value, pointer, key)
            return
        if blanks.filled_in(text) and not any(True for _ in blanks.defaults(text)):
            self._content(value, pointer, key)
            return
        self._add("secret-value", value, pointer)

    def _sealed(self, node: Node, pointer: str) -> set[str]:
        spec = node.get("spec")
        held = spec.get("encryptedData") if spec is not None and spec.form == "map" else None
        if held is None or spec is None:
            return set()
        here = joined(joined(pointer, "spec"), "encryptedData")
        for key, value in _entries(held):
            text = value.text.strip()
            if value.form != "text" or not text or blanks.blank(text) or verified.sealed(text):
                continue
            self._add("unsealed-value", value, joined(here, key.text))
        spec.pairs = [pair for pair in spec.pairs if pair[0].text != "encryptedData"]
        return set()

    def _jwk(self, node: Node, pointer: str) -> set[str]:
        done = {"n", "e", "x", "y", "kid", "x5c", "x5t", "use", "alg"}
        for name in ("d", "k"):
            value = node.get(name)
            if (
                value is not None
                and value.form == "text"
                and len(value.text) >= 16
                and not blanks.blank(value.text)
            ):
                self._add("private-key", value, joined(pointer, name), "JSON Web Key")
                done |= {"d", "k", "p", "q", "dp", "dq", "qi", "oth"}
        return done

    def _state(self, node: Node, pointer: str) -> None:
        """Judge what Terraform's state marks as sensitive, by itself or by the resource's type."""
        for number, instance in enumerate(_items(node.get("instances"))):
            here = joined(joined(pointer, "instances"), str(number))
            self._attributes(instance, here, _TERRAFORM.get(node.word("type"), set()))

    def _attributes(self, instance: Node, pointer: str, names: set[str]) -> None:
        held = instance.get("attributes")
        if held is None:
            return
        marked = {
            step.word("value")
            for path in _items(instance.get("sensitive_attributes"))
            for step in (_items(path) or [path])[:1]
            if step.form == "map"
        }
        for key, value in _entries(held):
            if key.text in marked | names:
                self._all(value, joined(joined(pointer, "attributes"), key.text))

    def _all(self, node: Node, pointer: str) -> None:
        """Take every text below a node for a secret that is none by its form."""
        self.visits += 1
        if self.visits > MOST_VISITS:
            raise TooLarge
        for key, value in node.pairs:
            self._all(value, joined(pointer, key.text))
        for number, value in enumerate(node.items):
            self._all(value, joined(pointer, str(number)))
        text = node.text.strip()
        if (
            node.form == "text"
            and len(text) > 2
            and not blanks.blank(text)
            and not judge.public(text)
        ):
            self._add("terraform-value", node, pointer)

    def _file(self, node: Node, pointer: str) -> None:
        """Read a file that cloud-init writes: base64, with or without gzip."""
        content = node.get("content")
        data = coded.decode(content.text) if content is not None else None
        if content is None or data is None:
            return
        text = coded.readable(coded.inflate(data) or data)
        if text:
            name = node.word("path").rpartition("/")[2]
            self.embed(text, self._place(content, joined(pointer, "content"), name, decoded=True))

    def _generator(self, node: Node, pointer: str) -> None:
        """Judge the literals of kustomize's secretGenerator."""
        for number, one in enumerate(_items(node.get("secretGenerator"))):
            here = joined(joined(pointer, "secretGenerator"), str(number))
            for at, literal in enumerate(_items(one.get("literals"))):
                key, mark, value = literal.text.partition("=")
                if mark and judge.in_secret(key, value.strip("\"'"), encoded=False):
                    place = joined(joined(joined(here, "literals"), str(at)), key)
                    self._add("secret-value", literal, place)

    def _pair(self, held: dict[str, Node], pointer: str) -> Node | None:
        """Judge {name: DB_PASSWORD, value: …}; return the value where it is judged here."""
        value = next((held[one] for one in _VALUES if one in held), None)
        if value is None or value.form != "text" or len(held) > 12 or value.tag:
            return None
        name = next((held[one].text for one in _NAMES if one in held), "")
        if not name and "op" in held and "path" in held:
            name = held["path"].text.rpartition("/")[2]
        tell = telling(name)
        if tell and self._credential(value, value.text, tell):
            self._add("credential", value, joined(joined(pointer, name), "value"))
            return value
        return None

    # -- lists and texts

    def _list(self, node: Node, pointer: str, name: str, tell: Telling, kind: str) -> None:
        before = ""
        for number, item in enumerate(node.items):
            here = joined(pointer, str(number))
            if item.form == "text" and before.startswith("-") and not item.text.startswith("-"):
                option = telling(before.lstrip("-"))
                if option and "=" not in before and judge.serious(option, item.text):
                    self._add("credential", item, here)
                    before = ""
                    continue
            before = item.text if item.form == "text" else ""
            self._visit(
                item, here, name, tell if item.form == "text" and name else Telling.NOTHING, kind
            )

    def _text(self, node: Node, pointer: str, name: str, tell: Telling) -> None:
        text = node.text
        if len(text) < 3:
            return
        if verified.claims(text):
            if not (self.mac and verified.encrypted(text)) and not pointer.startswith("/sops/"):
                self._add("unverified-encryption", node, pointer)
            return
        if tell and not node.tag and self._credential(node, text, tell):
            self._add("credential", node, pointer)
            return
        self._content(node, pointer, name)

    def _credential(self, node: Node, text: str, tell: Telling) -> bool:
        if "\n" in text.strip() or not judge.serious(tell, text):
            return False
        if node.plain and looks.call(text):
            return False
        named = re.fullmatch(r"[A-Za-z]+(?:[_.-][A-Za-z]+)+|[a-z]+(?:[A-Z][a-z]+)+", text)
        if named and telling(text):
            return False
        return not (self.place.translated and text.isalpha())

    def _content(self, node: Node, pointer: str, name: str) -> None:
        text = node.text
        if len(text) >= 8 and _WORTH.search(text) and not _DIGEST.fullmatch(text):
            self.embed(text, self._place(node, pointer, name))

    def _shapes(self, text: str, line: int, pointer: str, name: str) -> None:
        for one in shapes.shapes(text):
            self.sink.add(
                one.kind, self.place.at(line), joined(pointer, name or "(…)"), one.value, one.detail
            )

    def _place(self, node: Node, pointer: str, name: str, *, decoded: bool = False) -> Place:
        made = self.place.within("", node.line, block=node.block, coded=decoded)
        return Place(
            name, pointer, made.line, made.flat, (), made.depth, made.coded, made.translated
        )

    def _add(self, kind: str, node: Node, pointer: str, detail: str = "") -> None:
        self.sink.add(kind, self.place.at(node.line), pointer, node.text.strip(), detail)


@functools.lru_cache(maxsize=16_384)
def _holds(name: str) -> bool:
    """Tell a mapping whose values are secrets by what it is called: passwords, apiKeys."""
    return _HOLDERS.search(snake_case(name)) is not None


def _entries(node: Node) -> Iterator[tuple[Node, Node]]:
    """Yield the pairs of a mapping, merge keys followed."""
    for key, value in node.pairs:
        if key.text == "<<" and key.plain:
            for one in value.items or [value]:
                yield from one.pairs
        else:
            yield key, value


def _items(node: Node | None) -> list[Node]:
    return node.items if node is not None and node.form == "list" else []
