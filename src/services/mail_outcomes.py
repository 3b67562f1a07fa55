"""What has become so far of a mail that has no result, recipient by recipient: read from its rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

from processors.interfaces import WAITING_STATES, Delivery
from records.task_moves import EXPIRED
from records.task_records import TaskRecord
from services.wiring import parts

SAID_LAST = frozenset({"refused", "cancelled", "expired"})
"""Of those in these states it is told what their server has said, too."""


def recipients_of(record: TaskRecord) -> dict[str, Any]:
    """Return the recipients of one mail by what became of them, under the names of its result.

    Those who were still to be tried are `deferred`, with `next_attempt_at`; once the task was cancelled or has expired,
    they are `cancelled` or `expired`, with the last words of their server. What nobody is in is left out.
    """
    found: dict[str, Any] = {}
    for address, row in parts().deliveries.open(record.id, {0: {}})[0].items():
        state = row.outcome.state
        if state in WAITING_STATES and not record.final:
            found.setdefault("deferred", {})[address] = _put_off(row, record)
        elif state in WAITING_STATES:  # an older program left it so, and the leader has not come to it yet
            left_as = "expired" if record.error_type == EXPIRED.error_type else "cancelled"
            found.setdefault(left_as, {})[address] = _said(row)
        elif state in {"accepted", "unknown", "handing"}:
            found.setdefault("accepted" if state == "accepted" else "unknown", []).append(address)
        else:
            found.setdefault(state, {})[address] = _said(row) if state in SAID_LAST else row.outcome.text
    return found


def _said(row: Delivery) -> dict[str, Any]:
    return {"code": row.outcome.code, "enhanced": row.outcome.enhanced, "text": row.outcome.text}


def _put_off(row: Delivery, record: TaskRecord) -> dict[str, Any]:
    due = max(datetime.now(UTC) + timedelta(seconds=row.wait), record.due_at)  # whoever has no wait waits for the task
    return _said(row) | {"next_attempt_at": due.isoformat(timespec="seconds")}
