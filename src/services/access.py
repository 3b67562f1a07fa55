"""Who may come in: keys of the API with what each may do, and Flower's login.

The admin key and Flower's password are files that are made at the first start; all other keys are rows.
"""

import hashlib
import hmac
import json
import os
import pwd
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from config.secret_files import secret
from config.settings import Settings
from records.api_keys import ApiKey, ApiKeys

FLOWER_USER = "csai"

SCOPES = ("read", "submit", "operate", "admin")
"""What a key may do; each has those before it."""

PREFIX = "csai_"
RANDOM_BYTES = 32
KEY_CHARACTERS = len(PREFIX) + 43
"""256 bits are 43 characters of URL-safe base64."""

FRESH_SECONDS = 3.0
"""So long a key that was looked up is not looked up again: within 5 s a revocation binds in every process."""

USED_EVERY_SECONDS = 60.0
MOST_KNOWN = 10_000
"""Keys that a process remembers; of more than that, the others are looked up each time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something.

    Attributes:
        kind: `key`, or `user`: of this machine, or of the dashboard.
        name: what people call them.
        scopes: all that they may do.
        tenant: whose tasks alone they see and touch; None: everybody's.
        key_id: of their key.
        origin: `api`, `cli` or `dashboard`.
    """

    kind: str
    name: str
    scopes: frozenset[str]
    tenant: str | None = None
    key_id: str | None = None
    origin: str = "api"

    @property
    def actor(self) -> str:
        """What the audit calls them; a key's name may be another one's, too."""
        return f"{self.name} ({self.key_id})" if self.key_id else self.name

    @property
    def counted_as(self) -> str:
        """By what is told how often they ask and how many wait for them."""
        return self.key_id or self.name

    def may(self, scope: str) -> bool:
        """Tell whether they may do what wants this scope."""
        return scope in self.scopes

    def sees(self, tenant: str | None) -> bool:
        """Tell whether what is this tenant's, or nobody's, is there for them."""
        return self.tenant is None or self.tenant == tenant


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a key of ours is taken no more."""

    why: str


def reach(scopes: list[str] | tuple[str, ...]) -> frozenset[str]:
    """Return all that these scopes stand for, each with those before it."""
    known = [SCOPES.index(scope) for scope in scopes if scope in SCOPES]
    return frozenset(SCOPES[: max(known, default=-1) + 1])


ADMIN = Caller("key", "admin", reach(("admin",)))
"""Who brings the key of the file; it cannot be revoked, so that nobody is locked out."""


def at_terminal() -> Caller:
    """Return who types at a terminal of this machine; whoever may read the database's password may do everything."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = str(user)  # a container's user need not have a name
    return Caller("user", name, ADMIN.scopes, origin="cli")


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


def new_key() -> str:
    """Return a new key: `csai_` and 256 random bits."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(key: str) -> str:
    """Return by what a key is known: its SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(once: str | None, *wanted: str) -> str:
    """Return an id of 16 figures: of no other, or for who says `once` of all that is wanted with that word."""
    return secrets.token_hex(8) if once is None else digest_of(json.dumps([once, *wanted]))[:16]


class AdminKey:
    """Knows the admin key by its SHA-256 alone.

    Args:
        settings: whose key it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._digest = digest_of(admin_key(settings))

    def has(self, digest: str) -> bool:
        """Tell whether this is the key's SHA-256, in a time that tells nothing about it."""
        return hmac.compare_digest(self._digest, digest)


@dataclass(slots=True)
class _Known:
    """A key that was looked up: what it is, until when that is fresh, and when its use was noted."""

    digest: str
    found: Caller | Refused
    until: float
    noted: float | None = None


class Keys:
    """Tells whose key it is; of a key that was used a moment ago without asking the database.

    Args:
        admin: the key of the file.
        rows: gives all others, once they are needed.
        clock: seconds that only go forward.
    """

    def __init__(
        self, admin: AdminKey, rows: Callable[[], ApiKeys], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._admin = admin
        self._rows = rows
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def at_hand(self, digest: str) -> Caller | Refused | None:
        """Return whose key has this SHA-256, or None where that has to be looked up."""
        if self._admin.has(digest):
            return ADMIN
        known = self._known.get(digest)
        if known is None or not hmac.compare_digest(known.digest, digest) or self._clock() >= known.until:
            return None
        self._note_use(known)
        return known.found

    def knows(self, digest: str) -> bool:
        """Tell whether this was a key of ours when it was last looked up."""
        return digest in self._known

    def looked_up(self, digest: str) -> Caller | Refused | None:
        """Return whose key has this SHA-256, or None where it is nobody's.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        since = self._clock()  # before the look: what is revoked meanwhile is fresh for no longer
        row = self._rows().find(digest)
        if row is None or not hmac.compare_digest(row.key.digest, digest):
            with self._lock:
                self._known.pop(digest, None)
            return None
        found = _standing(row.key, row.at)
        known = _Known(digest, found, since + _fresh_for(row.key, row.at))
        with self._lock:
            before = self._known.pop(digest, None)
            known.noted = before and before.noted
            if len(self._known) < MOST_KNOWN:
                self._known[digest] = known
        self._note_use(known)
        return found

    def _note_use(self, known: _Known) -> None:
        """Note, once a minute and without waiting, that a key was used."""
        if isinstance(known.found, Refused) or known.found.key_id is None:
            return
        now = self._clock()
        if known.noted is None or now - known.noted >= USED_EVERY_SECONDS:
            known.noted = now
            self._rows().used(known.found.key_id)


def _standing(key: ApiKey, now: datetime) -> Caller | Refused:
    if key.revoked_at is not None:
        return Refused(f"This key was revoked at {key.revoked_at.isoformat()}.")
    if key.expires_at is not None and key.expires_at <= now:
        return Refused(f"This key expired at {key.expires_at.isoformat()}.")
    return Caller("key", key.name, reach(key.scopes), key.tenant, key.id)


def _fresh_for(key: ApiKey, now: datetime) -> float:
    """Return for how many seconds this is true: not beyond the key's own end."""
    left = FRESH_SECONDS if key.expires_at is None else (key.expires_at - now).total_seconds()
    return min(FRESH_SECONDS, left) if left > 0 else FRESH_SECONDS
