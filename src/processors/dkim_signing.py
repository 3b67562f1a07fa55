"""DKIM (RFC 6376): a domain's signature over a mail, in relaxed/relaxed form, by RSA or Ed25519 (RFC 8463)."""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from processors.errors import ConfigurationError

SIGNED = frozenset(
    {
        *("from", "to", "cc", "reply-to", "subject", "date", "message-id", "in-reply-to", "references"),
        *("mime-version", "content-type", "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post"),
    }
)
OVERSIGNED = "from"
"""Signed once more than it is there: whoever adds a second author breaks the signature (RFC 6376 8.15)."""

LEAST_BITS = 2048
"""RFC 8301 3.2 asks signers for at least so many."""

NAMES_PER_LINE = 5
BASE64_LINE = 72
SPACES = re.compile(r"[ \t\r\n]+")


class DkimSigner:
    """Fulfils `processors.mail_interfaces.Signer`.

    Args:
        domain: the one that signs (d=).
        selector: where its public key is published: `<selector>._domainkey.<domain>` (s=).
        pem: the private key, PKCS #8 or PKCS #1 without a password.

    Raises:
        ConfigurationError: it is no such key, or too short.
    """

    def __init__(self, domain: str, selector: str, pem: bytes) -> None:
        self.domain, self._selector = domain, selector
        self._algorithm, self._sign = _signing(pem)

    def sign(self, lines: Sequence[str], body_hash: bytes, date: datetime) -> str:
        """Return the header `DKIM-Signature`; its time is the mail's, so that every attempt has the same one."""
        fields = [(name.lower(), value) for name, _, value in (line.partition(":") for line in lines)]
        signed = [(name, value) for name, value in fields if name in SIGNED]
        names = [*(name for name, _ in signed), OVERSIGNED]
        rows = [":".join(names[at : at + NAMES_PER_LINE]) for at in range(0, len(names), NAMES_PER_LINE)]
        unsigned = (
            f"v=1; a={self._algorithm}; c=relaxed/relaxed; d={self.domain};\r\n s={self._selector};"
            f" t={int(date.timestamp())};\r\n h=" + ":\r\n  ".join(rows) + f";\r\n bh={_base64(body_hash)};\r\n b="
        )
        # Several fields of one name would be taken from below (5.4.2); there are none.
        own = _relaxed("dkim-signature", unsigned).removesuffix("\r\n")
        hashed = "".join(_relaxed(name, value) for name, value in signed) + own
        signature = _base64(self._sign(hashed.encode("ascii")))
        folded = "\r\n ".join(signature[at : at + BASE64_LINE] for at in range(0, len(signature), BASE64_LINE))
        return f"DKIM-Signature: {unsigned}{folded}"


def _signing(pem: bytes) -> tuple[str, Callable[[bytes], bytes]]:
    """Return how a key signs, by its name in a=."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their words may tell of the key
        raise ConfigurationError(
            "EMAIL_DKIM_KEY_FILE: must hold one private key in PEM form, without a password; make one by "
            "`openssl genrsa -out dkim.pem 2048`."
        ) from None
    if isinstance(key, Ed25519PrivateKey):
        return "ed25519-sha256", lambda content: key.sign(hashlib.sha256(content).digest())  # RFC 8463 3
    if isinstance(key, RSAPrivateKey) and key.key_size >= LEAST_BITS:
        return "rsa-sha256", lambda content: key.sign(content, PKCS1v15(), hashes.SHA256())
    found = f"RSA with {key.key_size} bits" if isinstance(key, RSAPrivateKey) else type(key).__name__
    raise ConfigurationError(
        f"EMAIL_DKIM_KEY_FILE: must be RSA with {LEAST_BITS} bits or more, or Ed25519; is {found}."
    )


def _relaxed(name: str, value: str) -> str:
    """Return a field in the relaxed form (3.4.2)."""
    return f"{name}:{SPACES.sub(' ', value).strip()}\r\n"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
