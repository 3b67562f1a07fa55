"""Bulks of mails and campaigns of calls as lists: how each stands, by its members."""

from collections.abc import Mapping
from typing import Any

from records.task_records import FINAL, TaskState
from services.parent_progress import BULK_EMAILS, CAMPAIGN, counts_of, pause_of
from services.task_filters import filter_of
from services.task_queries import find_tasks
from services.wiring import parts

MOST = 100


def bulks(cursor: str | None, limit: int, *, wall: str | None, **filters: object) -> dict[str, Any]:
    """Return a page of bulks of mails, the newest first: `items`, and `next_cursor`, as `find_tasks` does.

    Args:
        cursor: `next_cursor` of the page before, with the same filters.
        limit: at most so many, up to 100.
        wall: the only tenant whose bulks the caller may see.
        filters: of `TaskFilter`, by their names.

    Raises:
        InvalidArgument: the cursor or a filter is not acceptable.
    """
    page = find_tasks(filter_of(name=BULK_EMAILS, **filters), cursor, limit, wall=wall)
    return page | {"items": [{"task_id": row["task_id"]} | _standing(row) for row in page["items"]]}


def campaigns(cursor: str | None, limit: int, *, wall: str | None, **filters: object) -> dict[str, Any]:
    """Return a page of campaigns, the newest first, as `bulks` does; each with its live calls."""
    page = find_tasks(filter_of(name=CAMPAIGN, **filters), cursor, limit, wall=wall)
    return page | {"items": [_campaign(row) for row in page["items"]]}


def _campaign(row: Mapping[str, Any]) -> dict[str, Any]:
    campaign_id = row["task_id"]
    return {"campaign_id": campaign_id, "live_calls": len(parts().calls.live_of(campaign_id))} | _standing(row)


def _standing(row: Mapping[str, Any]) -> dict[str, Any]:
    task_id: str = row["task_id"]
    counts = counts_of(task_id)
    return {
        "status": row["status"],
        "paused": TaskState(row["status"]) not in FINAL and pause_of(task_id) is not None,
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
        "total": sum(counts.values()),
        "counts": counts,
        "tenant": row["tenant"],
        "tags": row["tags"],
    }
