"""A result that cannot be written waits in its process, however long, and the work is not done again."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from installation import Installation
from service_tasks import work_until
from services.wiring import parts
from waiting import until

IMPATIENT = "from services import prefork; prefork.HELD_SECONDS = 1; from celery.__main__ import main; main()"
HARD_SECONDS = 8
BEATS_SECONDS = 3
"""So long a task runs until its process has said for sure that it acts."""


@pytest.fixture
def impatient(installation: Installation) -> Iterator[Installation]:
    """The installation with a worker that looks at its processes a second after their tasks' hard time limits."""
    installation.worker.stop()
    command = installation.worker.command
    installation.worker.command = [command[0], "-c", IMPATIENT, *command[3:]]
    installation.start_worker()
    yield installation
    installation.worker.stop()
    installation.worker.command = command
    installation.start_worker()


def test_a_result_waits_in_its_process_for_a_database_that_is_away_until_long_after_the_hard_time_limit(
    impatient: Installation, tmp_path: Path
):
    release, runs = tmp_path / "release", tmp_path / "runs"
    task = work_until.apply_async((str(release), str(runs)), time_limit=HARD_SECONDS)
    until(runs.exists, what="it runs")
    began, away = time.monotonic(), impatient.worker.count("database_away")
    until(lambda: time.monotonic() > began + BEATS_SECONDS)
    children = {child.pid for child in psutil.Process(impatient.worker.process.pid).children()}

    with closing(sqlite3.connect(parts().database.url.database or "", isolation_level=None, timeout=30)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        release.touch()
        until(lambda: time.monotonic() > began + HARD_SECONDS + 3)
        until(lambda: impatient.worker.count("database_away") > away, what="it waits for the database")
        lock.execute("ROLLBACK")

    record = until(lambda: (found := parts().tasks.read(task.id)).final and found, what="it is written")
    assert (record.state, record.run, len(runs.read_text().splitlines())) == ("SUCCESS", 1, 1)
    assert children <= {child.pid for child in psutil.Process(impatient.worker.process.pid).children()}
