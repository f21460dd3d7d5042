"""Secrets by their look: what is masked although nobody has noted it.

Each rule has anchors, plain words that the scan seeks beside the known values, and a regular
expression that is tried only where an anchor stands; so rules cost nothing where they do not
apply. The forms of tokens are those that their issuers publish; assignments have to hold a
value that looks random, since "password: string" is in every manual.
"""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """``anchors`` begin where ``regex`` is tried; its group "s" is the secret.

    ``rest``: what follows the secret's beginning and belongs to it. ``longest``: what begins
    with a longer row of letters and digits is no such token.
    """

    label: str
    anchors: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    longest: int = 0
    accept: Callable[[bytes, bytes], bool] | None = None
    rest: re.Pattern[bytes] | None = None


def find(rule: Rule, data: bytes, at: int) -> tuple[tuple[int, int] | None, int]:
    """Return where the secret of a rule stands whose anchor is at ``at``, or None.

    The second number is where the rule has to be tried next: what was read is not read again,
    so that anchors in hostile numbers cost no more than their bytes.
    """
    if rule.longest and (run := _RUN.match(data, at)) is not None:
        near = run.end() - rule.longest
        if near > at:  # too long for a token: only its end may be one
            return None, near
    match = rule.regex.match(data, at)
    if match is None:
        return None, at + 1
    if rule.accept is not None and not rule.accept(match[0], match["s"]):
        return None, at + 1
    start, end = match.span("s")
    if rule.rest is not None:
        rest = rule.rest.match(data, end)
        end = rest.end() if rest else end
    return (start, end), end


_RUN = re.compile(rb"[\w-]*+")


_EXAMPLE = re.compile(
    rb"(?i)example|sample|dummy|placeholder|redacted|change.?me|your.?|x{4}|\*{3}|\.\.\.|1234567890"
    rb"|\xe2\x80\xb9|<masked|%[sd(]|\$[({A-Za-z]|\{\{"
)
_NO_VALUE = re.compile(
    rb"(?:[A-Za-z_]+|V\d+(?:(?:alpha|beta)\d+)?[A-Za-z]+"  # a word, a class of Kubernetes
    rb"|[A-Za-z_]\w*(?:[.:]{1,2}[A-Za-z_]\w*)+"  # a name of code
    rb"|\.{0,2}/.*|.*://.*|(?:env|file|vault|sha\d+|arn|ref\+\w+):.*"  # a place, a reference
    rb"|:.*"  # the second half of a C++ name
    rb"|[\d:.TZ+-]+"  # a number, a time, an address
    rb"|[\w.-]+\.[\w.-]+/[\w.-]+"  # a name of Kubernetes
    rb"|Ag[A-Za-z0-9+/=]{120,}"  # sealed for the cluster, public by design
    rb"|key=SHA256:[A-Za-z0-9+/]{43}"  # the fingerprint of the public key that it is sealed for
    rb"|vault:v\d+:.*)"
)
_LOOK = 64
"""Bytes of a value that are looked at for what is random."""
_DNS = re.compile(rb"[a-z0-9]+(?:[-.][a-z0-9]+)+")
_PASSWORD = re.compile(rb"(?i)pass|pwd|key")


def _random(whole: bytes, secret: bytes) -> bool:
    """Tell what looks random from names, references, numbers and examples."""
    if _EXAMPLE.search(secret, 0, _LOOK) or _NO_VALUE.fullmatch(secret):
        return False
    name, secret = whole[: -len(secret)], secret[:_LOOK]
    if _DNS.fullmatch(secret) and not _PASSWORD.search(name):
        return False
    digits = any(48 <= one <= 57 for one in secret)
    upper, lower = secret.upper() != secret, secret.lower() != secret
    if not (digits and (upper or lower)) and not (upper and lower):
        return False
    return entropy(secret) >= (2.7 if len(secret) < 16 else 3.0)


def entropy(text: bytes) -> float:
    """Return Shannon's entropy in bits per byte."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values())


def _no_example(_: bytes, secret: bytes) -> bool:
    return not _EXAMPLE.search(secret)


def _a_login(_: bytes, secret: bytes) -> bool:
    """Tell HTTP's basic credentials from a word after "Basic"."""
    try:
        return b":" in base64.b64decode(secret + b"=" * (-len(secret) % 4), validate=True)
    except ValueError:
        return False


def _a_password(_: bytes, secret: bytes) -> bool:
    word = secret.lower() in {b"pass", b"password", b"passwd", b"pwd", b"secret", b"token"}
    return not word and not _EXAMPLE.search(secret) and secret[:1] not in b"<${["


def _cased(*words: str) -> tuple[bytes, ...]:
    spellings = {
        form for one in words for form in (one, one.upper(), one.title(), one.capitalize())
    }
    return tuple(sorted(one.encode() for one in spellings))


_QUOTE = rb"""(?:\\{0,4}["']|&quot;|&#34;|&#39;|&#x27;|&amp;quot;){0,2}"""
_NAMES = (
    *("password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key"),
    *("access_key", "access-key", "private_key", "credential"),
)
_ASSIGNED = re.compile(
    rb"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    rb"|credential|pwd)s?(?:[_-]?(?:key|value|data|id))?" + _QUOTE + rb"[ \t]{0,4}"
    rb"(?:=>|:=|==?|:|</t[hd]>(?:\\n|\s){0,40}<td[^<>]{0,80}>)[ \t]{0,4}"
    + _QUOTE
    + rb"""(?P<s>[^\s"'\\<>&,;(){}\[\]|`]{8,128})"""
)
_ASSIGNED_REST = re.compile(rb"""[^\s"'\\<>&,;(){}\[\]|`]*+""")
_JOINT = rb"""(?:\\{1,4}[nr]|[\r\n \t])*(?:",[\r\n \t]*")?"""
_PEM = re.compile(
    rb"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?P<s>(?:"
    + _JOINT
    + rb"(?:[A-Za-z0-9+/=]+|(?:Proc-Type|DEK-Info|Version|Comment): ?[\w.,\- ]+)){1,4000})"
)


def _token(label: str, *anchors: str, regex: str, longest: int = 0) -> Rule:
    whole = re.compile(rb"(?P<s>" + regex.encode() + rb")")
    return Rule(label, tuple(one.encode() for one in anchors), whole, longest, _no_example)


RULES: tuple[Rule, ...] = (
    Rule("private-key", (b"-----BEGIN ",), _PEM, accept=lambda _, s: len(s) >= 32),
    _token(
        "private-key",
        *("LS0tLS1CRUdJTiBSU0EgUFJJVkFURS", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS"),
        *("LS0tLS1CRUdJTiBFQyBQUklWQVRFIE", "LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUg"),
        *("LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURS", "LS0tLS1CRUdJTiBEU0EgUFJJVkFURS"),
        regex=r"[A-Za-z0-9+/]{60,}={0,2}",
    ),
    _token(
        "jwt",
        "eyJ",
        regex=r"eyJ[\w-]{10,2000}+\.eyJ[\w-]{10,8000}+\.[\w-]{16,2000}+",
        longest=2000,
    ),
    Rule(
        "bearer",
        _cased("bearer "),
        re.compile(rb"(?i)bearer (?P<s>[\w.~+/-]{16,4096}=*)"),
        accept=_random,
    ),
    Rule(
        "basic",
        _cased("basic "),
        re.compile(rb"(?i)basic (?P<s>[A-Za-z0-9+/]{8,1024}={0,2})"),
        accept=_a_login,
    ),
    Rule(
        "url-password",
        (b"://",),
        re.compile(rb"://[^\s/:@\"'<>\\]{0,256}:(?P<s>[^\s/@\"'<>\\]{3,512})@"),
        accept=_a_password,
    ),
    _token("aws", "AKIA", "ASIA", regex=r"A[KS]IA[A-Z2-7]{16}(?![A-Za-z0-9+/])"),
    _token("gcp", "AIza", regex=r"AIza[\w-]{35}(?![\w-])"),
    _token("gcp", "ya29.", regex=r"ya29\.[\w-]{20,2000}"),
    _token(
        "github",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        regex=r"gh[pousr]_[A-Za-z0-9]{36,255}",
    ),
    _token("github", "github_pat_", regex=r"github_pat_\w{22,255}"),
    _token("gitlab", "glpat-", "gldt-", "glrt-", regex=r"gl(?:pat|dt|rt)-[\w-]{20,255}"),
    _token(
        "slack",
        *("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-"),
        regex=r"x(?:ox[abprs]|app)-[\w-]{10,255}",
    ),
    _token(
        "slack",
        "hooks.slack.com/services/",
        regex=r"hooks\.slack\.com/services/T\w{6,12}/B\w{6,12}/\w{16,32}",
    ),
    _token("vault", "hvs.", "hvb.", "hvr.", regex=r"hv[sbr]\.[\w-]{24,512}"),
    _token("npm", "npm_", regex=r"npm_[A-Za-z0-9]{36}(?!\w)"),
    _token("pypi", "pypi-AgE", regex=r"pypi-AgE[\w-]{50,512}"),
    _token("docker", "dckr_pat_", regex=r"dckr_pat_[\w-]{20,64}"),
    _token("stripe", "sk_live_", "rk_live_", regex=r"[sr]k_live_[A-Za-z0-9]{16,255}"),
    _token("sendgrid", "SG.", regex=r"SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    _token("age", "AGE-SECRET-KEY-1", regex=r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    _token("digitalocean", "dop_v1_", regex=r"dop_v1_[a-f0-9]{64}"),
    Rule(
        "azure",
        (b"AccountKey=", b"SharedAccessKey="),
        re.compile(rb"(?:Account|SharedAccess)Key=(?P<s>[A-Za-z0-9+/]{40,100}={0,2})"),
    ),
    Rule(
        "kubeconfig",
        (b"client-key-data",),
        re.compile(
            rb"client-key-data"
            + _QUOTE
            + rb"[ \t]{0,4}:[ \t]{0,4}"
            + _QUOTE
            + rb"(?P<s>[A-Za-z0-9+/]{40,20000}={0,2})"
        ),
    ),
    Rule(
        "assigned",
        (*_cased(*_NAMES), b"apiKey", b"accessKey", b"privateKey", b"pwd=", b"PWD="),
        _ASSIGNED,
        accept=_random,
        rest=_ASSIGNED_REST,
    ),
)
