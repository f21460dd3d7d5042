"""What stands where a secret will be: placeholders, templates, references to where it is kept."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from opslib.seal.scan import looks

_CONSTANT = re.compile(
    r"(?:true|false|yes|no|on|off|none|null|nil|undefined|nan|\{\}|\[\]|n/?a|-?\d{1,4}(?:\.\d+)?"
    r"|\d+(?:ms|s|m|h|d|w|[KMGT]i?B?)|(?:[~^<>=]{1,2} ?|v)?\d+(?:\.[\dx*]+){1,3}(?:[.-]?(?:rc|alpha|beta|dev|post)[\d.]*)?|[^\w\s]{0,3})",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(?:ref\+[a-z0-9-]+://|secretref\+|op://|vault:(?:secret/|kv/|[\w.-]+/)[\w./-]*(?:#|$)|vault://|azkv://|awssm://"
    r"|awsps://|gcpsm://|gsm://|sm://|ssm://|aws-?sm:|aws-?ssm:|secretsmanager:|azurekeyvault://"
    r"|arn:aws[\w-]*:(?:secretsmanager|ssm|kms|iam)|projects/[\w-]+/secrets/|keyring:|kms:|bws:|doppler://"
    r"|secrets?://|env:[A-Za-z_]|file:|credentials\(|@Microsoft\.KeyVault|k8s:secret|kubernetes:secret"
    r"|\{\{resolve:|resolve:|lookup\(|!vault\b|valueFrom|akeyless:|infisical:|bao:|sops:|exec:)",
    re.IGNORECASE,
)
_TEMPLATES = (
    re.compile(r"\$\{\{.{0,2000}?\}\}", re.DOTALL),
    re.compile(r"\{\{.{0,2000}?\}\}", re.DOTALL),
    re.compile(r"\{%.{0,2000}?%\}", re.DOTALL),
    re.compile(r"<%.{0,2000}?%>", re.DOTALL),
    re.compile(r"\$\{[^{}]*\}"),
    re.compile(r"\$\([^()]*\)"),
    re.compile(r"#\{[^{}]*\}"),
    re.compile(r"%\{[^{}]*\}"),
    re.compile(r"\(\([\w./ -]+\)\)"),
    re.compile(r"%\([A-Za-z_]\w*\)[sdr]"),
    re.compile(r"%[A-Za-z_]\w*%"),
    re.compile(r"\{[A-Za-z_][\w.!:\[\]]*\}"),
    re.compile(r"__[A-Z][A-Z0-9_]*?__"),
    re.compile(r"@@?[A-Z][A-Z0-9_.]*@@?"),
    re.compile(r"\$[A-Za-z_]\w*$|^\$[\d@*#?!]$"),
    re.compile(r"^\$[A-Za-z_]\w*"),
    re.compile(r"<[^<>]*>"),
)
_DEFAULTS = (
    re.compile(r"\$\{[\w.]+:?[-=]([^{}]+)\}"),
    re.compile(r"\$\{[\w.-]+:([^{}?+=-][^{}]*)\}"),
    re.compile(r"""\bdefault(?:\(|\s)\s*["']([^"']+)["']"""),
    re.compile(r"""\{\{-?\s*["']([^"']+)["']\s*\|"""),
    re.compile(r"""\{\{-?\s*(?:b64enc|quote)\s+["']([^"']+)["']"""),
)
# One of these says by itself that no secret stands there yet.
_STRONG = frozenset(
    """changeme change changed changeit replace replaceme replaced todo fixme tbd placeholder dummy
    example examples sample redacted masked hidden removed omitted scrubbed sanitized censored
    insert enter fill provide put your yours here fake mock notreal unset notset undefined xxx
    encrypted sensitive elided truncated snipped goes override overrideme setme""".split()
)
# And these are what the others are joined with.
_WEAK = frozenset(
    """me it this the a an my our some real actual with to in be by from of and for not please
    password passwd pass pwd passphrase secret secrets token key keys api access auth client
    private public value values string text user username name db database admin root app
    application service account credential credentials url host here goes default prod production
    dev staging test before use using production deploy deployment install set at is jwt id
    generated random base encoded github gitlab aws gcp azure slack stripe vault docker registry
    smtp mail redis postgres mysql mongo oauth bearer basic session encryption signing webhook
    com org new strong secure long very must own later one uuid hex foo bar baz no none empty only
    data config project company domain super passwort kennwort hash salt""".split()
)
_PATTERN = re.compile(
    r"\[\^?[^\]]*\w-\w[^\]]*\]|\(\?[:=!<P]|\\[dwsSDW][+*{]|\.\*|\{\d+,\d*\}|\^\[|\.\+"
)
"""A regular expression, as rules and schemas have them."""
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_RUN = re.compile(
    r"(?:(.)\1{3,}|[xX*•.#?_=-]{3,}|\.{3}|…|(?:xx+-?)+|(?:12345678(?:90)?|abc123|abcdefgh?)+)"
)
_GENERIC = frozenset(
    """password passwd pwd pass secret token key apikey api_key credential credentials string text
    str bytes int required optional auto generated none any value default bearer basic jwt oauth
    oauth2 plain plaintext hidden env file vault kubernetes opaque disabled enabled ignore ignored
    unknown username user login email name null nil""".split()
)


@functools.lru_cache(maxsize=16_384)
def blank(text: str) -> bool:
    """Tell a value that holds no secret: a constant, a placeholder, a template, a reference."""
    value = text.strip().strip("\"'`").strip()
    if not value or _CONSTANT.fullmatch(value):
        return True
    if _PATTERN.search(value):
        return True
    if _REFERENCE.match(value) or _RUN.fullmatch(value) or generic(value):
        return True
    return placeholder(value) or templated(value)


def reference(text: str) -> bool:
    """Tell a reference to where the secret is kept."""
    return _REFERENCE.match(text) is not None


def masked(text: str) -> bool:
    """Tell asterisks, x and dots that stand for a value."""
    return _RUN.fullmatch(text) is not None


def generic(text: str) -> bool:
    """Tell the words that name what is meant, instead of being it: "password", "string"."""
    return text.strip().lower() in _GENERIC


def placeholder(text: str) -> bool:
    """Tell a placeholder by its words: change-me, YOUR_TOKEN_HERE, AKIAIOSFODNN7EXAMPLE."""
    if len(text) > 200:
        return False
    return _stands_for(text) or _of_words(text)


def _stands_for(text: str) -> bool:
    if re.fullmatch(r"[\u2039\u00ab\[(<].*[\u203a\u00bb\])>]", text):
        return True
    if re.search(r"EXAMPLE(?:KEY)?$|^EXAMPLE|REDACTED|CHANGE_?ME|REPLACE_?ME|PLACEHOLDER", text):
        return True
    return re.search(r"[xX*•]{6,}", text) is not None and len(set(text)) < 12


def _of_words(text: str) -> bool:
    words = [word.lower() for word in _SPLIT.findall(text)]
    letters = [word for word in words if not word.isdigit()]
    if not letters or sum(map(len, letters)) < len(text.strip()) * 0.5:
        return False
    strong = [word for word in letters if word in _STRONG or re.fullmatch("x{3,}", word)]
    if not strong:
        return False
    odd = [word for word in letters if word not in _STRONG | _WEAK and set(word) != {"x"}]
    return not odd or (len(odd) <= len(letters) // 2 and looks.wordlike(text))


def templated(text: str) -> bool:
    """Tell a text that a template or a variable fills in; what is literal in it is no secret."""
    rest = text
    for pattern in _TEMPLATES:
        rest = pattern.sub("", rest)
    if rest == text:
        return False
    rest = rest.strip(" \"'-_.:/@|+,;=")
    return len(rest) < 6 or re.fullmatch(r"[a-z]+(?:[-_./: ][a-z]+)*", rest) is not None


def filled_in(text: str) -> bool:
    """Tell a longer text that templates fill in, with nothing beside them that was drawn."""
    rest = text
    for pattern in _TEMPLATES:
        rest = pattern.sub(" ", rest)
    if rest == text:
        return False
    return not any(looks.drawn(word) for word in re.split(r"[^\w!%+-]+", rest) if len(word) >= 8)


def defaults(text: str) -> Iterator[str]:
    """Yield the literal that a template takes where its variable is not set."""
    if "$" in text or "{{" in text:
        for pattern in _DEFAULTS:
            yield from pattern.findall(text)
