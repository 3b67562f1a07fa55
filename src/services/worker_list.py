"""The working processes as people see them."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from records.incidents import signal_name
from services.wiring import parts

MOST_DEAD = 50


def living_workers() -> list[dict[str, Any]]:
    """Return the working processes that live, by name: whose child each is, since when, what it holds and runs."""
    running: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for task_id, name, worker_id in parts().tasks.running():
        running[worker_id].append({"task_id": task_id, "name": name})
    rows = sorted(parts().workers.living(), key=lambda row: (row.name, row.pid))
    return [_shown(asdict(row)) | {"tasks": running[row.id]} for row in rows]


def dead_workers() -> list[dict[str, Any]]:
    """Return the working processes that died within a day, the newest first: when each was seen, and how it ended."""
    return [
        _shown(asdict(row)) | {"how": _how(row.exit_code), "stopped_at": row.stopped_at and row.stopped_at.isoformat()}
        for row in parts().workers.died(MOST_DEAD)
    ]


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "fell silent"
    return f"exit code {exit_code}" if exit_code >= 0 else f"killed by {signal_name(exit_code)}"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its moments as texts, without what only a dead one has."""
    kept = ("id", "name", "host", "pid", "parent_pid", "memory_mb", "overrun")
    return {name: row[name] for name in kept} | {name: row[name].isoformat() for name in ("started_at", "seen_at")}
