"""What a name says of its value: that it is a password, that it may be a secret, or nothing."""

from __future__ import annotations

import enum
import functools
import re


class Telling(enum.IntEnum):
    """How much a name says. The less it says, the more the value itself must look like a secret."""

    NOTHING = 0
    BARE = 1
    """"secret", "token": often the name of a Secret, or a word of a grammar."""
    COMPOUND = 2
    """"client_secret", "api_key": a credential, if it is not the name of one."""
    PASSWORD = 3


_LONGEST = 200
_BOUND = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OTHER = re.compile(r"[^a-z0-9]+")
_LAST = re.compile(
    r"(?<=.)_?(?:value|val|plain|plain_?text|clear_?text|text|string|str|data|raw|prod|production"
    r"|staging|stage|dev|test|live|old|new|current|previous|default|primary|secondary|backup|b64"
    r"|base64|encoded|decoded|arg|var|\d{1,4})$"
)
_PASSWORD = re.compile(
    r"(?:password|passwd|passphrase|passwort|passcode|kennwort|passwrd|wpa_psk|(?:^|_)psk"
    r"|(?:^|_)(?:pass|pwd|pw|pswd|pword)|(?:db|sql|user|root|admin|auth|smtp|mail|ldap|ftp|redis"
    r"|login|bind|store|key|sa|pg|svc|api|srv)(?:pass|pwd|pw))s?$"
)
_COMPOUND = re.compile(
    r"(?:(?:client|app|application|shared|consumer|webhook|jwt|cookie|session|auth|oauth2?|oidc"
    r"|signing|hmac|totp|otp|tsig|rndc|hash|user|admin|db|api|bot|stripe|slack|github|gitlab|aws|azure"
    r"|gcp|google|twilio|encryption|join|cluster|root|vault|master|service|access|refresh|id|bearer"
    r"|personal|private|deploy|registry|npm|pypi|ci|runner|agent|bootstrap|device|login|security"
    r"|identity|x_vault|x_auth|x_api|secret|csi|k8s|kube|pat|sas|grafana|datadog|sentry|sonar"
    r"|discord|telegram|jenkins|ansible|digitalocean|do|cloudflare|cf|heroku|mailgun|sendgrid"
    r"|consul|nomad|argocd|harbor|nexus|artifactory|docker|quay|nats|kafka|mqtt|influx\w*|rabbitmq"
    r"|redis|mongo|mysql|postgres|es|elastic|kibana)_?(?:secret|token)"
    r"|(?:api|access|secret|private|encrypt\w*|decrypt\w*|signing|sign|master|shared|account|storage"
    r"|session|hmac|jwt|auth|crypt\w*|cipher|aes|des|server|service|consumer|subscription|function"
    r"|app|application|ssh|tls|ssl|rsa|gpg|pgp|webhook|integration|deploy|admin|root|license|ingest"
    r"|ingestion|write|event_?hub|shared_?access|fernet|token|cookie|csrf|stripe|openai|datadog|sendgrid|mailgun|maps|google|aws"
    r"|security|age|wireguard|wg|preshared|pre_shared|cluster|join|gossip|serf)_?key"
    r"|secret_?access_?key|secret_key_base|connection_?string|conn_?str|client_?key_?data"
    r"|sas_?url|auth_?string|access_?code|recovery_?code|unseal_?key|root_?token|secret_?string"
    r"|secret_?id|bearer|webhook_?url|mnemonic|seed_?phrase)s?$"
)
_BARE = re.compile(
    r"(?:secret|token|credential|cred|(?:^|_)auth|authorization|(?:^|_)cookie|(?:^|_)otp"
    r"|(?:^|_)sas|(?:^|_)apikey)s?$"
)
_NOT = re.compile(
    r"(?:^|_)(?:checksum|hash|hashed|digest|fingerprint|sha1|sha256|sha512|md5|etag|public|pub)"
    r"(?:_|$)|(?:^|_)(?:next|page|continu\w*|sync|csrf|xsrf|eos|bos|pad|unk|sep|cls|mask|special|stop"
    r"|cancel\w*|resume|cursor|image|think\w*|start|end|begin|max|min|num|num_new|total|input|output"
    r"|added|extra|prompt|completion|use|show|hide|has|is|no|with|need|needs|require|requires"
    r"|required|allow|enable|disable|create|delete|manage|mount|automount\w*|validate|generate"
    r"|forgot|forget|invalid|wrong|missing|empty)_?"
    r"(?:password|passwd|pass|secret|token|key|private|credential|auth)s?$"
)
_RESULT = re.compile(r"[A-Z]\w*\.PASS")
"""A member of an enumeration of results, beside FAIL."""


@functools.lru_cache(maxsize=65_536)
def telling(name: str) -> Telling:
    """Weigh a name: camelCase, snake_case, kebab-case, dotted; a trailing number does not count."""
    if not name or len(name) > _LONGEST or _RESULT.fullmatch(name):
        return Telling.NOTHING
    snake = snake_case(name)
    for _ in range(3):
        found = _weigh(snake)
        if found or not (shorter := _LAST.sub("", snake)) or shorter == snake:
            return found
        snake = shorter
    return Telling.NOTHING


def snake_case(name: str) -> str:
    """Return a name in small letters, its words parted by underscores."""
    return _OTHER.sub("_", _BOUND.sub("_", name).lower()).strip("_")


def _weigh(snake: str) -> Telling:
    if _NOT.search(snake):
        return Telling.NOTHING
    if _PASSWORD.search(snake):
        return Telling.PASSWORD
    if _COMPOUND.search(snake):
        return Telling.COMPOUND
    return Telling.BARE if _BARE.search(snake) else Telling.NOTHING


_HARMLESS = re.compile(
    r"(?:^|_)(?:user(?:_?name)?|login|host(?:_?name)?|server|port|db_?name|database|schema|name"
    r"|namespace|region|bucket|endpoint|type|issuer|e?mail|realm|scheme|protocol|domain|driver"
    r"|client_?id|tenant_?id|project(?:_?id)?|registry|enabled|version|cluster_?name|log_?level"
    r"|environment|env|path|repository|repo)$"
)


@functools.lru_cache(maxsize=4096)
def harmless(name: str) -> bool:
    """Tell whether a key of a Secret is one of those that stand beside the secret: user, host."""
    return _HARMLESS.search(snake_case(name)) is not None
