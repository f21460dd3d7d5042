"""Values for the corpora of the leak scan: made when they are asked for, so that none is in Git."""

from __future__ import annotations

import base64
import gzip
import json
import random
import string
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from opslib.seal.secretbytes import SecretBytes
from opslib.seal.wire import Scope, encrypt, label_of

_LETTERS = string.ascii_letters + string.digits


def _prime(rng: random.Random) -> int:
    """Return a number of 1024 bits that is prime, as far as Fermat's test tells."""
    small = [n for n in range(3, 2000, 2) if all(n % one for one in range(3, n, 2))]
    while True:
        number = rng.getrandbits(1024) | 1 | 3 << 1022
        if all(number % one for one in small) and pow(2, number - 1, number) == 1:
            return number


def _key() -> rsa.RSAPrivateKey:
    """Return the same key each time, for files that are the same each time; it guards nothing."""
    rng, e = random.Random(65537), 65537  # noqa: S311  # see above
    p, q = _prime(rng), _prime(rng)
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    parts = (d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, public).private_key()


_KEY = _key()
_WORDS = [
    "harbor",
    "velvet",
    "copper",
    "lantern",
    "meadow",
    "falcon",
    "ginger",
    "marble",
    "saddle",
    "timber",
]


class Values:
    """Draws values from one seed; PEM keys are fresh each time, for they have no seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  # test values

    def letters(self, low: int = 20, high: int = 40, alphabet: str = _LETTERS) -> str:
        """Random letters and digits, at least one digit among them."""
        count = self.rng.randint(low, high)
        text = [self.rng.choice(alphabet) for _ in range(count)]
        if alphabet is _LETTERS:
            text[count // 2] = self.rng.choice("0123456789")
        return "".join(text)

    def hexed(self, count: int) -> str:
        return "".join(self.rng.choice("0123456789abcdef") for _ in range(count))

    def signs(self) -> str:
        """A password with signs that need no quoting anywhere."""
        return f"{self.letters(5, 9)}{self.rng.choice('!%+-_.')}{self.letters(4, 9)}"

    def weak(self) -> str:
        """A password as people choose them."""
        word, other = self.rng.sample(_WORDS, 2)
        number = self.rng.randint(1, 2029)
        return self.rng.choice(
            [
                f"{word}{number}",
                f"{word.title()}{number}!",
                f"{word}-{other}-{self.rng.choice(_WORDS)}",
                f"{word.replace('e', '3').replace('a', '4')}{number}",
                f"{word.title()}{other.title()}{number}",
                f"{word}{other}",
            ]
        )

    def password(self) -> str:
        return self.rng.choice([self.letters, self.signs, self.weak])()

    def strong(self) -> str:
        return self.rng.choice([self.letters, self.signs])()

    def b64(self, text: str | bytes) -> str:
        return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()

    def gz64(self, text: str) -> str:
        return self.b64(gzip.compress(text.encode(), mtime=0))

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def token(self, which: str = "") -> tuple[str, str]:
        """One of the known kinds of tokens: its issuer and itself."""
        a, n = self.letters, self.hexed
        upper = string.ascii_uppercase + "234567"
        kinds: dict[str, Callable[[], str]] = {
            "aws": lambda: "AK" + "IA" + a(16, 16, upper),
            "github": lambda: "gh" + "p_" + a(36, 36),
            "github-fine": lambda: "github" + "_pat_" + a(22, 22) + "_" + a(59, 59),
            "gitlab": lambda: "gl" + "pat-" + a(20, 20),
            "slack": lambda: (
                "xo"
                "xb-" + a(12, 12, string.digits) + "-" + a(12, 12, string.digits) + "-" + a(24, 24)
            ),
            "vault": lambda: "hv" + "s." + a(24, 24),
            "vault-old": lambda: "s" + "." + "A1" + a(22, 22),
            "stripe": lambda: "sk" + "_live_" + a(24, 24),
            "google": lambda: "AI" + "za" + a(35, 35),
            "npm": lambda: "np" + "m_" + a(36, 36),
            "pypi": lambda: "py" + "pi-AgEIcHlwaS5vcmc" + a(60, 80),
            "digitalocean": lambda: "do" + "p_v1_" + n(64),
            "sendgrid": lambda: "S" + "G." + a(22, 22) + "." + a(43, 43),
            "jwt": self.jwt,
            "grafana": lambda: "gl" + "sa_" + a(32, 32) + "_" + n(8),
            "docker": lambda: "dckr" + "_pat_" + a(27, 27),
        }
        name = which or self.rng.choice(sorted(kinds))
        return name, kinds[name]()

    def token_of(self, which: str) -> str:
        return self.token(which)[1]

    def jwt(self) -> str:
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        body = json.dumps({"sub": self.letters(8, 12), "iat": self.rng.randint(10**9, 2 * 10**9)})
        payload = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        return f"{head}.{payload}.{self.letters(43, 43)}"

    def pem(self) -> str:
        """A private key in one of its forms."""
        kind = self.rng.randint(0, 3)
        key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
        key = _KEY if kind == 0 else ec.generate_private_key(ec.SECP256R1())
        form = {0: PrivateFormat.PKCS8, 1: PrivateFormat.TraditionalOpenSSL, 2: PrivateFormat.PKCS8}
        if kind == 3:
            key = ed25519.Ed25519PrivateKey.generate()
            return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        return key.private_bytes(Encoding.PEM, form[kind], NoEncryption()).decode()

    def der(self) -> bytes:
        return _KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    def public(self) -> str:
        return (
            _KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )

    def ssh_public(self) -> str:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(self.rng.randbytes(32)).public_key()
        return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " ada@example"

    def certificate(self) -> str:
        nobody = x509.Name([])
        made = (
            x509.CertificateBuilder()
            .subject_name(nobody)
            .issuer_name(nobody)
            .public_key(_KEY.public_key())
            .serial_number(self.rng.getrandbits(150) + 1)
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
            .sign(_KEY, SHA256())
        )
        return made.public_bytes(Encoding.PEM).decode()

    def sealed(self, text: str | None = None) -> str:
        """A value as the controller would unseal it."""
        label = label_of(Scope.STRICT, "shop", "db")
        data = encrypt(
            _KEY.public_key(), SecretBytes((text or self.password()).encode(), "x"), label
        )
        return base64.b64encode(data).decode()

    def sops(self, text: str | None = None) -> str:
        """A value as SOPS writes it."""
        data = self.rng.randbytes(len(text or self.password()))
        iv, tag = self.rng.randbytes(32), self.rng.randbytes(16)
        return (
            f"ENC[AES256_GCM,data:{self.b64(data)},iv:{self.b64(iv)},tag:{self.b64(tag)},type:str]"
        )


def indented(text: str, count: int) -> str:
    """Indent every line of a text."""
    return "\n".join(" " * count + line for line in text.rstrip("\n").split("\n"))
