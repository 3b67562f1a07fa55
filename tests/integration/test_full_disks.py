"""A full disk, of the records, the logs or the broker: what is refused is told, and it goes on once there is room."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cli.chaos.processes import Processes
from config.settings import PROJECT_ROOT
from lives import Life, Submitter, figures, said
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
    """A service whose records, logs and broker have a small disk each."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        needs("unshare")
        self.folders = {name: folder / name for name in ("records", "logs", "redis")}
        for one in self.folders.values():
            one.mkdir()
        self.disks = SmallDisks(*self.folders.values())
        stack.callback(self.disks.close)
        options = ["--appendonly", "yes", "--dir", str(self.folders["redis"]), "--loglevel", "warning"]
        self.redis = RedisServer(bundled(), *options, within=self.disks.command).start()
        stack.callback(self.redis.stop)
        self.life = Life(folder, stack.enter_context(Processes(folder)), self.redis.url)
        stack.callback(self.life.close)
        where = {
            "on": self.disks,
            "DATABASE_URL": f"sqlite:///{self.folders['records']}/records.db",
            "LOG_DIR": str(self.folders["logs"]),
        }
        self.leader, self.worker = self.life.leader(**where), self.life.worker(**where)
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
        code = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone())"
        command = self.disks.command([sys.executable, "-c", code, str(self.folders["records"] / "records.db")])
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def until_done(self, answers: list[dict]) -> None:
        ids = [one["id"] for one in answers]
        until(lambda: set(self.states(ids)) == {"SUCCESS"}, what="all that was accepted is done", every=0.3)
        done = self.life.counts("done")
        assert {done[one["number"]] for one in answers} == {1}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallInstallation]:
    with ExitStack() as stack:
        yield SmallInstallation(tmp_path_factory.mktemp("small"), stack)


def goes_on(small: SmallInstallation) -> list[dict]:
    """Wait until submits are accepted again; nobody has started anything anew."""
    pids = {one.pid for one in (small.leader, small.worker, small.submitter.group) if one.alive()}
    answer = until(lambda: (one := small.submit()) and "error" not in one and one, what="it goes on", every=0.5)
    assert len(pids) == 3
    return [answer]


def test_a_submit_is_refused_while_the_disk_of_the_records_is_full(small: SmallInstallation):
    accepted = [*goes_on(small), small.submit(2.0)]
    running = accepted[-1]["number"]
    until(lambda: small.life.counts("begin")[running], what="one runs")
    refused = []
    with small.disks.full(small.folders["records"]):
        for _ in range(2000):  # what SQLite had room for already is still written
            answer = small.submit()
            (refused if "error" in answer else accepted).append(answer)
            if len(refused) == 3:
                break
        until(lambda: small.life.counts("done")[running], what="what runs goes on")
    accepted += goes_on(small)
    small.until_done(accepted)

    figures("the records' disk is full", accepted=len(accepted), refused=len(refused), why=refused[0]["why"])
    assert {one["error"] for one in refused} == {"ServiceUnavailable"}
    assert all("make room on its disk" in one["why"] for one in refused)
    assert not {one["number"] for one in refused} & set(small.life.counts("begin"))
    assert small.check_records() == "ok", "nothing is half-written"


def test_work_goes_on_while_the_disk_of_the_logs_is_full(small: SmallInstallation):
    goes_on(small)
    with small.disks.full(small.folders["logs"]):
        accepted = [small.submit() for _ in range(100)]  # the last block of the log has some room left
        small.until_done(accepted)
    accepted += goes_on(small)
    small.until_done(accepted)

    figures("the logs' disk is full", accepted=len(accepted))
    assert [one for one in accepted if "error" in one] == []
    assert said(small.worker, "No space left on device")


def test_what_is_submitted_while_the_brokers_disk_is_full_is_done_once_there_is_room(small: SmallInstallation):
    accepted = goes_on(small)
    with small.disks.full(small.folders["redis"]):
        for _ in range(300):
            accepted.append(small.submit())
            if refuses_writes(small):
                break
        accepted += [small.submit() for _ in range(5)]
        waiting = small.states([one["id"] for one in accepted[-5:]])
    accepted += goes_on(small)
    small.until_done(accepted)

    slowest = max(one["seconds"] for one in accepted)
    figures("the broker's disk is full", accepted=len(accepted), waiting=waiting, slowest_submit=slowest)
    assert [one for one in accepted if "error" in one] == []
    assert set(waiting) == {"PENDING"}


def refuses_writes(small: SmallInstallation) -> bool:
    with small.redis.client(decode_responses=True) as client:
        return client.info("persistence")["aof_last_write_status"] != "ok"
