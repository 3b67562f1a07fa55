"""How logs are written: one readable line an event, the task's id on every line, secrets masked.

Everything goes through the standard library's logging, Celery's loggers included. A file per part is shared by its
processes: it is opened for appending, and rotated by whoever finds it old or large, under a lock.
"""

import fcntl
import inspect
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from operator import is_not
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from structlog.contextvars import bind_contextvars, merge_contextvars, unbind_contextvars
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

Redact = Callable[[Any], Any]

MAX_FILE_BYTES = 50 * 1024 * 1024
CHECK_SECONDS = 1.0
LINE = "csai_line"
TEXT = "csai_text"
OF_LINES = frozenset({"timestamp", "level", "task_id", "task"})
SERVICE = "csai"
NOISY = {
    "celery.app.trace": logging.CRITICAL,
    "celery.worker.strategy": logging.WARNING,
    "kombu": logging.WARNING,
    "records.sqlite.LastingPool": logging.WARNING,  # a pool of SQLAlchemy's logs under the name of its class
}

ROOMS = tuple(f"{SERVICE}.{room}" for room in ("config", "records", "broker", "services", "api", "dashboard", "cli"))
NOT_OF_TASKS = (*ROOMS, "celery", "kombu", "amqp", "billiard", "records.sqlite.LastingPool")
OF_TASKS = (f"{SERVICE}.services.celery_tasks", "celery.task")


class Keeper(Protocol):
    """Keeps what one task logs.

    Attributes:
        full: whether it takes no more.
    """

    full: bool

    def keep(self, record: logging.LogRecord, text: str) -> None:
        """Keep a line: what was said, its secrets masked; must not wait for anything."""
        ...


kept_by: ContextVar[Keeper | None] = ContextVar("kept_by", default=None)
"""Who keeps what is logged here: set while a task's body runs, in its thread."""


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return a logger for the module that asks.

    Where no logging was set up, its warnings go to standard error, never the output. What the service's own rooms log
    is not kept with the task in whose run they log it.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    name = caller.f_globals["__name__"] if caller else ""
    logger = structlog.wrap_logger(logging.getLogger(f"{SERVICE}.{name}"), wrapper_class=structlog.stdlib.BoundLogger)
    return cast("structlog.stdlib.BoundLogger", logger)


def bind_task(task_id: str, name: str) -> None:
    """Put a task's id and name on every line from here on."""
    bind_contextvars(task_id=task_id, task=name)


def clear_task() -> None:
    """Take the task's id and name off again."""
    unbind_contextvars("task_id", "task")


def configure(
    part: str, level: str | int, *, redact: Redact, folder: Path | None = None, task_level: str | None = None
) -> None:
    """Set up logging for this process.

    Args:
        part: the name of the part (worker, beat, leader, web); its file is `<part>.log`.
        level: a level's name or number; wins over the setting where a command line gave it.
        redact: masks secrets in whatever is logged.
        folder: where the file lies; None logs to the terminal only.
        task_level: from which level on tasks' lines go to their keeper (`kept_by`) as well; None: none do.
    """
    shared = _configure_structlog(redact, cache=True)
    formatter = _OnceFormatter(redact, shared)
    handlers: list[logging.Handler] = [_TerminalHandler()]
    if folder is not None:
        handlers.append(SharedFileHandler(folder / f"{part}.log"))
    root = logging.getLogger()
    root.handlers = handlers
    for handler in handlers:
        handler.setFormatter(formatter)
    root.setLevel(level)
    for name, quietest in NOISY.items():
        logging.getLogger(name).setLevel(max(quietest, root.level))
    if task_level is not None:
        _keep_tasks_lines(root, redact, task_level)


def _configure_structlog(redact: Redact, *, cache: bool) -> list[Processor]:
    """Let structlog's lines go the way of the others; returns what makes the fields of a line."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        _filling_in(redact),
        _stamp,
        structlog.processors.format_exc_info,
        _redacting(redact),
    ]
    structlog.configure(
        processors=[*shared, _render],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=cache,
    )
    return shared


def _keep_tasks_lines(root: logging.Logger, redact: Redact, task_level: str) -> None:
    """Hand on what tasks log, also where the log itself begins at a higher level; nobody else says more for it."""
    level, keeping = root.level, _KeptHandler(redact)
    keeping.setLevel(task_level)
    for handler in root.handlers:
        handler.setLevel(level)
    for name in NOT_OF_TASKS:
        logging.getLogger(name).setLevel(max(NOISY.get(name, level), level))
    root.addHandler(keeping)
    for name in ("", *OF_TASKS):
        logging.getLogger(name).setLevel(min(level, keeping.level))


@contextmanager
def tasks_lines_kept(redact: Redact, task_level: str) -> Generator[None]:
    """Hand on what tasks log meanwhile, where nothing else was set up; arguments as those of `configure`."""
    root, keeping = logging.getLogger(), _KeptHandler(redact)
    before, was_configured, of_structlog = root.level, structlog.is_configured(), structlog.get_config()
    keeping.setLevel(task_level)
    root.addHandler(keeping)
    root.setLevel(min(before, keeping.level))
    _configure_structlog(redact, cache=False)  # a cached logger would stay so after the restoring
    try:
        yield
    finally:
        structlog.reset_defaults()
        if was_configured:
            structlog.configure(**of_structlog)
        root.removeHandler(keeping)
        root.setLevel(before)


@lru_cache(maxsize=4096)
def _logs_for_tasks(name: str) -> bool:
    """Tell whether what this logger says in the run of a task is the task's."""
    return _is_below(name, OF_TASKS) or not _is_below(name, NOT_OF_TASKS)


def _is_below(name: str, loggers: tuple[str, ...]) -> bool:
    return any(name == logger or name.startswith(f"{logger}.") for logger in loggers)


class _KeptHandler(logging.Handler):
    """Hands what a task logs to who keeps it, without a time, a level and an id."""

    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self._redact = redact
        self._plain = logging.Formatter()

    def createLock(self) -> None:  # noqa: N802 - the standard library's name
        """Do without the lock around each line: a keeper has its own."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on the record's text."""
        keeper = kept_by.get()
        if keeper is None or keeper.full or not _logs_for_tasks(record.name):
            return
        try:
            text = record.__dict__.get(TEXT) or self._redact(self._plain.format(_masked_record(record, self._redact)))
        except Exception as error:  # noqa: BLE001 - no line may fail the task that logs it
            text = _unreadable(record, error)
        keeper.keep(record, text)


class _OnceFormatter(ProcessorFormatter):
    """Writes a record's line once, for the terminal and the file; the service's own come with theirs."""

    def __init__(self, redact: Redact, fields: Sequence[Processor]) -> None:
        super().__init__(foreign_pre_chain=fields, processors=[ProcessorFormatter.remove_processors_meta, _line])
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: str | None = record.__dict__.get(LINE)
        if line is None:
            line = record.__dict__[LINE] = super().format(_masked_record(record, self._redact))
        return line


class _LinesHandler(logging.Handler):
    """Writes lines; a thread that comes while another one writes leaves its line to that one, and waits for nothing.

    A handler's own lock is held through each write, and all threads that log queue behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[str, logging.LogRecord]] = deque()
        self._turn = threading.Lock()
        os.register_at_fork(after_in_child=self._renew)

    def createLock(self) -> None:  # noqa: N802 - the standard library's name
        """Do without the lock around each write."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, with those that came meanwhile, as one write."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - no line may fail the work that logs it
            line = _unreadable(record, error)
        self._lines.append((line + "\n", record))
        while self._lines and self._turn.acquire(blocking=False):
            try:
                self._write_waiting()
            finally:
                self._turn.release()

    def write(self, text: str) -> None:
        """Write this to where the lines go."""
        raise NotImplementedError

    def _write_waiting(self) -> None:
        waiting = [self._lines.popleft() for _ in range(len(self._lines))]
        if not waiting:
            return
        try:
            self.write("".join(line for line, _ in waiting))
        except OSError:
            self.handleError(waiting[0][1])

    def _renew(self) -> None:
        """Begin anew in a forked child: another thread of the parent may have been writing."""
        self._lines.clear()
        self._turn = threading.Lock()


class _TerminalHandler(_LinesHandler):
    """Writes lines to standard error."""

    def write(self, text: str) -> None:
        """Write this at once."""
        sys.stderr.write(text)
        sys.stderr.flush()


class SharedFileHandler(_LinesHandler):
    """Appends whole lines to a file that other processes append to as well; rotates it by size and by day."""

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        super().__init__()
        self.path = path
        self.max_bytes = max_bytes
        self._file: Any = None
        self._checked = 0.0

    def write(self, text: str) -> None:
        """Append this in one write, so that lines of several processes do not mix."""
        self._ready().write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _ready(self) -> Any:
        now = time.monotonic()
        if self._file is None or now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._rotate()
        return self._file

    def _rotate(self) -> None:
        """Move a file that is too large or of another day away, unless somebody does so now; open the present one.

        Nobody waits for another process here: one that is frozen would hold up the work of all that log.
        """
        lock_path = self.path.with_suffix(".lock")
        with lock_path.open("a") as lock:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self.path.exists() and self._is_full():
                    self._move_away()
            if self._file is not None:
                self._file.close()
            self._file = self.path.open("ab", buffering=0)

    def _is_full(self) -> bool:
        status = self.path.stat()
        day = datetime.fromtimestamp(status.st_mtime, UTC).date()
        return status.st_size >= self.max_bytes or (status.st_size > 0 and day != datetime.now(UTC).date())

    def _move_away(self) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.path.rename(self.path.with_name(f"{self.path.stem}-{stamp}.log"))


def _stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    return event


def _redacting(redact: Redact) -> Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        record = {key: event.pop(key) for key in ("_record", "_from_structlog") if key in event}
        said = redact(dict(event))  # by the names of its fields; then what their texts say
        texts = {key: redact(value) for key, value in said.items() if isinstance(value, str) and key not in OF_LINES}
        return {**said, **texts, **record}

    return mask


def _filling_in(redact: Redact) -> Processor:
    def fill_in(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        values = event.pop("positional_args", None)
        if values:
            # Without its values where they do not fit, or no longer do: no line may fail the work that logs it.
            with suppress(Exception):
                event["event"] %= _masked_values(values[0] if _is_named(values) else values, redact)
        return event

    return fill_in


def _is_named(values: Any) -> bool:
    """Tell whether these fill a text in by name, as the standard library's logging decides it."""
    return len(values) == 1 and isinstance(values[0], Mapping) and bool(values[0])


def _masked_record(record: logging.LogRecord, redact: Redact) -> logging.LogRecord:
    """Return the record, or a copy whose values hide their secrets: other handlers get what was logged."""
    message, values = _masked(record.msg, redact), _masked_values(record.args, redact)
    if message is record.msg and values is record.args:
        return record
    copy = logging.makeLogRecord(record.__dict__)
    copy.msg, copy.args = message, values
    return copy


def _masked_values(values: Any, redact: Redact) -> Any:
    """Return what a text is filled in with, in its order or by names."""
    if not isinstance(values, tuple):
        return _masked(values, redact)
    shown = cast("tuple[Any, ...]", values)
    masked = tuple(_masked(value, redact) for value in shown)
    return masked if any(map(is_not, masked, shown)) else shown


def _masked(value: Any, redact: Redact) -> Any:
    """Return the value itself where it holds no secret, so that it is written as it is, and a copy otherwise."""
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    whole = cast("Any", value)
    alike: Any = list(whole) if isinstance(value, tuple) else whole
    masked = redact(alike)
    return whole if masked == alike else masked


def _render(logger: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """Return what the standard library's logger is called with: the line, which no handler has to make again."""
    keeper = kept_by.get()
    kept = {} if keeper is None or keeper.full else {TEXT: _text(event)}
    line = _line(logger, method, event)
    return (line,), {"extra": {LINE: line} | kept}


def _line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """Write `time level event key=value …`, and a traceback below it."""
    head = [event.pop("timestamp", ""), f"{event.pop('level', 'info'):<8}", str(event.pop("event", ""))]
    return _with_fields(head, event)


def _text(event: Mapping[str, Any]) -> str:
    """Write what a line says without when, how loud and of which task."""
    said = {key: value for key, value in event.items() if key not in OF_LINES}
    return _with_fields([str(said.pop("event", ""))], said)


def _with_fields(head: list[str], event: MutableMapping[str, Any]) -> str:
    trace = event.pop("exception", None)
    event.pop("logger", None)
    fields = [f"{key}={_value(value)}" for key, value in event.items()]
    line = " ".join([*head, *fields]).replace("\n", "\\n")
    return f"{line}\n{trace}" if trace else line


def _unreadable(record: logging.LogRecord, error: Exception) -> str:
    """Return what stands in place of a line whose words do not fit its values."""
    return f"a line could not be made, at {record.pathname}:{record.lineno}: {type(error).__name__}"


def _value(value: Any) -> str:
    text = str(value)
    return repr(text) if " " in text or "=" in text or not text else text
