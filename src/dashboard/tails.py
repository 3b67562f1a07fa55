"""What a task logs, as a part of its page: read, masked and rendered once for all who look at the same."""

from dataclasses import dataclass
from functools import lru_cache

from dashboard.rendering import rendered
from processors.redaction import redact_text
from services.status import line_of
from services.wiring import parts

LINES = 500
KEPT = 64
"""Parts that are kept for others who look; a task's lines have at most 1 MB."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Lines of a task.

    Attributes:
        event: `logs` is all that the page shows, `lines` what comes behind that.
        place: of the last line; 0 where there is none.
    """

    event: str
    html: str
    place: int


def newest(task_id: str) -> Tail:
    """Return the last lines of a task."""
    return tail(task_id, 0, last_places([task_id]).get(task_id, 0))


def last_places(task_ids: list[str]) -> dict[str, int]:
    """Return the place of the last line of each of these tasks that has one."""
    return parts().task_logs.last_places(task_ids)


@lru_cache(KEPT)
def tail(task_id: str, after: int, last: int) -> Tail:
    """Return the lines behind a place; all where there are more of them than a page shows.

    Args:
        task_id: whose.
        after: the place of the last line that is shown; 0 where none is.
        last: the place of the last line that there is; a task's lines up to there never change.
    """
    lines = parts().task_logs.of(task_id, LINES, after=after) if last > after else []
    shown = [line_of(line) | {"text": redact_text(line.text)} for line in lines]
    html = rendered("task_lines.html", lines=shown).decode()
    event = "lines" if after and len(lines) < LINES else "logs"
    return Tail(event, html, lines[-1].place if lines else after)
