"""What a text looks like: drawn at random, a name, words, a path, an expression of a program."""

from __future__ import annotations

import functools
import re

_BIGRAMS = frozenset(
    """th he in er an re nd on en at ou ed ha to or it is hi es ng st ar te se me sa al le ve nt de
    ti of ea ro ri io ic ne co ra ll si li ch ma ce om ta as el us ss ec la ca et pr no tr ns il
    ho ot di ac ur lo em rs pe ct po un ge mo wi id tu ol ut ad ul ag ee so be ir im ow tt fo sh
    wh op su ap ff ai ay bl bo br bu cl cr cu da do dr du ef ei ep ev ex fa fe fi fl fr ga gi gr
    gu he if ig ie ia iv ke ki ld lu ly mb mi mp mm nc ni nn nu ob od oo os ov ow pa ph pi pl pp
    pu qu rc rd rk rm rn rr rt ru ry sc sm sp sw ts tw ty ub ue ug um up va vi vo wa we wo wr ye
    yp kn ks ck cc am ab au av aw ba bi by cy eb eg eq ey gh go gl gn gs gy hr ib if jo ju kr ku
    lt ls lk my mu na ny oa oc og oi oy rg rp rv sk sl sq sy tc tl tp ua uc ud ui vs ws xp xt yo
    yt zo ze az lb""".split()
)
_WORD = re.compile(r"[A-Za-z]+")
_SEPARATORS = re.compile(r"[-_./:,@+ ]+")
_SEGMENT = re.compile(r"[A-Za-z]{0,40}\d{0,4}|\d{1,8}[A-Za-z]{0,3}|v?\d+(?:rc|beta|alpha)?\d*")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TECHNICAL = re.compile(
    r"(?:oauth|sha|base|md|utf|rs|hs|es|ps|x|aes|http|ipv|ed|rsa|win|argon|pbkdf|s|k|v|gp|log|p|tls"
    r"|sslv|tlsv|b|r|ec|i|arm|amd|node|python|py|java|go|mysql|pg|neo|h|db|route|ec|cp|iso|secp|prime"
    r"|curve|bcrypt|scrypt|oidc|saml|kerberos|krb|ntlm|ldap|mtls|jwt|token|secret|key|password)_?"
    r"\d{1,4}(?:[._-]?\d+)*(?:key|crypt|k1|r1|v1|gcm|cbc|_gcm|withrsa)?",
    re.IGNORECASE,
)


def drawn(text: str) -> bool:
    """Tell what was drawn at random, or mixes letters, digits and signs as no name does."""
    if len(text) < 6 or re.search(r"\s", text):
        return False
    if wordlike(text):
        return False
    kinds = _kinds(text)
    return kinds >= 2 or (len(text) >= 10 and kinds == 1 and not text.isdigit())


def _kinds(text: str) -> int:
    return (
        any(c.isalpha() for c in text)
        + any(c.isdigit() for c in text)
        + any(not c.isalnum() and c not in "-_./:," for c in text)
    )


def mixed(text: str) -> bool:
    """Tell a single word with a digit or sign in it from a word and from a name of many parts."""
    if len(text) < 6 or re.search(r"\s", text) or _TECHNICAL.fullmatch(text):
        return False
    return bool(re.search(r"\d", text)) and not re.search(r"[-_./:]", text) and not text.isdigit()


@functools.lru_cache(maxsize=16_384)
def wordlike(text: str) -> bool:
    """Tell a name, such as web-2, app.kubernetes.io/name or someIdentifier, by its parts."""
    parts = [part for part in _SEPARATORS.split(text) if part]
    return bool(parts) and all(_wordlike(part) for part in parts)


def _wordlike(part: str) -> bool:
    if _TECHNICAL.fullmatch(part):
        return True
    if not _SEGMENT.fullmatch(part):
        return False
    return not any(gibberish(word) for word in _WORD.findall(part))


@functools.lru_cache(maxsize=16_384)
def gibberish(word: str) -> bool:
    """Tell letters that make no word: their pairs are not those of words."""
    if len(word) < 8:
        return False
    if not (word.islower() or word.isupper()):
        pieces = _CAMEL.findall(word)
        if len(word) / max(len(pieces), 1) < 2.6:
            return True
        return any(_odd(piece) for piece in pieces)
    return _odd(word)


def _odd(word: str) -> bool:
    if len(word) < 8:
        return False
    low = word.lower()
    pairs = [low[n : n + 2] for n in range(len(low) - 1)]
    return sum(pair in _BIGRAMS for pair in pairs) / len(pairs) < 0.52


_STOP = re.compile(
    r"\b(?:the|a|an|to|for|of|is|are|be|your|you|must|should|and|with|in|if|this|that|use|used|from"
    r"|not|or|on|as|it|will|can|when|has|have|by|no|please|must|der|die|das|und|ist|nicht|le|la|de"
    r"|el|los|un|une|el|per|di)\b",
    re.IGNORECASE,
)


def prose(text: str) -> bool:
    """Tell a sentence or a label from a passphrase: it has spaces, and words that only join."""
    text = text.strip()
    words = text.split()
    if len(words) < 2:
        return False
    if any(drawn(word.strip(".,;:!?\"'()")) for word in words):
        return len(words) > 6
    plain = all(re.fullmatch(r"[\w'\u2019()/\",;:.!?&#*<>\[\]-]+", word) for word in words)
    label = text[0].isupper() or not text[0].isascii() or text[-1] in ".?!:…"
    return (plain and label) or len(words) > 8 or bool(_STOP.search(text))


_PATH = re.compile(r"(?:~|\.{1,2})?(?:/[\w.@%+{}$*-]+)+/?|[A-Za-z]:\\\\?[\w\\. -]+")
_FILE = re.compile(
    r"[\w./-]+\.(?:ya?ml|json|pem|crt|cer|key|pub|txt|env|ini|conf|cfg|toml|xml|properties|p12|pfx"
    r"|jks|py|js|ts|go|java|rb|sh|md|html?|csv|log|tf|tfvars|enc|gpg|asc|cnf|sql|j2|tpl|png|svg)"
)


def path(text: str) -> bool:
    """Tell a path or a file's name: each part of it is a word."""
    text = re.sub(r"\{\w*\}", "x", text)
    if _FILE.fullmatch(text) and wordlike(text):
        return True
    if not _PATH.fullmatch(text):
        return False
    parts = [part for part in re.split(r"[/\\]", text) if part]
    return len(parts) > 1 and all(wordlike(part) or len(part) < 4 for part in parts)


_EXPRESSION = re.compile(
    r"""[A-Za-z_$@][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)+  # a.b.c
    |[A-Za-z_$@&*!][\w.$:>-]*\s*\(.*                             # call(…
    |[A-Za-z_$][\w.$]*\[.*                                       # a[…
    |(?:new|await|not|lambda|function|async|typeof|yield|return)\s.*
    |[$&*@%][A-Za-z_{(].*
    |[\[{(].*|.*[(\[{]|f?["']{3}.*|\\.*
    """,
    re.VERBOSE | re.DOTALL,
)


_DOTTED = re.compile(r"[A-Za-z_$@][\w$]*(?:(?:\.|::|->|\?\.)[A-Za-z_$][\w$]*)+")


def expression(text: str) -> bool:
    """Tell an expression of a program: a call, an attribute, an index, a variable."""
    return _EXPRESSION.fullmatch(text) is not None and (
        not _DOTTED.fullmatch(text) or wordlike(text)
    )


def call(text: str) -> bool:
    """Tell a call, or an attribute, where text may stand without quotes, as in YAML."""
    if _DOTTED.fullmatch(text):
        return wordlike(text)
    return re.fullmatch(r"[A-Za-z_][\w.]*\(.*\)", text) is not None
