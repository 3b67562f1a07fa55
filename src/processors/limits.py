"""Limits: what they may be set to, and what they are set for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from processors.errors import InvalidArgument

SECONDS = {"s": 1, "m": 60, "h": 3600}
LETTERS = {seconds: letter for letter, seconds in SECONDS.items()}
MOST_STARTS = 1_000_000
MOST_AT_ONCE = 1_000_000
MOST_WEBHOOKS, MOST_WEBHOOKS_TO_ONE = 10, 5
MOST_KEYS = 8
LONGEST_SCOPE = 255
LIFTED = "none"
EVERY = "*"

OWN_KINDS = ("queue", "category", "task", "tenant")
"""What a scope may be of that every task says of itself."""

RESERVED = ("pause", "turn", "unpaced")
"""What a hold may be beside a limit's scope."""

_RATE = re.compile(r"([1-9][0-9]{0,9})/([smh])")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff*]+")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many starts in any so many seconds."""

    starts: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.starts}/{LETTERS[self.seconds]}"


def rate_of(value: Any) -> Rate | None:
    """Return the rate that a text such as `50/m` means; None for `none`.

    Raises:
        InvalidArgument: it is no rate.
    """
    if value == LIFTED:
        return None
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[1]) > MOST_STARTS:
        raise InvalidArgument(
            f"rate: must be 1 to {MOST_STARTS} starts per s, m or h such as 50/m, or none; got {value!r:.100}."
        )
    return Rate(int(found[1]), SECONDS[found[2]])


def concurrency_of(value: Any) -> int | None:
    """Return how many may run at once; None for `none`.

    Raises:
        InvalidArgument: it is no such number.
    """
    if value == LIFTED:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_AT_ONCE:
        raise InvalidArgument(f"concurrency: must be 1 to {MOST_AT_ONCE}, or none; got {value!r:.100}.")
    return value


def kind_of(scope: str) -> str:
    """Return what a scope is of: the word before its colon."""
    return scope.partition(":")[0]


def every_of(scope: str) -> str | None:
    """Return the scope that limits each of this one's kind by itself, or None where a kind has none."""
    kind = kind_of(scope)
    return None if kind in OWN_KINDS and kind != "tenant" else f"{kind}:{EVERY}"


def checked_scope(value: Any) -> str:
    """Return a scope that a limit may be set for, such as `queue:email`, `tenant:*` or `provider:openai`.

    Raises:
        InvalidArgument: it is none.
    """
    kind, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    star = name == EVERY and every_of(f"{kind}:") is not None
    if not colon or not _is_kind(kind) or not (star or _NAME.fullmatch(name)) or len(value) > LONGEST_SCOPE:
        raise InvalidArgument(
            "scope: must be queue:, category:, task:, tenant: or a kind of your own and a colon, and a name after it, "
            f"such as queue:email, provider:openai or tenant:* for each tenant by itself; got {value!r:.100}."
        )
    return value


def checked_keys(task: str, keys: Any) -> list[str] | None:
    """Return the keys that a task is limited by, each once and in order; None where there are none.

    Args:
        task: its name.
        keys: what its `limited_by` returned.

    Raises:
        InvalidArgument: one of them is no key.
    """
    if isinstance(keys, str) or not isinstance(keys, Sequence) or len(keys) > MOST_KEYS:  # pyright: ignore[reportUnknownArgumentType] - anything may come
        raise InvalidArgument(
            f"limited_by of {task} must return a list of at most {MOST_KEYS} keys such as provider:openai; "
            f"got {keys!r:.100}."
        )
    found = sorted({_checked_key(task, key) for key in keys})  # pyright: ignore[reportUnknownVariableType] - anything may come
    return found or None


def _checked_key(task: str, key: Any) -> str:
    kind, _, name = key.partition(":") if isinstance(key, str) else ("", "", "")
    free = _is_kind(kind) and kind not in OWN_KINDS
    if not free or not _NAME.fullmatch(name) or len(key) > LONGEST_SCOPE:
        raise InvalidArgument(
            f"limited_by of {task} must return keys of a kind of its own such as provider:openai; got {key!r:.100}."
        )
    return key


def _is_kind(word: str) -> bool:
    return bool(_KIND.fullmatch(word)) and word not in RESERVED


@dataclass(frozen=True, slots=True)
class Limit:
    """What is in force for one scope; None is no limit."""

    rate: Rate | None = None
    concurrency: int | None = None

    def __bool__(self) -> bool:
        return self.rate is not None or self.concurrency is not None


@dataclass(frozen=True, slots=True)
class DefaultLimits:
    """What settings allow, by what it is for; it is written nowhere.

    Attributes:
        usual: of each category for itself that has no figure of its own.
        high_priority: of the queue of that name, in place of the usual figure.
        categories: of these categories, in whatever queue.
        at_once: how many of a scope run at once; of `webhook:*`, of each of that kind by itself.
    """

    usual: Rate | None = None
    high_priority: Rate | None = None
    categories: Mapping[str, Rate | None] | None = None
    at_once: Mapping[str, int] = field(default_factory=dict[str, int])

    def binding(self, category: str, queue: str, parent_id: str | None = None) -> dict[str, Rate]:
        """Return the rates that bind a task, by scope; what a parent paces and the service's own work are free."""
        if category in EXEMPT or (parent_id is not None and category not in UNPACED_PARENTS):
            return {}
        figures = self.categories or {}
        urgent = queue == HIGH_PRIORITY
        found = {f"queue:{queue}": self.high_priority} if urgent else {}
        if category in figures:
            found[f"category:{category}"] = figures[category]
        elif not urgent:
            found[f"category:{category}"] = self.usual
        return {scope: rate for scope, rate in found.items() if rate is not None}

    def of(self, scope: str) -> Rate | None:
        """Return the rate of a scope, for those whom it binds."""
        kind, _, name = scope.partition(":")
        if kind == "queue":
            return self.high_priority if name == HIGH_PRIORITY else None
        return self.binding(name, "").get(scope) if kind == "category" else None

    def concurrency_of(self, scope: str) -> int | None:
        """Return how many of a scope may run at once, without a figure that was set."""
        return self.at_once.get(scope, self.at_once.get(every_of(scope) or scope))


def webhooks_at_once(slots: int) -> dict[str, int]:
    """Return how many webhooks are sent at once, in all and to each endpoint, where a worker has so many slots.

    Never as many as it has, and fewer to one endpoint: one that never answers holds a slot for 15 s each time.
    """
    most = max(1, min(MOST_WEBHOOKS, slots - 1))
    return {"task:notification.send_webhook": most, "webhook:*": max(1, min(MOST_WEBHOOKS_TO_ONE, most - 1))}


HIGH_PRIORITY = "high_priority"
UNPACED_PARENTS = ("notification",)
"""Categories whose parents pace nothing: each of their parts is a start like any other."""

EXEMPT = ("monitoring", "cleanup", "scheduling", "webhook")
"""Categories whose starts have no limit by default: their work is the service's own."""
