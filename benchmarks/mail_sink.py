"""Postfix's test programs: `smtp-sink`, which takes every mail and counts them, and `smtp-source`, which sends."""

import os
import pwd
import re
import shutil
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from processes import Processes, ProcessFailed
from servers import free_port, until_listens

SESSIONS = 256
LAST_BYTES = 64
LOOK_SECONDS, SETTLE_SECONDS, STALLED_SECONDS = 0.005, 0.3, 60
POSTFIX_FOLDER = "/usr/sbin"
DUMP, RECIPIENT = "mails.txt", b"X-Rcpt-Args: <"


class WrongMails(Exception):
    """Mails are missing, or came twice."""


@dataclass(frozen=True, slots=True)
class Taken:
    """How the mails of a turn came in.

    Attributes:
        first: when the first was seen, by the monotonic clock.
        last: when the last was seen.
        before: how many there were at `first`.
        count: how many came in all.
    """

    first: float
    last: float
    before: int
    count: int

    @property
    def per_second(self) -> float:
        """The rate from the first mail to the last."""
        return (self.count - self.before) / (self.last - self.first)


class Sink:
    """One `smtp-sink` on a free port of this machine.

    Args:
        processes: where it belongs.
        folder: where that writes; given to the user that runs it.
        dump: whether all mails are kept in a file.
    """

    def __init__(self, processes: Processes, folder: Path, *, dump: bool = False) -> None:
        self._processes, self._folder = processes, folder
        self.port = free_port()
        user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None  # it refuses to be run by root
        if user is not None:
            os.chown(folder, user, -1)
        keeping = ["-D", DUMP] if dump else []
        command = [program("smtp-sink"), "-c", *keeping, f"127.0.0.1:{self.port}", str(SESSIONS)]
        self._said = processes.said_by(processes.start(command, user=user))
        until_listens(self.port, processes)

    @property
    def count(self) -> int:
        """How many mails it has taken so far."""
        with self._said.open("rb") as said:
            said.seek(max(0, said.seek(0, os.SEEK_END) - LAST_BYTES))
            found = re.findall(rb"mesg=(\d+)\r", said.read())
        return int(found[-1]) if found else 0

    def until(self, count: int) -> Taken:
        """Wait until so many mails have come, and a moment more in which too many would come.

        Raises:
            WrongMails: none has come for long, or more have come.
            ProcessFailed: the sink has ended.
        """
        first, before, seen, moved = 0.0, 0, 0, time.monotonic()
        while seen < count:
            self._processes.check()
            found, now = self.count, time.monotonic()
            if found > seen:
                first, before = (first, before) if seen else (now, found)
                seen, moved = found, now
            elif now - moved > STALLED_SECONDS:
                raise WrongMails(f"{count - seen} of {count} mails are missing")
            time.sleep(LOOK_SECONDS)
        time.sleep(SETTLE_SECONDS)
        if (found := self.count) != count:
            raise WrongMails(f"{found} mails came, {count} were sent")
        return Taken(first, moved, before, count)

    def copies(self) -> Counter[str]:
        """Return how many mails each recipient got, of a sink that keeps them."""
        lines = (self._folder / DUMP).read_bytes().splitlines()
        return Counter(line[len(RECIPIENT) : -1].decode() for line in lines if line.startswith(RECIPIENT))


@contextmanager
def sink(folder: Path, *, dump: bool = False) -> Generator[Sink]:
    """Run a sink in a folder of its own below another."""
    with TemporaryDirectory(dir=folder, prefix="sink-") as name, Processes(ENVIRONMENT, Path(name)) as processes:
        yield Sink(processes, Path(name), dump=dump)


def source(port: int, mails: int, size: int, connections: int) -> list[str]:
    """Return the command that sends mails of so many bytes by `smtp-source`, over connections that stay open."""
    sizes = ["-s", str(connections), "-m", str(mails), "-l", str(size)]
    return [program("smtp-source"), "-d", "-N", *sizes, "-t", "to@example.com", f"127.0.0.1:{port}"]


def program(name: str) -> str:
    """Return the path of one of postfix's programs.

    Raises:
        ProcessFailed: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path=POSTFIX_FOLDER)
    if found is None:
        raise ProcessFailed(f"{name} is missing: install the package postfix")
    return found


ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8"}
