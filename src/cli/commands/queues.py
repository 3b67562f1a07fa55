"""`csai queues`: how full each is, and stopping, starting and emptying it."""

import time
from typing import Annotated

import typer

from cli.acts import change, note
from cli.exit_codes import TOLD
from cli.following import Timeout, check_timeout
from cli.output import AsJson, Yes, confirm, print_json, print_table, span, state, tell
from processors.errors import TaskTimeout
from processors.health import QueueFigures
from services import acts, monitoring
from services.access import at_terminal
from services.celery_app import QUEUES
from services.celery_service import celery_service
from services.wiring import parts

Queue = Annotated[
    str, typer.Argument(metavar="NAME", help=f"One of {', '.join(QUEUES)}.", autocompletion=lambda: list(QUEUES))
]

COLUMNS = ("queue", "depth", "oldest", "running", "scheduled", "in/min", "out/min", "consumers", "paused", "limit")
NUMBERS = frozenset({"depth", "oldest", "running", "scheduled", "in/min", "out/min", "consumers"})
POLL_SECONDS = 0.5


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How full each queue is, and steering it.", epilog=TOLD)
    group.callback(invoke_without_command=True)(queues)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("drain")(drain)
    group.command("purge")(purge)
    root.add_typer(group, name="queues")


def queues(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how full each queue is: what waits, how long, what runs, its rates, who listens, its pause and its limit."""
    if context.invoked_subcommand is not None:
        return
    found = monitoring.queue_statistics(parts(), monitoring.listeners())
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = [_row(name, figures) for name, figures in found.queues.items()]
    print_table(COLUMNS, [*rows, _row("all", found.totals)], right=NUMBERS)


def pause(queue: Queue, as_json: AsJson = False) -> None:
    """Let nothing of a queue start until it is resumed; what runs goes on."""
    change(
        "queue.pause",
        ("queue", queue),
        lambda: celery_service.pause_queue(queue),
        f"The queue {queue} is paused.",
        f"The queue {queue} was paused before.",
        as_json=as_json,
    )


def resume(queue: Queue, as_json: AsJson = False) -> None:
    """Let a paused queue's tasks start again."""
    change(
        "queue.resume",
        ("queue", queue),
        lambda: celery_service.resume_queue(queue),
        f"The queue {queue} goes on.",
        f"The queue {queue} was not paused.",
        as_json=as_json,
    )


def drain(
    queue: Queue,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until none of its tasks runs.")] = False,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Pause a queue, and tell how many of its tasks still run."""
    check_timeout(timeout, waits=wait)
    running = celery_service.drain(queue)
    note("queue.drain", ("queue", queue))
    began = time.monotonic()
    while wait and running:
        if timeout is not None and time.monotonic() - began >= timeout:
            raise TaskTimeout(f"{running} tasks of the queue {queue} still run after {timeout:g} s; it stays paused.")
        time.sleep(POLL_SECONDS)
        running = celery_service.drain(queue)
    tell({"running": running}, f"The queue {queue} is paused; {running} of its tasks run.", as_json=as_json)


def purge(queue: Queue, yes: Yes = False, as_json: AsJson = False) -> None:
    """Cancel all that waits in a queue, for good, but not what is scheduled for later; asks first."""
    count = acts.count_purge(queue)
    if not yes:
        confirm(f"Cancel {count} waiting {_tasks(count)} of the queue {queue}?")
    cancelled = acts.purge_queue(at_terminal(), queue, None if yes else count)
    tell(
        {"cancelled": cancelled},
        f"{cancelled} {_tasks(cancelled)} of the queue {queue} {'is' if cancelled == 1 else 'are'} cancelled.",
        as_json=as_json,
    )


def _tasks(count: int) -> str:
    return "task" if count == 1 else "tasks"


def _row(name: str, figures: QueueFigures) -> tuple[object, ...]:
    return (
        name,
        figures.depth,
        span(figures.oldest_age_seconds),
        figures.unacknowledged,
        figures.scheduled,
        figures.came_per_minute,
        figures.ended_per_minute,
        figures.consumers,
        state("paused") if figures.paused else "-",
        figures.limit,
    )
