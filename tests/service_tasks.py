"""Tasks that only the tests have: each does one thing that work in a worker may do."""

import contextlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import structlog
from celery import group
from celery.exceptions import SoftTimeLimitExceeded

from config.log_setup import get_logger
from processors.errors import FileError, InvalidArgument, PermanentError, TransientError, WorkFailed
from services.celery_app import celery_app
from services.wiring import parts

logger = get_logger()


@celery_app.task(name="test.add", bind=True)
def add(self: Any, x: int, y: int) -> int:
    return x + y


@celery_app.task(name="test.huge", bind=True)
def huge(self: Any) -> int:
    """Return a number of more digits than Python writes."""
    return 10**5000


@celery_app.task(name="test.total", bind=True)
def total(self: Any, numbers: list[int]) -> int:
    return sum(numbers)


@celery_app.task(name="test.mark", bind=True)
def mark(self: Any, path: str, text: str = "x") -> str:
    """An effect that can be counted: a line in a file."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
    return text


@celery_app.task(name="test.fail_first", bind=True)
def fail_first(self: Any, path: str, times: int) -> int:
    """Fail so many times, then tell how often it ran."""
    with Path(path).open("a") as file:
        file.write("run\n")
    runs = len(Path(path).read_text().splitlines())
    if runs <= times:
        raise ValueError(f"not yet, this was run {runs}")
    return runs


@celery_app.task(name="test.ask_again", bind=True)
def ask_again(self: Any, path: str) -> str:
    """Ask for another attempt in a minute, as a provider would."""
    mark.run(path)
    raise TransientError("the provider is busy", retry_after=60)


@celery_app.task(name="test.refuse", bind=True)
def refuse(self: Any, path: str) -> None:
    mark.run(path)
    raise PermanentError("this can never work")


@celery_app.task(name="test.fail_at_length", bind=True)
def fail_at_length(self: Any, path: str, release: str) -> None:
    """Tell the process's id, and fail, once a file exists, with more words than fit into a pipe."""
    mark.run(path, str(os.getpid()))
    deadline = time.monotonic() + 120
    while not Path(release).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    raise PermanentError("x" * 500_000)


@celery_app.task(name="test.work_until", bind=True)
def work_until(self: Any, path: str, marks: str) -> str:
    """Report progress until a file exists."""
    mark.run(marks)
    deadline = time.monotonic() + 120
    while not Path(path).exists() and time.monotonic() < deadline:
        self.report(50, "half of it")
        time.sleep(0.05)
    return "done"


@celery_app.task(name="test.kill_worker", bind=True)
def kill_worker(self: Any, path: str) -> None:
    mark.run(path)
    os.kill(os.getpid(), signal.SIGKILL)


@celery_app.task(name="test.never_ends", bind=True, time_limit=2)
def never_ends(self: Any, path: str) -> None:
    mark.run(path)
    with contextlib.suppress(SoftTimeLimitExceeded):
        signal.pause()
    signal.pause()


@celery_app.task(name="test.sleep_first", bind=True)
def sleep_first(self: Any, path: str, seconds: float = 600) -> int:
    """Sleep in the first run, without a look at anything; tell how often it ran."""
    mark.run(path, str(os.getpid()))
    runs = len(Path(path).read_text().splitlines())
    if runs == 1:
        time.sleep(seconds)
    return runs


@celery_app.task(name="test.spin", bind=True)
def spin(self: Any, path: str) -> None:
    """Calculate for ever."""
    mark.run(path)
    while True:
        pass


@celery_app.task(name="test.look", bind=True)
def look(self: Any, path: str) -> None:
    """Do nothing for ever but look whether to end."""
    mark.run(path)
    while True:
        self.check_cancelled()
        time.sleep(0.05)


@celery_app.task(name="test.nap", bind=True)
def nap(self: Any, seconds: float) -> str:
    time.sleep(seconds)
    return "rested"


@celery_app.task(name="test.unrecorded", bind=True, record=False)
def unrecorded(self: Any, path: str, text: str = "x") -> None:
    mark.run(path, text)


@celery_app.task(name="test.unrecorded_until", bind=True, record=False)
def unrecorded_until(self: Any, path: str, marks: str) -> None:
    """Work until a file exists."""
    mark.run(marks)
    deadline = time.monotonic() + 120
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@celery_app.task(name="test.keep", bind=True)
def keep(self: Any, value: Any) -> Any:
    return value


@celery_app.task(name="test.mark_body", bind=True)
def mark_body(self: Any, results: list[int], path: str) -> int:
    mark.run(path)
    return len(results)


@celery_app.task(name="test.member", bind=True)
def member(self: Any, folder: str, number: int, fate: str) -> int:
    """Be a member of a chord that meets its fate at its first run."""
    first = Path(folder) / str(number)
    if not first.exists():
        first.touch()
        if fate == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if fate == "retry":
            raise ValueError("not yet")
    return number


@celery_app.task(name="test.fire_time", bind=True)
def fire_time(self: Any) -> str | None:
    return self.request.get("csai_fire_at")


@celery_app.task(name="test.keep_secret", bind=True)
def keep_secret(self: Any, password: str, url: str) -> int:
    return len(password) + len(url)


@celery_app.task(name="test.die_after_success", bind=True)
def die_after_success(self: Any) -> None:
    """End the whole worker right after the success was committed, before anything that follows it."""
    moves = self.parts.moves
    committed = moves.succeed

    def commit_and_die(*arguments: Any) -> bool:
        committed(*arguments)
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    moves.succeed = commit_and_die


@celery_app.task(name="test.read_name", bind=True)
def read_name(self: Any, path: str) -> None:
    raise PermanentError(f"there is no {path}")


@celery_app.task(name="test.exit", bind=True)
def leave(self: Any, path: str) -> None:
    """End as a command's main function does."""
    mark.run(path)
    sys.exit("no such option")


@celery_app.task(name="test.type_at_second", bind=True)
def type_at_second(self: Any, value: Any, path: str) -> str:
    """Fail once, then tell what type the argument has."""
    fail_first.run(path, 1)
    return type(value).__name__


@celery_app.task(name="test.replace", bind=True)
def replace(self: Any, path: str) -> Any:
    return self.replace(group(mark.si(path), mark.si(path)))


@celery_app.task(name="test.talk", bind=True)
def talk(self: Any, words: str, lines: int = 1, path: str | None = None) -> int:
    """Log so many lines by the three ways there are, and hold on until a file exists."""
    logging.getLogger("talker").info("%s by logging, to smtp://u:planted@host", words)
    structlog.get_logger("talker").info("by structlog", words=words, password="planted")
    logger.warning("by the service's logger", words=words)
    for number in range(lines):
        logging.getLogger("talker").info("line %s", number)
    deadline = time.monotonic() + 120
    while path and not Path(path).exists() and time.monotonic() < deadline:
        self.report(50, "half of it")
        time.sleep(0.05)
    return lines


@celery_app.task(name="test.last_words", bind=True)
def last_words(self: Any, path: str) -> None:
    """Say something, and once it stands in the record take the whole process along."""
    mark.run(path)
    logging.getLogger("talker").info("these are my last words")
    runs = self.current.hand.run
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and runs not in {line.run for line in parts().task_logs.of(self.request.id, 100)}:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


@celery_app.task(name="test.choose", bind=True)
def choose(self: Any, number: int, kind: str) -> int:
    """Fail in the way that is asked for, or work."""
    kinds = {error.__name__: error for error in (PermanentError, InvalidArgument, FileError, WorkFailed)}
    if kind in kinds:
        raise kinds[kind](f"it was {number}")
    return number


@celery_app.task(name="test.limited", bind=True, limited_by=lambda kwargs: [f"account:{kwargs['account']}"])
def limited(self: Any, account: str, seconds: float = 0.0) -> float:
    """Work for some seconds on behalf of an account; returns when it began, by this machine's clock."""
    began = time.time()
    time.sleep(seconds)
    return began


@celery_app.task(name="test.mislimited", bind=True, limited_by=lambda kwargs: [kwargs["account"]])
def mislimited(self: Any, account: str) -> str:
    """Never run: its key is none."""
    return account
