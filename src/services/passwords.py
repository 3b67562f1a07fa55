"""Passwords that people choose: kept as a slow hash (scrypt, RFC 7914), so that who steals the records has none."""

import base64
import hashlib
import hmac
import secrets
import unicodedata

from processors.errors import InvalidArgument

COST, BLOCK_SIZE, PARALLELISM = 2**14, 8, 5
"""OWASP's figures for scrypt within 16 MiB, which a small machine has for several logins at once."""

SALT_BYTES = 16
HASH_BYTES = 32
GENERATED_BYTES = 18
SHORTEST, LONGEST = 12, 1_000


def check(password: str) -> str:
    """Return a password that may be set.

    Raises:
        InvalidArgument: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidArgument(f"The password must have {SHORTEST} to {LONGEST} characters; got {len(password)}.")
    return password


def generated() -> str:
    """Return a password that nobody guesses: 144 random bits."""
    return secrets.token_urlsafe(GENERATED_BYTES)


def hashed(password: str) -> str:
    """Return what is kept of a password: `scrypt$cost$block size$parallelism$salt$hash`."""
    salt = secrets.token_bytes(SALT_BYTES)
    return _written(salt, _scrypt(password, salt, COST, BLOCK_SIZE, PARALLELISM))


def nobodys() -> str:
    """Return what looks as if it were kept of a password, and is of none; to compare it takes as long."""
    return _written(secrets.token_bytes(SALT_BYTES), secrets.token_bytes(HASH_BYTES))


def matches(password: str, kept: str) -> bool:
    """Tell whether this is the password of which that is kept, in a time that tells nothing about it."""
    _scheme, cost, block_size, parallelism, salt, digest = kept.split("$")
    found = _scrypt(password[:LONGEST], base64.b64decode(salt), int(cost), int(block_size), int(parallelism))
    return hmac.compare_digest(found, base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, cost: int, block_size: int, parallelism: int) -> bytes:
    # The same letters may be typed as different characters (RFC 8265 4.2).
    plain = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    most = 128 * block_size * (cost + parallelism + 2)
    return hashlib.scrypt(plain, salt=salt, n=cost, r=block_size, p=parallelism, maxmem=2 * most, dklen=HASH_BYTES)


def _written(salt: bytes, digest: bytes) -> str:
    ends = (base64.b64encode(one).decode() for one in (salt, digest))
    return "$".join(("scrypt", str(COST), str(BLOCK_SIZE), str(PARALLELISM), *ends))
