"""The key by which push services know this one, and browsers subscribe to it: a P-256 key in a PEM file (RFC 8292)."""

import base64
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from config.secret_files import given_secret
from processors.errors import ConfigurationError

CURE = "`csai config vapid` makes one"


def make_key(file: Path) -> None:
    """Make a key that only this user can read.

    Raises:
        OSError: the file is there already, or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def loaded_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key in a file.

    Raises:
        ConfigurationError: there is none that can be used.
    """
    try:
        key = load_pem_private_key(given_secret(file), None)
    except OSError as error:
        raise ConfigurationError(f"VAPID_PRIVATE_KEY_FILE {file} cannot be used: {error.strerror}; {CURE}.") from None
    except (ValueError, TypeError):
        raise ConfigurationError(
            f"VAPID_PRIVATE_KEY_FILE {file} is no private key as PEM without a password; {CURE}."
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(f"VAPID_PRIVATE_KEY_FILE {file} must be a key of the curve P-256; {CURE}.")
    return key


def public_key(file: Path) -> str:
    """Return what a page gives to `pushManager.subscribe` as `applicationServerKey`, as base64url."""
    point = loaded_key(file).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).decode().rstrip("=")
