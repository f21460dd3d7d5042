"""Twenty planted secrets, and how they are looked for: in files, in names, in every encoding."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from urllib.parse import quote

_ALPHABETS = ["q7Kd", "Zr4m", "x9Wb", "Hn2t", "v6Yc", "J3ps", "Lg8f", "w5Ra", "Bk1e", "u0Tz"]


def make() -> list[str]:
    """Return the canaries: the same in every process, of many kinds."""
    plain = ["".join(_ALPHABETS[(n * 3 + k) % 10] for k in range(4)) + f"{n:02}" for n in range(14)]
    return [
        *plain,
        "p\"q'r<s>&t\\u%v w" + "7Xz",
        "größe-ключ-秘密-8Jm",
        "first line 4Kp\nsecond line of it 9Wd\n",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ." + "Vq3Zr8Lm5Xc1Tn7Bk2Wp",
        "408172635940817263",
        "correct horse battery staple",
    ]


CANARIES = make()


def _signs(value: str) -> set[bytes]:
    """Return what gives a canary away: whole lines of it, plain and encoded."""
    found: set[bytes] = set()
    for line in [value, *(one for one in value.splitlines() if len(one) >= 16)]:
        raw = line.encode()
        texts = {
            line,
            json.dumps(line)[1:-1],
            json.dumps(json.dumps(line)[1:-1])[1:-1],
            repr(line)[1:-1],
        }
        texts |= {html.escape(line), quote(line, safe="")}
        found |= {one.encode() for one in texts}
        for shift in range(3):
            code = base64.b64encode(b"x" * shift + raw)
            inner = code[(8 * shift + 5) // 6 : 8 * (shift + len(raw)) // 6]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
        found.add(raw.hex().encode())
    return found


SIGNS = {sign: number for number, value in enumerate(CANARIES) for sign in _signs(value)}
_ANY = re.compile(b"|".join(re.escape(one) for one in sorted(SIGNS, key=len, reverse=True)))
_NOISE = re.compile(rb'(?:\\u001b|\x1b)\[[0-9;]*m|\\n",\s*"')


def found_in(data: bytes) -> set[int]:
    """Return the numbers of the canaries in some bytes, also where colours or lines cut them."""
    return {SIGNS[one] for text in (data, _NOISE.sub(b"", data)) for one in _ANY.findall(text)}


def found_below(folder: Path) -> list[str]:
    """Return every finding in a tree: names, finished files and unfinished ones."""
    findings = []
    for path in sorted(folder.rglob("*")):
        findings += [f"name of {path.name}: canary {n}" for n in found_in(path.name.encode())]
        if path.is_file():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            findings += [f"{path.name}: canary {n}" for n in found_in(data)]
    return findings
