"""Failures by what failed and how, as people are told them: secrets masked, with the filter that finds them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from processors.redaction import redact_text
from records import failure_groups as records
from services.wiring import parts

LONGEST_HOURS = 30 * 24
MOST_GROUPS = 100
ERROR_CHARACTERS = 500


def failure_groups(hours: float) -> dict[str, Any]:
    """Return the groups of so many hours, the largest first.

    Returns:
        `groups`: each with `name`, `error_type`, `error` (of the newest), `count`, `open` (those that were not
        submitted again), `first_at`, `last_at`, `task_id` (of the newest), and `filter`, as the list of tasks takes it;
        `partial`: whether there are more failures than are looked at, the newest ones.
    """
    since = datetime.now(UTC) - timedelta(hours=hours)
    found, partial = records.failure_groups(parts().database, hours, MOST_GROUPS)
    return {"groups": [_told(one, since) for one in found], "partial": partial}


def _told(group: records.FailureGroup, since: datetime) -> dict[str, Any]:
    alike = {"name": group.name, "error_type": group.error_type, "fingerprint": group.fingerprint}
    return {
        "name": group.name,
        "error_type": group.error_type,
        "error": group.error and redact_text(group.error)[:ERROR_CHARACTERS],
        "count": group.count,
        "open": group.open,
        "first_at": group.first_at,
        "last_at": group.last_at,
        "task_id": group.task_id,
        "filter": {
            "state": "FAILURE",
            **{name: value for name, value in alike.items() if value},
            "finished_from": since.isoformat(timespec="seconds"),
        },
    }
