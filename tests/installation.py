"""One installation for integration tests: a broker, a worker and a leader as real processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.embedded_redis import EmbeddedRedis
from config.settings import Settings, ensure_folders, settings
from rabbitmq_server import RabbitmqServer, shared_server
from smtp_server import SmtpServer
from waiting import until

TESTS = Path(__file__).parent
GROUP_END_SECONDS = 30
NO_SCHEDULES = {name.upper(): "false" for name in Settings.model_fields if name.startswith("schedule_")}
"""A task that comes by itself would be in the way of tests that count."""


class Part:
    """One process group that a test starts, stops and kills."""

    def __init__(
        self, name: str, command: list[str], log: Path, variables: Mapping[str, str] | None = None, folder: Path = TESTS
    ) -> None:
        self.name, self.command, self.log, self.folder = name, command, log, folder
        self.variables = dict(variables or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=os.environ | self.variables,
            )

    def kill(self) -> None:
        """Kill -9 of the whole process group."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(GROUP_END_SECONDS)
            self.process = None

    def stop(self) -> None:
        """A clean stop, which for a worker is Celery's soft shutdown."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if self.name == "worker" else signal.SIGTERM)
            try:
                self.process.wait(GROUP_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def said(self, words: str) -> bool:
        return self.count(words) > 0

    def count(self, words: str) -> int:
        return self.log.read_text(errors="replace").count(words) if self.log.exists() else 0


class EmbeddedBroker(EmbeddedRedis):
    """The embedded Redis, which a test may kill, and rob of its data."""

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.alive(), what="Redis is gone")

    def lose_data(self) -> None:
        self.kill()
        for path in settings.redis_dir.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def broker_of_this_run() -> EmbeddedBroker | RabbitmqServer:
    return shared_server() if os.environ.get("TEST_BROKER") == "rabbitmq" else EmbeddedBroker(settings)


class Installation:
    """Everything that a service needs to run, under control of a test."""

    def __init__(self, logs: Path) -> None:
        ensure_folders(settings)
        self.broker = broker_of_this_run()
        app = [
            "-A",
            "services.celery_app:celery_app",
            "worker",
            "-I",
            "service_tasks",
            "--concurrency=2",
            "--loglevel=INFO",
        ]
        variables = NO_SCHEDULES | {"EMAIL_TEMPLATES_DIR": str(settings.data_dir / "templates")}
        self.worker = Part("worker", [sys.executable, "-m", "celery", *app], logs / "worker.txt", variables)
        self.leader = Part("leader", [sys.executable, "-m", "services.leader"], logs / "leader.txt", NO_SCHEDULES)

    def start(self) -> None:
        self.broker.start()
        self.leader.start()
        self.start_worker()

    def start_worker(self) -> None:
        before = self.worker.log.read_text(errors="replace").count(" ready.") if self.worker.log.exists() else 0
        self.worker.start()
        until(lambda: self.worker.log.read_text(errors="replace").count(" ready.") > before, what="the worker is ready")

    @contextmanager
    def worker_with(self, **variables: str) -> Iterator[None]:
        """Let the worker run with these settings for as long as the block lasts."""
        self.worker.stop()
        self.worker.variables |= variables
        self.start_worker()
        try:
            yield
        finally:
            self.worker.stop()
            for name in variables:
                del self.worker.variables[name]
            self.start_worker()

    def stop(self) -> None:
        self.worker.stop()
        self.leader.stop()
        self.broker.stop()


@pytest.fixture(autouse=True)
def _settings_are_given_by_nobody_else() -> Iterator[None]:
    """Forget with a test which settings it has set: a broker that somebody named is taken for this run's own."""
    given = settings.model_fields_set.copy()
    yield
    settings.model_fields_set.intersection_update(given)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running service, shared by all tests of a run."""
    running = Installation(tmp_path_factory.mktemp("installation"))
    running.start()
    yield running
    running.stop()


@contextmanager
def sending_by_smtp(installation: Installation, **variables: str) -> Iterator[SmtpServer]:
    """Let the worker send to a mail server in the block, where two copies are two mails, unlike in an outbox."""
    with SmtpServer() as server:
        way = f"smtp://127.0.0.1:{server.port}?tls=none"
        with installation.worker_with(EMAIL_URL=way, **variables):
            yield server


@pytest.fixture
def mail_settings() -> dict[str, str]:
    """What else the worker of `smtp` is told about mail; a module may say it."""
    return {}


@pytest.fixture
def smtp(installation: Installation, mail_settings: dict[str, str]) -> Iterator[SmtpServer]:
    """A mail server, and a worker that sends through it."""
    with sending_by_smtp(installation, **mail_settings) as server:
        yield server
