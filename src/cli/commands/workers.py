"""`csai workers`: the working processes that live, with what each runs."""

from typing import Any

import typer

from cli.output import AsJson, local, print_json, print_table
from services.worker_list import living_workers

COLUMNS = ("worker", "host", "pid", "of", "since", "MB", "runs")


def register(root: typer.Typer) -> None:
    """Add the command."""
    root.command("workers")(workers)


def workers(as_json: AsJson = False) -> None:
    """List the working processes that live, with what each runs."""
    found = living_workers()
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, map(_row, found), nothing="No worker lives.", right={"pid", "of", "MB"})


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    runs = [f"{task['name']} {task['task_id']}" for task in one["tasks"]]
    overrun = [f"{one['overrun']}, which was ended and goes on"] if one["overrun"] else []
    return (
        one["name"],
        one["host"],
        one["pid"],
        one["parent_pid"],
        local(one["started_at"]),
        one["memory_mb"],
        "\n".join([*runs, *overrun]),
    )
