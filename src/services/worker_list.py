"""The working processes as people see them."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from services.wiring import parts


def living_workers() -> list[dict[str, Any]]:
    """Return the working processes that live, by name: whose child each is, since when, what it holds and runs."""
    running: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for task_id, name, worker_id in parts().tasks.running():
        running[worker_id].append({"task_id": task_id, "name": name})
    rows = sorted(parts().workers.living(), key=lambda row: (row.name, row.pid))
    return [_shown(asdict(row)) | {"tasks": running[row.id]} for row in rows]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its moments as texts, without what only a dead one has."""
    kept = ("id", "name", "host", "pid", "parent_pid", "memory_mb", "overrun")
    return {name: row[name] for name in kept} | {name: row[name].isoformat() for name in ("started_at", "seen_at")}
