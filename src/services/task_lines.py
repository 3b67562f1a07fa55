"""What a task logs is kept with its record: gathered in memory, written in groups, up to a limit."""

import logging
import os
import threading
import time
from contextlib import suppress
from contextvars import Token
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self

from config.log_setup import SERVICE, Keeper, get_logger, kept_by
from records.task_logs import NOTED, ROW_BYTES
from services.wiring import parts

logger = get_logger()

LINE_BYTES = 10_000
TASK_BYTES = 1_000_000
FLUSH_SECONDS = 0.5
"""How long a line waits, at most, for others to be written with it."""

LEVEL_CHARACTERS = 16
LOGGER_CHARACTERS = 255
DROPPED = "What the task logged after this was dropped: no more than 1 MB of a task is kept."


class TaskLines:
    """The lines of one run, from the beginning of its task's body to the end: `with TaskLines(…):`.

    Args:
        task_id: whose.
        run: which.
    """

    __slots__ = (
        "_bytes",
        "_earlier_known",
        "_lock",
        "_numbers",
        "_run",
        "_task_id",
        "_token",
        "_waiting",
        "full",
    )

    def __init__(self, task_id: str, run: int) -> None:
        self.full = False
        self._task_id = task_id
        self._run = run
        self._lock = threading.RLock()  # what the garbage collector ends while it is held may log as well
        self._waiting: list[dict[str, Any]] = []
        self._numbers = count()
        self._bytes = 0
        self._earlier_known = run == 1
        self._token: Token[Keeper | None] | None = None

    def __enter__(self) -> Self:
        self._token = kept_by.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            kept_by.reset(self._token)
        self.flush()

    def keep(self, record: logging.LogRecord, text: str) -> None:
        """Take a line, which is written soon; the last one tells that those after it are dropped."""
        text, size = _cut(text)
        at = datetime.fromtimestamp(record.created, UTC)
        with self._lock:
            if self.full:
                return
            self._bytes += size + ROW_BYTES
            if self._bytes > TASK_BYTES:
                self.full = True
                self._add(at, "WARNING", "", DROPPED)
            else:
                self._add(at, record.levelname, record.name.removeprefix(f"{SERVICE}."), text)
            first = len(self._waiting) == 1
        if first:
            flusher.flush_soon(self)

    def note(self, text: str) -> None:
        """Keep a line of the service about this run, which has ended."""
        with self._lock:
            self._add(datetime.now(UTC), "WARNING", NOTED, _cut(text)[0])
        self.flush()

    def flush(self) -> None:
        """Hand what waits to the database's writer; lines that it cannot take are dropped."""
        with self._lock:
            lines, self._waiting = self._waiting, []
        if not lines:
            return
        try:
            if not self._earlier_known:
                lines = self._within_limit(lines)
            parts().task_logs.keep(lines)
        except Exception as error:  # noqa: BLE001 - what a task logs must not fail it
            logger.warning("lines_dropped", task_id=self._task_id, lines=len(lines), error=str(error))

    def _add(self, at: datetime, level: str, name: str, text: str) -> None:
        self._waiting.append(
            {
                "task_id": self._task_id,
                "run": self._run,
                "number": next(self._numbers),
                "at": at,
                "level": level[:LEVEL_CHARACTERS],
                "logger": name[:LOGGER_CHARACTERS],
                "text": text,
            }
        )

    def _within_limit(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return these lines without what is too much beside those of earlier runs, which nobody counted until now."""
        earlier = parts().task_logs.kept_bytes(self._task_id)
        with self._lock:
            self._earlier_known = True
            self._bytes += earlier
            over = self._bytes > TASK_BYTES
            self.full = self.full or over
        if not over:
            return lines
        left, kept = TASK_BYTES - earlier, list[dict[str, Any]]()
        for line in lines:
            left -= _cut(line["text"])[1] + ROW_BYTES
            if left < 0:
                return [*kept, line | {"level": "WARNING", "logger": "", "text": DROPPED}]
            kept.append(line)
        return kept


def _cut(text: str) -> tuple[str, int]:
    """Return a line, cut off where it is too long, and its bytes."""
    if len(text) <= LINE_BYTES and text.isascii():
        return text, len(text)
    written = text[: LINE_BYTES + 1].encode("utf-8", "backslashreplace")
    if len(written) <= LINE_BYTES:
        return text, len(written)
    return written[:LINE_BYTES].decode("utf-8", "ignore") + "…", LINE_BYTES


class Flusher:
    """The thread that writes what tasks log while they go on; there is none before the first line."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def flush_soon(self, lines: TaskLines) -> None:
        """Let these be written within half a second."""
        self._due.add(lines)
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="task-lines", daemon=True)
                with suppress(RuntimeError):  # the interpreter is ending: they are written at the end of the run
                    thread.start()
                    self._thread = thread
        self._bell.set()

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._bell = threading.Event()
        self._due = set[TaskLines]()
        self._thread: threading.Thread | None = None

    def _serve(self) -> None:
        while True:
            self._bell.wait()
            self._bell.clear()
            time.sleep(FLUSH_SECONDS)
            while self._due:
                self._due.pop().flush()


flusher = Flusher()
