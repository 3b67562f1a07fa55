"""An installation whose records, logs and broker have a disk of a few MB each, which a test fills and empties."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.chaos.processes import Processes
from config.settings import PROJECT_ROOT
from lives import Life, Submitter
from redis_server import RedisServer, bundled
from requirements_check import needs
from waiting import until

DISK_BYTES = 12 * 1024**2
BLOCK_BYTES = 4096


class SmallDisks:
    """Disks of a few MB that only the processes started through this see.

    Args:
        folders: where they are mounted.
    """

    name = "disks"

    def __init__(self, *folders: Path) -> None:
        mounts = [f"mount -t tmpfs -o size={DISK_BYTES} none {folder}" for folder in folders]
        script = " && ".join([*mounts, "echo mounted", "exec sleep 3600"])
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self._keeper.stdout.readline() != "mounted\n":
            why = self._keeper.stderr.read().strip()
            self.close()
            pytest.skip(f"this machine or this user may not mount a small disk: {why}")

    def command(self, words: list[str]) -> list[str]:
        return ["nsenter", f"--target={self._keeper.pid}", "--mount", f"--wd={PROJECT_ROOT}", *words]

    @contextmanager
    def full(self, folder: Path) -> Iterator[None]:
        """Let a disk be full for a while: not a byte more fits."""
        filler = Path(f"/proc/{self._keeper.pid}/root{folder}/filler")
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * BLOCK_BYTES)
            except OSError:
                pass
        yield
        filler.unlink()

    def close(self) -> None:
        self._keeper.kill()
        self._keeper.communicate()


class SmallInstallation:
    """A service whose records, logs and broker have a small disk each.

    Args:
        folder: for everything.
        stack: ends it.
        options: of its worker.
        variables: settings of its processes.
    """

    def __init__(self, folder: Path, stack: ExitStack, options: Sequence[str] = (), **variables: str) -> None:
        needs("unshare")
        self.folders = {name: folder / name for name in ("records", "logs", "redis")}
        for one in self.folders.values():
            one.mkdir()
        self.disks = SmallDisks(*self.folders.values())
        stack.callback(self.disks.close)
        keeping = ["--appendonly", "yes", "--dir", str(self.folders["redis"]), "--loglevel", "warning"]
        self.redis = RedisServer(bundled(), *keeping, within=self.disks.command).start()
        stack.callback(self.redis.stop)
        self.life = Life(folder, stack.enter_context(Processes(folder)), self.redis.url)
        stack.callback(self.life.close)
        self.settings = variables | {
            "DATABASE_URL": f"sqlite:///{self.folders['records']}/records.db",
            "LOG_DIR": str(self.folders["logs"]),
        }
        where: dict[str, Any] = {"on": self.disks, **self.settings}
        self.leader, self.worker = self.life.leader(**where), self.life.worker(options=options, **where)
        self.submitter: Submitter = self.life.submitter(**where)
        self.life.until_ready(self.worker, self.submitter)
        self.submitted = 0

    def submit(self, seconds: float = 0.0) -> dict:
        """Submit a task that takes so long; returns the answer."""
        before = len(self.submitter.answers())
        self.submitter.submit(self.submitted, seconds)
        self.submitted += 1
        return self.submitter.until_answered(before + 1)[-1]

    def states(self, ids: list[str]) -> list[str]:
        """Return these tasks' states, as the program sees them."""
        before = len(self.submitter.answers())
        self.submitter.ask(ids)
        return self.submitter.until_answered(before + 1)[-1]["states"]

    def check_records(self) -> str:
        """Return what SQLite says of its file."""
        return self.pragma("integrity_check")

    def pragma(self, words: str) -> str:
        """Return what SQLite answers to a pragma."""
        code = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone())"
        path = str(self.folders["records"] / "records.db")
        command = self.disks.command([sys.executable, "-c", code, path, f"PRAGMA {words}"])
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def run(self, name: str, code: str, *given: str) -> str:
        """Run a program of this installation; returns the last line that it prints."""
        done = self.life.start(name, [sys.executable, "-c", code, *given], on=self.disks, **self.settings)
        until(lambda: not done.alive(), what=f"{name} ends")
        assert done.ended_well(), done.last_words()
        return done.last_words(1)

    def until_done(self, answers: list[dict]) -> None:
        ids = [one["id"] for one in answers]
        until(lambda: set(self.states(ids)) == {"SUCCESS"}, what="all that was accepted is done", every=0.3)
        done = self.life.counts("done")
        assert {done[one["number"]] for one in answers} == {1}
