"""The supervisor goes on where a part, or Redis, cannot be started again at once."""

import errno
import io
import re
import sys
import time
from collections.abc import Callable

import pytest

from config.settings import settings
from processors.errors import ConfigurationError
from services import supervised_part, users
from services import supervisor as supervisor_room
from services.supervised_part import SupervisedPart, forget_marks, mark_of
from services.supervisor import Supervisor


class Machine:
    """Has no room for a process the first time that it is asked."""

    def __init__(self, start: Callable[..., None]) -> None:
        self.asked = 0
        self._start = start

    def start(self, *given: object) -> None:
        self.asked += 1
        if self.asked == 1:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self._start(*given)


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor(settings, io.StringIO())


def watch_until(supervisor: Supervisor, happened: Callable[[], bool]) -> str:
    """Let the supervisor watch until that; returns what it said."""
    deadline = time.monotonic() + 20
    read = supervisor._read

    def read_and_look() -> None:
        read()
        if happened() or time.monotonic() > deadline:
            supervisor._stops = 1

    supervisor._read, supervisor._stops = read_and_look, 0
    supervisor._watch()
    supervisor._read = read
    return supervisor._out.getvalue()


def test_a_part_that_the_machine_has_no_room_for_is_started_once_it_has(supervisor):
    part = SupervisedPart("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"), lambda: True)
    machine = Machine(part.start)
    part.start = machine.start
    supervisor._redis, supervisor.parts = None, [part]
    try:
        said = watch_until(supervisor, part.alive)
        assert part.alive()
    finally:
        part.kill()
        part.bury(supervisor._selector)
    assert "sleeper cannot be started ([Errno 11] Resource temporarily unavailable) and is tried again in 1 s." in said


def test_a_redis_that_does_not_come_up_is_tried_again_and_ends_nothing(supervisor, monkeypatch):
    monkeypatch.setattr(supervisor_room, "REDIS_PAUSE_SECONDS", 0.3)

    class Redis:
        asked = 0

        def alive(self) -> bool:
            return self.asked > 1

        def start(self) -> None:
            self.asked += 1
            if self.asked == 1:
                raise ConfigurationError("The embedded Redis ended at once (No space left on device).")

    supervisor._redis, supervisor.parts = Redis(), []
    said = watch_until(supervisor, supervisor._redis.alive)

    assert supervisor._redis.alive()
    assert "No space left on device" in said


def test_processes_that_end_slowly_do_not_pile_up_beside_the_one_that_works(supervisor, monkeypatch):
    monkeypatch.setattr(supervised_part, "MOST_LEAVING", 1)
    drains = (
        "import time; from config.settings import ensure_folders, settings; ensure_folders(settings);"
        "from services.supervised_part import leave_mark; leave_mark(60); time.sleep(60)"
    )
    part = SupervisedPart("sleeper", (sys.executable, "-c", drains), lambda: True)
    supervisor._redis, supervisor.parts = None, [part]
    try:
        part.start(supervisor._selector)
        said = watch_until(supervisor, lambda: bool(part.leaving) and mark_of(part.process.pid).exists())
        first, waits = next(iter(part.leaving)), part.process
        watched: list[None] = []
        watch_until(supervisor, lambda: watched.append(None) or len(watched) > 3)
        assert (list(part.leaving), part.process) == ([first], waits), "the second one is not followed yet"

        first.kill()
        watch_until(supervisor, lambda: part.process is not waits and part.process is not None)
        assert list(part.leaving) == [waits], "it is followed as soon as the first has ended"
    finally:
        part.kill()
        for process in [*part.leaving, part.process]:
            part.process = process
            part.bury(supervisor._selector)
        forget_marks()
    assert said.count("another process takes its place") == 1


class Terminal(io.StringIO):
    """Somebody reads along."""

    def isatty(self) -> bool:
        return True


def test_the_first_password_of_the_dashboard_is_shown_once_and_on_a_terminal_alone(inline_service):
    told = []
    for out in (io.StringIO(), Terminal(), Terminal(), io.StringIO()):
        Supervisor(settings, out)._show_user()
        told.append(out.getvalue())
    password = re.search(r"user    admin, password (\S{24})   \(shown this once\)", told[1])[1]
    assert users.log_in("admin", password)
    assert "none yet: csai users add" in told[0]
    assert told[2] == told[3] == "  user    see csai users ls; a lost password: csai users set-password NAME\n"
