"""The redactor: every value in every spelling, what must stay, and what a pass costs."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import secrets
import string
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from opslib.core import secrecy
from opslib.runbook.redact import Redactor
from opslib.runbook.streams import join

PROJECT = Path(__file__).parents[2]
Encode = Callable[[str], str]


def knowing(*values: str) -> Redactor:
    """Return a redactor that knows these values and nothing else."""
    registry = secrecy.Registry()
    for number, value in enumerate(values):
        registry.note(value, f"canary-{number}/password")
    return Redactor(registry)


def _b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _shifted(shift: int, *, safe: bool = False) -> Encode:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode

    def coded(value: str) -> str:
        return encode(b"x" * shift + value.encode() + b"the rest of it").decode()

    return coded


def _wrapped(width: int, end: str) -> Encode:
    def coded(value: str) -> str:
        text = _b64(b"a: " + value.encode() + b" and a longer tail of the document")
        return end.join(textwrap.wrap(text, width))

    return coded


ENCODINGS: dict[str, Encode] = {
    "plain": str,
    "json": json.dumps,
    "json utf-8": lambda v: json.dumps(v, ensure_ascii=False),
    "json in json": lambda v: json.dumps(json.dumps({"a": v})),
    "json in json in json": lambda v: json.dumps(json.dumps(json.dumps(v))),
    "repr": repr,
    "ascii": ascii,
    "html": html.escape,
    "html of json": lambda v: html.escape(json.dumps({"k": v})),
    "json of html": lambda v: json.dumps(html.escape(v)),
    "url": lambda v: quote(v, safe=""),
    "url lenient": quote,
    "form": quote_plus,
    "base64": lambda v: _b64(v.encode()),
    "base64 unpadded": lambda v: _b64(v.encode()).rstrip("="),
    "base64 urlsafe": lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    "base64 +1": _shifted(1),
    "base64 +2": _shifted(2),
    "base64 urlsafe +1": _shifted(1, safe=True),
    "base64 urlsafe +2": _shifted(2, safe=True),
    "base64 of 64": _wrapped(64, "\n"),
    "base64 of 76": _wrapped(76, "\r\n"),
    "base64 of 64 in json": lambda v: json.dumps(_wrapped(64, "\n")(v)),
    "hex": lambda v: v.encode().hex(),
    "bytes": lambda v: repr(v.encode()),
    "typed array": lambda v: json.dumps(
        {"dtype": "u1", "bdata": _b64(b"\0" * 997 + v.encode() * 2)}
    ),
}
# What a program would read back out of a text: white space of wrapped base64 does not count.
_SPACE = re.compile(r"(?:\\[nr]|\s)+")


def survives(value: str, text: str) -> bool:
    """Tell whether a value can be found in a text: as it is, or in the base64 that is there."""
    if value in text or value in html.unescape(text):
        return True
    joined = _SPACE.sub("", text).replace("-", "+").replace("_", "/")
    raw = value.encode()
    for run in re.findall(r"[A-Za-z0-9+/]{8,}", joined):
        for cut in range(4):
            piece = run[cut:]
            if raw in base64.b64decode(piece[: len(piece) // 4 * 4]):
                return True
    return False


# A value that is a piece of JSON's own structure is in every document.
_VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=8, max_size=60),
    st.text(string.ascii_letters + string.digits + "+/=_-", min_size=8, max_size=200),
    st.text(string.printable, min_size=8, max_size=40),
)


def _is_sought(value: str) -> bool:
    """Leave out what is not sought by rule, and rows of lines below four characters."""
    whole = secrecy.sought(value) and not secrecy.is_weak(value) and value == value.strip()
    return whole and max(map(len, value.splitlines())) >= 4


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(_VALUES, st.sampled_from(sorted(ENCODINGS)))
@example("p\\n\"a'<&>s\u00e9%+/w0", "json in json in json")
@example("aaaaaaab", "base64 of 64")
@example("12345678", "json")
@example("q8~>>>???~q8", "base64 urlsafe")
def test_no_value_survives_any_encoding(value: str, name: str) -> None:
    """A value of 8 or more characters cannot be found in a text that holds it encoded."""
    assume(_is_sought(value))
    text = ENCODINGS[name](value)
    clean = knowing(value).text(f"before: {text} after")
    assert ENCODINGS[name](value) not in clean
    assert not survives(value, clean), clean
    assert clean.startswith("before: ")
    assert clean.endswith(" after")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(_VALUES, st.sampled_from(sorted(ENCODINGS)), st.integers(1, 3))
def test_no_value_survives_in_a_notebook(value: str, name: str, depth: int) -> None:
    """Also as text, key, list of lines and nested JSON in a notebook's file, which stays JSON."""
    assume(_is_sought(value))
    text = ENCODINGS[name](value)
    for _ in range(depth - 1):
        text = json.dumps({"text": text})
    document = {"cells": [{"outputs": [text], "source": text.splitlines(keepends=True), text: 1}]}
    data = json.dumps(document, indent=1, ensure_ascii=depth == 1).encode("utf-8")
    clean = knowing(value).json_data(data)
    (cell,) = json.loads(clean)["cells"]
    assert not survives(value, cell["outputs"][0])
    assert value not in "".join(cell["source"])
    assert not any(value in key for key in cell)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(_VALUES, st.data())
def test_no_value_survives_in_pieces(value: str, data: st.DataObject) -> None:
    """Cut over chunks of a stream, or by a terminal's colours anywhere, it is found."""
    assume(_is_sought(value) and value.isprintable())
    at = data.draw(st.integers(1, len(value) - 1))
    pieces = [
        {"output_type": "stream", "name": "stdout", "text": one} for one in (value[:at], value[at:])
    ]
    redactor = knowing(value)
    assert value not in redactor.text(join(pieces)[0]["text"])
    coloured = "".join(f"\x1b[38;5;{n}m{letter}\x1b[0m" for n, letter in enumerate(value))
    for text in (coloured, json.dumps(coloured)):
        bare = re.sub(r"(?:\x1b|\\u001b)\[[0-9;]*m", "", redactor.text(text))
        assert value not in bare
        assert json.dumps(value)[1:-1] not in bare


def test_base64_broken_anywhere_is_found() -> None:
    """A line of base64 may end at any place of a value, plain and in a notebook's list of lines."""
    value = "kR7#pQ2x!vN9-zT4m"
    text = _b64(b"user: " + value.encode() + b" and more")
    redactor = knowing(value)
    for at in range(1, len(text)):
        for broken in (f"{text[:at]}\n{text[at:]}", f"{text[:at]}\r\n{text[at:]}"):
            assert not survives(value, redactor.text(broken)), at
            lines = json.dumps(broken.splitlines(keepends=True), indent=1)
            assert not survives(value, "".join(json.loads(redactor.text(lines)))), at


def test_json_stays_json_whatever_the_value() -> None:
    """Values that look like JSON: digits as a number, and a piece of the structure itself."""
    document = {
        "n": 4081726359,
        "s": "x 4081726359 y",
        "deep": [{"a": "b", "c": "d"}],
        "é": "\ud800",
    }
    data = json.dumps(document, indent=1).encode()
    clean = json.loads(knowing("4081726359").json_data(data))
    assert "4081726359" not in json.dumps(clean)
    assert clean["deep"] == document["deep"]
    odd = knowing('"a": "b",\n    "c": "d"')
    assert json.loads(odd.json_data(data)) == document
    lines = b'{"seq": 1, "n": 4081726359}\n{"seq": 2}\n'
    assert [
        json.loads(one)["seq"] for one in knowing("4081726359").json_data(lines).splitlines()
    ] == [1, 2]


LOOKS = {
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ3YXRjaGVyIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW",
    "github": "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF3hI6",
    "gitlab": "glpat-" + "aB3dE6gH9jK2mN5pQ8sT",
    "slack": "xoxb-" + "302817465927-aB3dE6gH9jK2mN5pQ8sT",
    "vault": "hvs." + "CAESIJ2Bd8Qm3kVvT7xPz5LwYr",
    "aws": "AKIA" + "Z7Q2M5T3R6W4P2X7",
    "gcp": "AIza" + "SyD3fG6hJ9kL2zX5cV8bN1mQ4wE7rT0yU3i",
}


@pytest.mark.parametrize("name", sorted(LOOKS))
@pytest.mark.parametrize("around", ["{}", "token: {}\n", '{{"a": "{}"}}', "<td>{}</td>", "x={}&y"])
def test_tokens_are_known_by_their_look(name: str, around: str) -> None:
    """Tokens of issuers are masked wherever they stand, although nobody noted them."""
    clean = knowing().text(around.format(LOOKS[name]))
    assert LOOKS[name] not in clean
    assert "secret:" in clean


ASSIGNED = [
    "password=hT7-kq2Lx9", "db_password: 'hT7-kq2Lx9'", '"dbPassword": "hT7-kq2Lx9"',
    "PGPASSWORD=hT7-kq2Lx9", "token: hT7kq2Lx9pWz4", 'api_key = "hT7kq2Lx9pWz4"',
    "Authorization: Bearer hT7kq2Lx9pWz4vB8nM1c", "Authorization: Basic b3BzOmhUNy1rcTJMeDk=",
    "https://ops:hT7-kq2Lx9@git.example.net/a.git", "<tr><th>password</th><td>hT7-kq2Lx9</td></tr>",
    '{\\"password\\": \\"hT7-kq2Lx9\\"}',
    "AccountKey=hT7kq2Lx9pWz4vB8nM1chT7kq2Lx9pWz4vB8nM1chT7kq2Lx9pWz==",
    "client-key-data: " + _b64(b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7"),
]  # fmt: skip


@pytest.mark.parametrize("text", ASSIGNED)
def test_assignments_are_known_by_their_name(text: str) -> None:
    """A random value under a name that says "secret" is masked, the name stays."""
    clean = knowing().text(f"a\n{text}\nb")
    assert "secret:" in clean
    assert "hT7" not in clean
    assert "b3BzOmhU" not in clean
    assert "MIIEpA" not in clean


def test_private_keys_are_masked_whole(tmp_path: Path) -> None:
    """A PEM key goes in a text, in JSON, as a list of lines, and cut off in the middle."""
    body = "\n".join(textwrap.wrap(_b64(random.Random(3).randbytes(600)), 64))  # noqa: S311  # a key's look
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    lines = json.dumps({"text": key.splitlines(keepends=True)}, indent=1)
    for text in (key, json.dumps(key), json.dumps(json.dumps(key)), lines, key[:300]):
        clean = knowing().text(text)
        assert not any(line in clean for line in body.splitlines())
        assert "BEGIN PRIVATE KEY" in clean
    assert json.loads(knowing().text(lines))


def _corpus() -> Iterator[tuple[str, str]]:
    """Yield texts that hold no secret: docs, code, notebooks, manifests, ids, certificates."""
    for pattern in ("docs/*.md", "*.md", "notebooks/*.ipynb", "opslib/**/*.py",
                    "examples/**/*.yaml", "requirements.lock",
                    "opslib/**/*.css", "opslib/**/*.json"):  # fmt: skip
        for path in sorted(PROJECT.glob(pattern)):
            yield str(path.relative_to(PROJECT)), path.read_text(encoding="utf-8")
    from opslib.view.assets import plotly_js

    yield "plotly.js", plotly_js()
    dice = random.Random(11)  # noqa: S311  # a corpus, not secrets
    yield "hashes", "\n".join(dice.randbytes(n).hex() for n in (20, 32, 16) for _ in range(300))
    yield (
        "digests",
        "\n".join(f"image: r.io/a/b@sha256:{dice.randbytes(32).hex()}" for _ in range(300)),
    )
    sealed = "Ag" + _b64(dice.randbytes(520))
    yield "sealed", f"spec:\n  encryptedData:\n    password: {sealed}\n    token: {sealed}\n"
    certificate = "\n".join(textwrap.wrap(_b64(dice.randbytes(800)), 64))
    yield "certificate", f"-----BEGIN CERTIFICATE-----\n{certificate}\n-----END CERTIFICATE-----\n"
    yield (
        "references",
        (
            "secretName: payments-tls\nsecretKeyRef: {name: db-credentials, key: password}\n"
            "password: ${DB_PASSWORD}\ntoken: <your token>\npassword: string\n"
            "secret: payments-db-7f9d8c6b5\n"
            "password=changeme\nDB_PASSWORD_FILE=/run/secrets/db-password\ntoken=env:TOKEN\n"
            "password: null\n"
            "kubernetes.io/service-account-token\n"
            "PASSWORD: vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==\n"
            "password: <masked 0f3a9c1d2e>\ntokenExpirationSeconds: 3607\nauthorization.k8s.io/v1\n"
            "https://user:password@host/ V1Secret: V1SecretProjection secret: V1beta1SecretList\n"
            "git@github.com:org/repo.git ssh://git@host:22/x https://host:8443/a@b\n"
        ),
    )


def test_a_clean_corpus_stays_as_it_is() -> None:
    """No mask in texts that hold no secret, with 20 values known."""
    redactor = knowing(*(secrets.token_urlsafe(18) for _ in range(20)))
    size = count = 0
    for name, text in _corpus():
        clean = redactor.text(text)
        masks = re.findall(r".{0,40}\u2039secret[^\u203a]*\u203a", clean)
        assert not masks, (name, masks[:5])
        count, size = count + 1, size + len(text)
    print(f"{count} clean texts, {size / 1e6:.1f} MB: 0 masks")


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=400), st.uuids().map(str), st.dates().map(str)))
def test_generated_texts_stay_as_they_are(text: str) -> None:
    """Nothing is masked in texts that hold none of the values, whatever they are."""
    assert knowing("kR7#pQ2x!vN9").text(text) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("postgres", "postgres runs"), ("true", "true"), ("abc", "abcdef"), ("12345", "12345"),
        ("metadata", '{"metadata": 1}'), ("aaaaaaaaaa", "aaaaaaaaaaaa"),
        ("hunter2", "hunter22 xhunter2"),
    ],
)  # fmt: skip
def test_short_and_common_values_blacken_nothing(value: str, text: str) -> None:
    """What texts hold by chance is left, and 6 or 7 characters are a secret as a word only."""
    assert knowing(value).text(text) == text


def test_a_short_value_is_masked_as_a_word() -> None:
    """Seven characters between other signs are the secret."""
    for text in ("is hunter2.", '"hunter2"', "a=hunter2\\nb"):
        assert "hunter2" not in knowing("hunter2").text(text)


def test_names_under_harmless_keys_stay() -> None:
    """The user, host or database in a Secret is no secret; its password is."""
    registry = secrecy.Registry()
    for key, value in {
        "username": "payments",
        "host": "db.payments.svc:5432",
        "password": "kR7#pQ2x!vN9",
    }.items():
        registry.note(value, f"db/{key}")
    assert [one.label for one in registry.known()] == ["db/password"]


def test_equal_values_read_equal_and_tell_nothing() -> None:
    """One value has one mask, two values have two; a mask is made without the value."""
    one, other = "kR7#pQ2x!vN9", "kR7#pQ2x!vN8"
    text = knowing(one, other).text(f"{one} {other} {json.dumps(one)} {_b64(one.encode())}")
    masks = re.findall(r"\u2039secret:canary-\d/password#(\d)\u203a", text)
    assert masks == ["1", "2", "1", "1"]


def test_typed_arrays_can_still_be_read() -> None:
    """Inside of longer base64 the bytes are overwritten, and what is around them stays."""
    value = "kR7#pQ2x!vN9zzTop"
    raw = bytes(range(256)) * 4 + value.encode() + bytes(range(256)) * 4
    clean = base64.b64decode(knowing(value).text(_b64(raw)))
    assert len(clean) == len(raw)
    assert value.encode() not in clean
    assert clean[:1020] == raw[:1020]
    assert clean[-1020:] == raw[-1020:]


def test_parts_of_a_secret_are_secrets() -> None:
    """The password of a URL, the fields of docker's JSON, a line of a key."""
    auth = {
        "auths": {
            "r.io": {"username": "ops", "password": "kR7pQ2xvN9", "auth": _b64(b"ops:kR7pQ2xvN9")}
        }
    }
    url = "postgres://pay:wE4rT6yU8i@db:5432/pay"
    redactor = knowing(json.dumps(auth), url)
    for text in ("kR7pQ2xvN9", "wE4rT6yU8i", f"x {_b64(b'ops:kR7pQ2xvN9')} y"):
        assert text not in redactor.text(text)


def test_what_a_cell_has_begun_to_print_is_held_back() -> None:
    """At a save in the middle of a value, its beginning waits for the rest."""
    redactor = knowing("kR7#pQ2x!vN9")
    assert redactor.begun("line\nkR7#pQ2x!v") == "line\n"
    assert redactor.begun("line\nkR7#pQ2x!vN9") == "line\nkR7#pQ2x!vN9"
    assert redactor.begun("line") == "line"


def _document(size: int) -> bytes:
    """Return the text of a notebook: log lines, a table, figures' arrays."""
    dice = random.Random(7)  # noqa: S311  # contents, not secrets
    outputs: list[Any] = []
    while sum(map(len, outputs)) < size:
        outputs.append(
            "".join(
                f"2026-11-25T10:{n:02}:00Z pod/api-{n:06x} ready {dice.random()}\n"
                for n in range(60)
            )
        )
        outputs.append(_b64(dice.randbytes(4000)))
        outputs.append(
            "".join(f"<tr><td>{n}</td><td>payments/api-{n}</td></tr>" for n in range(80))
        )
    return json.dumps({"cells": outputs}, indent=1).encode()


def test_a_pass_costs_at_most_5_ms_per_mb() -> None:
    """With 20 values known, the best of the passes over 5 MB, by processor time."""
    data = _document(5_000_000)
    redactor = knowing(*(secrets.token_urlsafe(18) for _ in range(20)))
    redactor.data(data)
    cost, end = 1e9, time.monotonic() + 30
    while time.monotonic() < end and cost > 3.0:  # a quiet moment is waited for
        begun = time.process_time()
        redactor.data(data)
        cost = min(cost, (time.process_time() - begun) * 1000 / (len(data) / 1e6))
    print(f"one pass: {cost:.2f} ms per MB ({len(data) / 1e6:.1f} MB, 20 values)")
    assert cost <= 5.0
