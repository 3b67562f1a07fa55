"""Who did what: one function writes every act down, whoever did it and wherever from."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from datetime import datetime
from typing import Any

from processors.errors import ServiceUnavailable
from processors.redaction import MASK, redact
from records.audit import Act, AuditRow, WantedActs
from services import cursors
from services.access import Caller
from services.wiring import parts

MOST_CHARACTERS = 8_000
LONGEST_TEXT = 500

ACT = re.compile(r"(?=.{1,64}\Z)[a-z_]+\.[a-z_]+")
KIND = re.compile(r"[a-z_]{1,32}")
KEY_TEXT = re.compile(r"csai_[A-Za-z0-9_-]{43}")

log = logging.getLogger(__name__)


def record_act(
    caller: Caller,
    act: str,
    *,
    target: tuple[str, str] | None = None,
    count: int | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: str = "done",
    sure: bool = True,
) -> None:
    """Write down what was done; called after it was done, and only where something was changed.

    What was done stays done where this cannot be written: then it is a line of the log.

    Args:
        caller: who did it, and wherefrom.
        act: noun and verb, such as `queue.purge`.
        target: kind and id of what it was done to, such as `("queue", "email")`.
        count: of what was changed.
        details: the filter that was used, or what else is to be known; secrets are masked.
        outcome: `done`, or `failed` where it ended half way.
        sure: whether to wait for it. False is for acts that leave a record of their own, such as a submit: it is
            written soon, beside other writes, and dropped under too much load.
    """
    written = act_of(caller, act, target=target, count=count, details=details, outcome=outcome)
    try:
        if sure:
            parts().audit.add(written)
        else:
            parts().audit.add_later(written)
    except ServiceUnavailable as error:
        log.error("An act was done and is in no audit: %s; %s", written, error)  # noqa: TRY400 - says what is wrong


def act_of(
    caller: Caller,
    act: str,
    *,
    target: tuple[str, str] | None = None,
    count: int | None = None,
    details: Mapping[str, Any] | None = None,
    outcome: str = "done",
) -> Act:
    """Return an act as it is written down, with secrets masked; for who writes it in a transaction of its own."""
    kind, name = target or (None, None)
    if not ACT.fullmatch(act) or not KIND.fullmatch(kind or "none"):
        raise ValueError(
            f"An act is noun.verb, and a kind one noun, such as queue.purge of a queue; got {act}, {kind}."
        )
    return Act(
        actor_kind=caller.kind,
        actor=caller.actor,
        act=act,
        origin=caller.origin,
        target_kind=kind,
        target_id=name and KEY_TEXT.sub(MASK, redact(name))[:LONGEST_TEXT],
        count=count,
        details=_bounded(details),
        outcome=outcome,
    )


def page(wanted: WantedActs, limit: int, cursor: str | None = None) -> dict[str, Any]:
    """Return a page of acts, the newest first: `items`, and `next_cursor`, which leads to the page behind it, or None.

    Args:
        wanted: which.
        limit: at most so many.
        cursor: `next_cursor` of the page before, with the same filter.

    Raises:
        InvalidArgument: the cursor is none of this filter.
    """
    of = json.dumps(["audit", *astuple(wanted)], default=datetime.isoformat)
    after = None
    if cursor is not None:
        at, row_id = cursors.opened(cursor, of)
        after = datetime.fromisoformat(at), row_id
    rows = acts(wanted, limit + 1, after)
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursors.sealed([last.at.isoformat(), last.id], of)
    return {"items": [shown(row) for row in rows[:limit]], "next_cursor": following}


def acts(wanted: WantedActs, limit: int, after: tuple[datetime, int] | None = None) -> Sequence[AuditRow]:
    """Return acts, the newest first, from behind a moment and an id on."""
    return parts().audit.listed(wanted, limit, after)


def shown(row: AuditRow) -> dict[str, Any]:
    """Return an act as callers read it."""
    target = None if row.target_kind is None else {"kind": row.target_kind, "id": row.target_id}
    return {
        "id": row.id,
        "at": row.at.isoformat(),
        "actor": {"kind": row.actor_kind, "name": row.actor},
        "act": row.act,
        "target": target,
        "count": row.count,
        "details": row.details,
        "origin": row.origin,
        "outcome": row.outcome,
    }


def _bounded(details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return details with secrets masked; very long ones as the beginning of their text."""
    if not details:
        return None
    text = KEY_TEXT.sub(MASK, json.dumps(redact(details), default=str))
    if len(text) > MOST_CHARACTERS:
        return {"cut_off": text[:MOST_CHARACTERS]}
    return json.loads(text, parse_constant=str)  # no database takes NaN
