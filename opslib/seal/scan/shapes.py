"""What is a secret by its form, whatever it is called: tokens, private keys, URLs with passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from opslib.seal.scan import blanks, coded, looks


class Shape(NamedTuple):
    """A match: where it starts in the text, its kind, what it is, and itself."""

    start: int
    kind: str
    detail: str
    value: str


_A = r"(?<![A-Za-z0-9])"
_Z = r"(?![A-Za-z0-9])"
# (words of which one must be there, what it is, its form): the forms are those that the issuers
# document, https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
_TOKENS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("AKIA", "ASIA", "ABIA", "ACCA"),
        "AWS access key",
        _A + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}" + _Z,
    ),
    (
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        "GitHub token",
        _A + r"gh[pousr]_[A-Za-z0-9]{36,255}" + _Z,
    ),
    (("github_pat_",), "GitHub token", r"github_pat_[A-Za-z0-9_]{40,255}"),
    (
        (
            "glpat-",
            "gldt-",
            "glrt-",
            "glcbt-",
            "glptt-",
            "glft-",
            "glsoat-",
            "glagent-",
            "gloas-",
            "glimt-",
        ),
        "GitLab token",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt)-[A-Za-z0-9_=.-]{20,300}",
    ),
    (("GR1348941",), "GitLab runner token", r"GR1348941[A-Za-z0-9_-]{20}"),
    (
        ("xox", "xapp-"),
        "Slack token",
        r"(?:xox[abeoprs]|xapp)-(?:\d|[a-z]\d?-?)[A-Za-z0-9-]{10,300}",
    ),
    (
        ("hooks.slack.com",),
        "Slack webhook",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{6,}/[A-Za-z0-9]{6,}/[A-Za-z0-9/]{16,}",
    ),
    (("discord",), "Discord webhook", r"discord(?:app)?\.com/api/webhooks/\d{15,}/[\w-]{40,}"),
    (
        ("webhook.office.com",),
        "Teams webhook",
        r"webhook\.office\.com/webhookb2/[\w@-]{30,}/IncomingWebhook/\w{20,}",
    ),
    (("hvs.", "hvb.", "hvr."), "Vault token", _A + r"hv[sbr]\.[A-Za-z0-9_-]{20,300}"),
    (
        ("s.", "b."),
        "Vault token",
        r"(?<![A-Za-z0-9_.\])/-])[sb]\.(?=[A-Za-z0-9]{0,23}\d)(?=[A-Za-z0-9]{0,23}[A-Z])[A-Za-z0-9]{24}(?![A-Za-z0-9_.(\[])",
    ),
    (
        ("eyJ",),
        "signed token (JWT)",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,16000}\.[A-Za-z0-9_-]{16,}",
    ),
    (
        ("sk_live_", "rk_live_", "sk_test_", "rk_test_", "whsec_"),
        "Stripe key",
        _A + r"(?:[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}|whsec_[A-Za-z0-9+/=]{24,100})",
    ),
    (("AIza",), "Google API key", _A + r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    (("GOCSPX-",), "Google client secret", r"GOCSPX-[A-Za-z0-9_-]{24,40}"),
    (("ya29.",), "Google access token", _A + r"ya29\.[A-Za-z0-9_-]{30,}"),
    (
        ("sk-",),
        "API key of a model's provider",
        _A
        + r"sk-(?:ant-(?:api|admin)\d\d-|proj-|svcacct-|admin-|or-v1-)?(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{32,250}"
        + _Z,
    ),
    (("hf_",), "Hugging Face token", _A + r"hf_[A-Za-z]{34}" + _Z),
    (("npm_",), "npm token", _A + r"npm_[A-Za-z0-9]{36}" + _Z),
    (("pypi-Ag",), "PyPI token", r"pypi-Ag[A-Za-z0-9_-]{50,}"),
    (("rubygems_",), "RubyGems token", r"rubygems_[0-9a-f]{48}"),
    (("dop_v1_", "doo_v1_", "dor_v1_"), "DigitalOcean token", r"do[opr]_v1_[0-9a-f]{64}"),
    (("SG.",), "SendGrid key", _A + r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),
    (("key-",), "Mailgun key", _A + r"key-[0-9a-f]{32}" + _Z),
    (("SK",), "Twilio key", r"(?<![A-Za-z0-9/+=_-])SK[0-9a-f]{32}(?![A-Za-z0-9/+=_-])"),
    (("-us",), "Mailchimp key", r"(?<![A-Za-z0-9-])[0-9a-f]{32}-us\d{1,2}" + _Z),
    (("dapi",), "Databricks token", _A + r"dapi[0-9a-f]{32}(?:-\d)?" + _Z),
    (
        ("glc_", "glsa_"),
        "Grafana token",
        _A + r"(?:glc_[A-Za-z0-9+/=]{32,400}|glsa_[A-Za-z0-9]{32}_[0-9a-f]{8})",
    ),
    (
        ("dp.",),
        "Doppler token",
        _A + r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[\w-]+\.)?[A-Za-z0-9]{40,44}" + _Z,
    ),
    ((".atlasv1.",), "Terraform Cloud token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}"),
    (("lin_api_",), "Linear key", r"lin_api_[A-Za-z0-9]{40}"),
    (
        ("shpat_", "shpca_", "shppa_", "shpss_"),
        "Shopify token",
        r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    ),
    (
        ("sq0", "EAAA"),
        "Square token",
        _A + r"(?:sq0[a-z]{3}-[A-Za-z0-9_-]{22,43}|EAAA[A-Za-z0-9_-]{60})(?![A-Za-z0-9_=/+-])",
    ),
    (("dckr_",), "Docker token", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{24,40}"),
    (("NRAK-", "NRJS-", "NRII-"), "New Relic key", r"NR(?:AK|JS|II)-[A-Za-z0-9_-]{19,32}"),
    (
        ("ATATT3", "ATCTT3", "ATBB"),
        "Atlassian token",
        r"AT(?:[AC]TT3[A-Za-z0-9_=-]{60,250}|BB[A-Za-z0-9]{32})",
    ),
    (
        ("tskey-",),
        "Tailscale key",
        r"tskey-(?:auth|api|client|webhook|scim)-[A-Za-z0-9]+-?[A-Za-z0-9]{10,}",
    ),
    (("AGE-SECRET-KEY-1",), "age secret key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    (("fo1_", "fm1", "FlyV1"), "Fly token", r"(?:fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/=]{80,})"),
    (("sntrys_", "sntryu_"), "Sentry token", r"sntry(?:s_eyJ[A-Za-z0-9+/=_]{40,}|u_[0-9a-f]{64})"),
    (("pul-",), "Pulumi token", _A + r"pul-[0-9a-f]{40}" + _Z),
    (("PMAK-",), "Postman key", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    (("sgp_",), "Sourcegraph token", r"sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}"),
    (
        ("bot", ":AA"),
        "Telegram token",
        r"(?<![0-9A-Za-z])\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
    ),
    (("oy2",), "NuGet key", _A + r"oy2[a-z0-9]{43}" + _Z),
    (
        ("AccountKey=", "SharedAccessKey="),
        "Azure storage key",
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/]{40,}={0,2}",
    ),
    (("sig=",), "Azure SAS token", r"[?&]sig=[A-Za-z0-9%+/]{43,}(?:%3D|=)"),
    (
        ("Q~",),
        "Azure client secret",
        r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])",
    ),
    (("EAA",), "Facebook token", _A + r"EAA[A-Za-z0-9]{90,300}" + _Z),
    (("ops_eyJ",), "1Password token", r"ops_eyJ[A-Za-z0-9+/=]{200,}"),
    (("LTAI",), "Alibaba key", _A + r"LTAI[A-Za-z0-9]{17,21}" + _Z),
    (("AKCp", "AKCP"), "Artifactory key", _A + r"AKC[Pp][A-Za-z0-9]{60,}"),
    (("v1.0-",), "Cloudflare origin key", _A + r"v1\.0-[0-9a-f]{24}-[0-9a-f]{146}"),
    (("figd_",), "Figma token", r"figd_[A-Za-z0-9_-]{40,}"),
    (
        ("secret_", "ntn_"),
        "Notion token",
        _A + r"(?:secret_[A-Za-z0-9]{43}|ntn_[A-Za-z0-9]{40,50})" + _Z,
    ),
    (("r8_",), "Replicate token", _A + r"r8_[A-Za-z0-9]{37}" + _Z),
    (("gsk_",), "Groq key", _A + r"gsk_[A-Za-z0-9]{52}" + _Z),
    (("xai-",), "xAI key", _A + r"xai-[A-Za-z0-9]{80}" + _Z),
    (("pat",), "Airtable token", _A + r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}" + _Z),
    (("K10",), "k3s node token", _A + r"K10[0-9a-f]{64}::(?:[\w-]+:)?[0-9a-zA-Z.]{16,}"),
    (("cloudinary://",), "Cloudinary URL", r"cloudinary://\d+:[\w-]{20,}@\w+"),
)
_FORMS = tuple((words, what, re.compile(form)) for words, what, form in _TOKENS)
_WELL_KNOWN = ("eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIi",)
"""The token that jwt.io and the standard's readers show: its payload is John Doe's."""
_URL = re.compile(
    r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{1,30})://(?P<user>[^\s/:@\"'<>`?#]*):(?P<password>[^\s/@\"'<>`]{1,400}|[^\s@\"'<>`]{1,200})@(?P<host>[\w\[\].:$%{}*-]+)"
)
_SAMPLE_USERS = re.compile(
    r"(?:user(?:name)?|login|foo|usr|u|name|your.*|my.*user.*|<.*|x+|\.+)", re.IGNORECASE
)
_SAMPLE_WORDS = re.compile(
    r"(?:p|pw|pwd|pass|passwd|password|passw0rd|secret|token|bar|x+|\*+|\.+|[A-Z]+[A-Z_]*|s3cret|pa55w0rd|p@ssw0rd|:+|port)"
)
_SAMPLE_HOSTS = re.compile(
    r"(?:host(?:name)?|server|.*\bexample\.(?:com|org|net)|example|.*\.example)(?::.*)?$"
)
_PEM = re.compile(
    r"-----BEGIN(?P<what>(?:\s+[A-Z0-9]+){0,4}?)\s+PRIVATE\s+KEY(?:\s+BLOCK)?-----(?P<body>.{20,20000}?)"
    r"(?:-----END\s|\Z)",
    re.DOTALL,
)
_PPK = re.compile(
    r"PuTTY-User-Key-File-\d: .*?Private-Lines: \d+\s+(?P<body>[A-Za-z0-9+/=\s]{40,})", re.DOTALL
)
_NOISE = re.compile(
    r"""\\[nrt]|[\s"'+,\\>|#*;]|&#\w+;|<[^>]*>|(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash): ?[^\n\\]*"""
)
_AUTH = re.compile(
    r"(?i:authorization)[\"']?\s*[:=,]\s*[\"']?(?P<scheme>(?i:bearer|basic|token|apikey|negotiate))\s+(?P<value>[A-Za-z0-9+/=_.~-]{6,})"
)


_RUN = re.compile(r"[A-Za-z0-9_+/=.~:-]{15}|://|-----|uthorization|UTHORIZATION|PuTTY")
_COMMON = frozenset({"bot", "pat", r"\-us"})
_SHORT = r"[sb]\.[A-Za-z0-9]{24}|SK[0-9a-f]{8}|[0-9a-f]{32}-us|sk-[A-Za-z0-9-]{20}|Q~|pat[A-Za-z0-9]{14}\.|:AA[A-Za-z0-9_-]{33}"
_LONG = [re.escape(word) for words, _, _ in _TOKENS for word in words if len(word) > 2]
_SOME = re.compile("|".join([*(word for word in _LONG if word not in _COMMON), _SHORT]))
"""Whether any token may be in a text: asked before each form is."""


def shapes(text: str) -> Iterator[Shape]:
    """Find tokens, private keys and URLs with passwords in a text."""
    if not _RUN.search(text):
        return
    if "-----BEGIN" in text or "PuTTY-User" in text:
        yield from private_keys(text)
    if _SOME.search(text):
        yield from _tokens(text)
    if "://" in text:
        yield from urls(text)
    if "uthorization" in text or "UTHORIZATION" in text:
        yield from _authorization(text)


def _tokens(text: str) -> Iterator[Shape]:
    for words, what, form in _FORMS:
        if any(word in text for word in words):
            for found in form.finditer(text):
                if _real(found[0], what):
                    yield Shape(found.start(), "token", what, found[0])


def _real(value: str, what: str) -> bool:
    if any(known in value for known in _WELL_KNOWN):
        return False
    if blanks.placeholder(value) or len(set(value)) < 8:
        return False
    body = value.rsplit("_", 1)[-1].rsplit("-", 1)[-1] if "-" in value or "_" in value else value
    if re.search(r"(.)\1{7,}|(?:0123456789|abcdefghij|ABCDEFGHIJ)", value) and len(set(body)) < 14:
        return False
    if what.startswith("API key"):
        return not looks.wordlike(value)
    return "EXAMPLE" not in value


def private_keys(text: str) -> Iterator[Shape]:
    """Find private keys with a body; the words BEGIN PRIVATE KEY alone are none."""
    for found in _PEM.finditer(text):
        body = _NOISE.sub("", found["body"])
        letters = re.match(r"[A-Za-z0-9+/=_-]*", body)
        kept = letters[0] if letters else ""
        if (
            len(kept) >= 40
            and len(set(kept)) > 12
            and not re.search(r"\.\.\.|…|[xX]{12}", found["body"])
        ):
            what = " ".join([*found["what"].split(), "private key"])
            yield Shape(found.start(), "private-key", what, found[0])
    for found in _PPK.finditer(text):
        yield Shape(found.start(), "private-key", "PuTTY private key", found[0])


def urls(text: str) -> Iterator[Shape]:
    """Find URLs with a password in them that is no placeholder."""
    for found in _URL.finditer(text):
        user, password, host = found["user"], found["password"], found["host"]
        if (
            len(password) < 3
            or "//" in password
            or blanks.blank(password)
            or _sample(user, password, host)
        ):
            continue
        if re.search(r"[{$<%(]|\}\}", password) and (
            blanks.templated(password) or looks.expression(password)
        ):
            continue
        yield Shape(
            found.start("password"), "url-credentials", f"{found['scheme'][:20]} URL", password
        )


def _sample(user: str, password: str, host: str) -> bool:
    """Tell the URL of a manual: user:password@host."""
    if _SAMPLE_WORDS.fullmatch(password):
        return True
    if re.search(r"[,;()|]", user) or re.match(r"\d{1,5}(?:/|$)", password):
        return True  # host:port,host:port@… is no user
    plain = password.isalpha() and password.islower()
    sample = _SAMPLE_USERS.fullmatch(user) or _SAMPLE_HOSTS.fullmatch(host)
    return bool(plain and sample and not looks.gibberish(password))


def _authorization(text: str) -> Iterator[Shape]:
    for found in _AUTH.finditer(text):
        value = found["value"]
        if found["scheme"].lower() == "basic":
            if basic(value):
                yield Shape(found.start("value"), "basic-auth", "Authorization header", value)
        elif looks.drawn(value) and not blanks.blank(value):
            yield Shape(found.start("value"), "token", "Authorization header", value)


def basic(text: str) -> bool:
    """Tell base64 of user:password, as HTTP's basic authentication and registries have it."""
    data = coded.decode(text)
    clear = coded.readable(data) if data else None
    if not clear or ":" not in clear or "\n" in clear.strip():
        return False
    password = clear.partition(":")[2].strip()
    return len(password) > 2 and not blanks.blank(password)


_MARKS = (
    (b"\xfe\xed\xfe\xed", "Java key store"),
    (b"\xce\xce\xce\xce", "Java key store"),
    (b"openssh-key-v1\0", "OpenSSH private key"),
)


def der(data: bytes) -> str:
    """Tell a private key or key store in DER by its outermost fields; "" for anything else.

    PKCS#8 and PKCS#1: https://www.rfc-editor.org/rfc/rfc5958 , https://www.rfc-editor.org/rfc/rfc8017#appendix-A.1.2
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    length, at = _length(data, 1) if len(data) >= 40 and data[0] == 0x30 else (0, 0)
    if not 30 <= length <= len(data) - at or len(data) - at - length > 16:
        return ""
    head, after = data[at : at + 3], data[at + 3]
    if head == b"\x02\x01\x03":
        return "PKCS#12 key store"
    private = (head == b"\x02\x01\x00" and after in {0x30, 0x02}) or (
        head == b"\x02\x01\x01" and after in {0x04, 0x30}
    )
    return "private key in DER" if private else ""


def _length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if not 0 < count <= 4 or at + 1 + count > len(data):
        return 0, at
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count
