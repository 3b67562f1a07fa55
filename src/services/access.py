"""Who may come in: the admin key of the API, and Flower's login. Both are made at the first start."""

import hashlib
import hmac
from pathlib import Path

from config.secret_files import secret
from config.settings import Settings

FLOWER_USER = "csai"


def admin_key_file(settings: Settings) -> Path:
    """Return where the admin key lies."""
    return settings.run_dir / "api-key"


def flower_password_file(settings: Settings) -> Path:
    """Return where Flower's password lies."""
    return settings.run_dir / "flower-password"


def admin_key(settings: Settings) -> str:
    """Return the admin key: 256 random bits."""
    return secret(admin_key_file(settings))


def flower_login(settings: Settings) -> str:
    """Return Flower's login as `user:password`."""
    return f"{FLOWER_USER}:{secret(flower_password_file(settings))}"


class AdminKey:
    """Knows the admin key by its SHA-256 alone.

    Args:
        settings: whose key it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._digest = _digest(admin_key(settings))

    def is_key(self, given: str) -> bool:
        """Tell whether this is the key, in a time that tells nothing about it."""
        return hmac.compare_digest(self._digest, _digest(given))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
