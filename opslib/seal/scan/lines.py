"""Texts that are no documents, read by their lines: programs, scripts, settings, prose, commands.

What a name says is weighed against what the text is: in a program only what stands in quotes is a
value; in settings the rest of the line is; in prose only what looks like a secret itself.
"""

from __future__ import annotations

import bisect
import enum
import re
from collections.abc import Iterator
from typing import NamedTuple

from opslib.seal.scan import blanks, judge, looks
from opslib.seal.scan.names import Telling, telling


class Dialect(enum.Enum):
    """How values stand in a text."""

    CODE = "code"
    SETTINGS = "settings"
    PROSE = "prose"


class Hit(NamedTuple):
    """One value of a text: where it starts, its kind, its name, itself, what it is."""

    start: int
    kind: str
    name: str
    value: str
    detail: str = ""


_NAME = r"[A-Za-z_][A-Za-z0-9_.\-]{0,80}"
_HINT = re.compile(
    r"pass|pwd|pswd|psk|pw\b|_pw|secret|token|key|cred|auth|cookie|otp|sas|private|dsn|conn|bearer|phrase"
    r"|mnemonic|kennwort|code",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    rf"(?<![A-Za-z0-9_.\-])(?P<name>{_NAME})(?P<after>[\"'])?\s{{0,20}}\]?\)?\s{{0,20}}"
    r"(?P<op>(?:string|str|String|\*string|char\s?\*?|const|text|auto)\s{1,4}=(?!=)|:\s{0,4}[A-Za-z][\w.\[\]|, ?]{0,40}?\s{0,20}=(?!=)|=>|:=|\?=|={1,3}|!==?|:|,)\s{0,20}"
    r"(?:@|[bBuUrRfF]{1,2}(?=[\"'])|\[\]byte\(|new\s\w{1,40}\(|(?P<call>[A-Za-z_][\w.]{0,40})\()?"
    r"(?P<open>\"{3}|'{3}|[\"'`])(?P<value>(?:\\.|(?!(?P=open))[^\\\n]){1,2000})(?P=open)"
)
_ROW = re.compile(
    rf"^[ \t]*(?:[-+*>#;|][ \t]{{0,4}}|//[ \t]*|REM[ \t]+)?(?:(?:export|set|setx|setenv|ENV|ARG|env|local|readonly"
    rf"|declare -x|-e|--env|define|SetEnv)[ \t]+)?[\"']?(?P<name>{_NAME})[\"']?[ \t]*(?P<op>:=|\?=|\+=|=>|=|:|[ \t](?=\S))"
    r"[ \t]*(?P<value>[^\n]{1,4000})$",
    re.MULTILINE,
)
_PAIR = re.compile(
    rf"(?<![\w.$\-/])(?P<name>{_NAME})=(?P<value>[^\s;&,\"'`)\]}}<>|=]{{3,2000}}=?=?)(?![(\[])"
)
_OPTION = re.compile(
    rf"(?<![\w-])--?(?P<name>{_NAME})(?:[ =][ \t]*(?P<open>[\"'])?(?P<value>(?(open)[^\"'\n]{{3,500}}|[^\s\"'`,;)\]]{{3,500}}))"
    r"|[\"'],\s*[\"'](?P<next>[^\"'\n]{3,500})[\"'])"
)
_ASKS = re.compile(
    r"get|env|input|prompt|fetch|read|load|look|find|query|param|conf|resolve|ask|require|option"
    r"|arg|field|label|text|translat|^_$|^t$|i18n|format|print|log|open|path|join|exec|run|call|sub|compile|match",
    re.IGNORECASE,
)
"""Calls whose first argument names what is asked for, instead of being it."""
_LOOSE = re.compile(
    rf"(?<![\w.$\-/])(?P<name>{_NAME})[\"'`*]{{0,3}}\s{{0,3}}(?:[:=]|is)\s{{0,3}}[\"'`*]{{0,3}}"
    r"(?P<value>[^\s\"'`,;)\]}<>|*]{6,500})"
)
_SIMPLE_COMMENT = re.compile(r"\s+[#;]\s.*$|\s+//\s.*$")
_COMMANDS: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    (
        "mysql",
        "-p of a MySQL client",
        re.compile(
            r"\b(?:mysql\w*|mariadb[\w-]*|xtrabackup)\b[^\n|;&]{0,300}?\s-p[\"']?(?P<value>[^\s\"'$<{][^\s\"']{2,100})"
        ),
    ),
    (
        "curl",
        "-u of curl",
        re.compile(
            r"\b(?:curl|wget|http)\b[^\n]{0,500}?\s(?:-u|--user)[ =]?[\"']?[\w.@+-]{1,80}:(?P<value>[^\s\"'`]{3,200})"
        ),
    ),
    ("sshpass", "-p of sshpass", re.compile(r"\bsshpass\s+-p\s*[\"']?(?P<value>[^\s\"']{3,200})")),
    (
        "login",
        "-p of a login",
        re.compile(
            r"\b(?:docker|podman|buildah|skopeo|helm|crane|oras|az|oc|nerdctl)\b[^\n]{0,200}?\blogin\b[^\n]{0,300}?\s-p[ =]?[\"']?(?P<value>[^\s\"']{3,200})"
        ),
    ),
    (
        "redis-cli",
        "-a of redis-cli",
        re.compile(r"\bredis-cli\b[^\n]{0,200}?\s-a\s*[\"']?(?P<value>[^\s\"']{3,200})"),
    ),
    (
        "stdin",
        "a password into standard input",
        re.compile(
            r"\becho\s+(?:-n\s+)?[\"']?(?P<value>[^\s\"'$`|]{3,200})[\"']?\s*\|[^\n]{0,200}?(?:--password-stdin|passwd\s+--stdin|\bsudo\s+-S)"
        ),
    ),
    (
        "chpasswd",
        "chpasswd",
        re.compile(
            r"[\"']?\b[a-z_][\w-]{0,31}:(?P<value>[^\s\"'|$:]{3,200})[\"']?\s*\|\s*(?:sudo\s+)?chpasswd"
        ),
    ),
    ("chpasswd", "chpasswd", re.compile(r"chpasswd\s*<<<\s*[\"']?\w+:(?P<value>[^\s\"']{3,200})")),
    (
        "htpasswd",
        "htpasswd -b",
        re.compile(
            r"\bhtpasswd\s+-\w*b\w*\s+(?:\S+\s+){1,2}?[\"']?(?P<value>[^\s\"']{3,200})[\"']?\s*$",
            re.MULTILINE,
        ),
    ),
    (
        "pass:",
        "a password of openssl",
        re.compile(r"\s-pass(?:in|out)?\s+[\"']?pass:(?P<value>[^\s\"']{3,200})"),
    ),
    (
        "--from-literal",
        "--from-literal of kubectl create secret",
        re.compile(
            r"\bsecret\s+(?:generic|tls|docker-registry)\b[^\n]{0,400}--from-literal[= ][\"']?[\w.-]+=(?P<value>[^\s\"']{3,500})"
        ),
    ),
    (
        "IDENTIFIED",
        "IDENTIFIED BY",
        re.compile(
            r"(?i:identified\s+(?:with\s+\S+\s+)?by)\s+(?:password\s+)?[\"'](?P<value>[^\"'\n]{3,200})[\"']"
        ),
    ),
    (
        "PASSWORD",
        "PASSWORD of SQL",
        re.compile(
            r"(?i:\b(?:user|role|login|group)\b[^;]{0,200}?\bpassword)\s*=?\s*N?'(?P<value>[^'\n]{3,200})'"
        ),
    ),
    (
        "machine",
        ".netrc",
        re.compile(
            r"\bmachine\s+\S+\s+(?:login\s+\S+\s+)?(?:account\s+\S+\s+)?password\s+(?P<value>\S{3,200})"
        ),
    ),
    (
        "<pass",
        "an element of XML",
        re.compile(
            r"<(?:\w+:)?(?P<tag>\w*(?i:password|passwd|passphrase|secret|token|apikey|api-key|secretkey|accesskey|privatekey))(?:\s[^<>]{0,200})?>\s*(?P<value>[^<>\s][^<>]{1,500}?)\s*</"
        ),
    ),
    (
        "<",
        "an attribute of XML",
        re.compile(
            r"<[^<>]{1,500}?\b(?i:key|name|id)=[\"'](?P<tag>[\w.:-]{1,80})[\"'][^<>]{0,300}?\b(?i:value)=[\"'](?P<value>[^\"'<>]{3,500})[\"']"
        ),
    ),
    ("npipe", "", re.compile(r"(?!)")),
)
_PGPASS = re.compile(r"^[\w.*-]+:(?:\d+|\*):[\w*-]+:[\w*-]+:(?P<value>\S{3,200})$", re.MULTILINE)
_USERPASS = re.compile(
    r"^[ \t]*[\"'-]?[ \t]*(?:root|admin|ubuntu|debian|centos|ec2-user|user|[a-z][a-z0-9_-]{1,31}):(?P<value>[^\s:#$/][^\s:]{2,200})[ \t]*$",
    re.MULTILINE,
)


class Lines:
    """The line of an offset in a text, 0-based."""

    def __init__(self, text: str) -> None:
        self._starts: list[int] | None = None
        self._text = text

    def of(self, offset: int) -> int:
        if self._starts is None:
            self._starts = [0, *(n + 1 for n, c in enumerate(self._text) if c == "\n")]
        return bisect.bisect_right(self._starts, offset) - 1


def hits(text: str, dialect: Dialect) -> Iterator[Hit]:
    """Find values that are secret by their names or by the words of a command."""
    lower = text.lower()
    if _HINT.search(text):
        yield from _quoted(text, dialect)
        if dialect is not Dialect.CODE:
            yield from _rows(text, dialect)
        if dialect is Dialect.PROSE:
            yield from _loose(text)
        yield from _pairs(text, dialect)
        yield from _options(text)
    for word, detail, form in _COMMANDS:
        if word.lower() in lower:
            for found in form.finditer(text):
                if hit := _command(found, detail):
                    yield hit


def _command(found: re.Match[str], detail: str) -> Hit | None:
    value = found["value"]
    tag = found.groupdict().get("tag")
    if tag is not None:
        if not _serious(telling(tag), value, Dialect.SETTINGS):
            return None
        return Hit(found.start("value"), "credential", tag, value)
    if len(value) < 3 or blanks.blank(value) or looks.expression(value) or value.startswith("-"):
        return None
    return Hit(found.start("value"), "command-password", "", value, detail)


def _quoted(text: str, dialect: Dialect) -> Iterator[Hit]:
    at = 0
    while found := _QUOTED.search(text, at):
        at = found.end("name")
        name, value = found["name"], found["value"]
        tell = telling(name.rstrip(".-"))
        if not tell or value.lstrip()[:1] in set(",)]};+") or value.startswith("--"):
            continue
        if _ASKS.search(found["call"] or "") or value.rstrip().endswith((":", "?")):
            continue
        op = found["op"]
        if op == "," and not (found["after"] and (looks.mixed(value) or looks.drawn(value))):
            continue
        if op in {"==", "===", "!=", "!=="} and not looks.drawn(value):
            continue
        if dialect is Dialect.CODE and names_itself(value):
            continue
        if _serious(tell, value, dialect):
            at = found.end()
            yield Hit(found.start("value"), "credential", name, value)


def names_itself(value: str) -> bool:
    """Tell the name of a field or variable, in a program, from a value."""
    named = re.fullmatch(r"[A-Za-z_][\w.:\[\]-]*", value) and telling(value)
    return bool(named) and looks.wordlike(value)


def _rows(text: str, dialect: Dialect) -> Iterator[Hit]:
    for found in _ROW.finditer(text):
        name, op = found["name"], found["op"]
        tell = telling(name)
        if not tell:
            continue
        value = _SIMPLE_COMMENT.sub("", found["value"]).strip().rstrip(",;\\").strip()
        bare = value.strip("\"'`")
        if value[:1] in "\"'`" and value[-1:] != value[:1]:
            bare = value[1:].partition(value[0])[0]
        elif _computed(value):
            continue
        if op.isspace() and not (dialect is Dialect.SETTINGS and looks.drawn(bare)):
            continue
        if dialect is Dialect.PROSE and not _in_prose(tell, bare):
            continue
        if _serious(tell, bare, dialect):
            yield Hit(found.start("value"), "credential", name, bare)


def _loose(text: str) -> Iterator[Hit]:
    """Find a name and its value in the middle of a sentence."""
    for found in _LOOSE.finditer(text):
        tell = telling(found["name"])
        value = found["value"].rstrip(".:")
        likely = tell and _in_prose(tell, value) and not looks.expression(value)
        if likely and _serious(tell, value, Dialect.PROSE):
            yield Hit(found.start("value"), "credential", found["name"], value)


def _computed(value: str) -> bool:
    """Tell an expression that stands without quotes, and hands out no literal of its own."""
    if value[:1] in "\"'" or not looks.expression(value):
        return False
    return not any(True for _ in blanks.defaults(value))


def _in_prose(tell: Telling, value: str) -> bool:
    if " " in value:
        return False
    return looks.drawn(value) or (tell >= Telling.COMPOUND and looks.mixed(value))


def _pairs(text: str, dialect: Dialect) -> Iterator[Hit]:
    for found in _PAIR.finditer(text):
        tell = telling(found["name"])
        value = found["value"].rstrip(".:")
        if not tell or looks.expression(value) or names_itself(value):
            continue
        if found["value"].endswith("..") or text.startswith("\u2026", found.end()):
            continue  # a manual cut it off
        if dialect is not Dialect.SETTINGS and not (looks.drawn(value) or looks.mixed(value)):
            continue
        if dialect is Dialect.CODE and not _in_string(text, found.start(), found.end()):
            continue
        if _serious(tell, value, dialect):
            yield Hit(found.start("value"), "credential", found["name"], value)


def _in_string(text: str, start: int, end: int) -> bool:
    """Tell a pair that stands within quotes, as a connection string does, from an argument."""
    before, after = text[max(start - 1, 0) : start], text[end : end + 1]
    return before in set("\"'`;&? ") and after in set("\"'`;& ") and before + after != "  "


def _options(text: str) -> Iterator[Hit]:
    for found in _OPTION.finditer(text):
        tell = telling(found["name"])
        value = found["value"] or found["next"]
        if tell < Telling.COMPOUND and not looks.drawn(value):
            continue
        if not tell or value.startswith("-") or looks.expression(value) or names_itself(value):
            continue
        if (
            not found["open"]
            and not found["next"]
            and tell is Telling.PASSWORD
            and not (looks.mixed(value) or looks.drawn(value))
            and "=" not in found[0]
        ):
            continue
        if _serious(tell, value, Dialect.SETTINGS):
            yield Hit(found.start("value"), "credential", f"--{found['name']}", value)


def _serious(tell: Telling, value: str, dialect: Dialect) -> bool:
    if dialect is not Dialect.SETTINGS and tell is Telling.PASSWORD and names_itself(value):
        return False
    return judge.serious(tell, value)


def user_lines(text: str) -> Iterator[Hit]:
    """Find user:password lines, as chpasswd reads them."""
    for found in _USERPASS.finditer(text):
        if not blanks.blank(found["value"]) and found["value"] not in {"R", "RANDOM"}:
            yield Hit(found.start("value"), "command-password", "", found["value"], "chpasswd")


def pgpass(text: str) -> Iterator[Hit]:
    """Find the passwords of a .pgpass file."""
    for found in _PGPASS.finditer(text):
        if not blanks.blank(found["value"]):
            yield Hit(found.start("value"), "credential", "", found["value"], ".pgpass")
