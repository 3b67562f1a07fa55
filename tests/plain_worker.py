"""Workers of a plain Celery app, as processes that end with their test."""

import gc
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from plain_app import app_of
from redis_server import RedisServer
from waiting import until

HERE = Path(__file__).parent


class Plain:
    """A broker, the app's publisher in this process, and the workers of the app."""

    def __init__(
        self, server: RedisServer, folder: Path, url: str | None = None, store: RedisServer | None = None, **settings
    ) -> None:
        self.folder, self.store = folder, store or server
        self.url = url or server.url
        self.backend = f"redis://127.0.0.1:{self.store.port}/1"
        self.settings = settings
        self.app = app_of(self.url, self.backend, **settings)
        self.effects = self.store.client(db=2, decode_responses=True)
        self.broker = server.client()
        self.processes: list[Command] = []

    def environment(self, stock: bool = False, **settings) -> dict[str, str]:
        return {
            **os.environ,
            "PLAIN_BROKER": self.url,
            "PLAIN_BACKEND": self.backend,
            "PLAIN_EFFECTS": f"redis://127.0.0.1:{self.store.port}/2",
            "PLAIN_TRANSPORT": "stock" if stock else "claims",
            "PYTHONUNBUFFERED": "1",
            "FLOWER_UNAUTHENTICATED_API": "true",
            "PLAIN_SETTINGS": json.dumps(self.settings | settings),
        }

    def worker(self, *arguments: str, stock: bool = False, **settings) -> "Worker":
        """Start a worker and wait until it consumes."""
        return self.start_worker(*arguments, stock=stock, **settings).until_ready()

    def start_worker(self, *arguments: str, stock: bool = False, **settings) -> "Worker":
        name = f"w{len(self.processes)}"
        command = ("worker", "--without-mingle", "-l", "INFO", "-n", f"{name}@here", *arguments)
        made = Worker(name, self.folder / f"{name}.txt", command, self.environment(stock, **settings))
        self.processes.append(made)
        return made

    def run(self, *arguments: str, stock: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command of Celery to its end."""
        command = [sys.executable, "-m", "celery", "-A", "plain_app", *arguments]
        return subprocess.run(  # noqa: PLW1510 - the caller looks at the code
            command, env=self.environment(stock), cwd=HERE, capture_output=True, text=True, timeout=60
        )

    @contextmanager
    def start_command(self, *arguments: str):
        """Run a command of Celery that does not end by itself."""
        name = f"c{len(self.processes)}"
        made = Command(name, self.folder / f"{name}.txt", arguments, self.environment())
        self.processes.append(made)
        yield made
        made.kill()

    def fill(self, count: int, *, stock: bool) -> None:
        command = [sys.executable, "plain_app.py", str(count)]
        subprocess.run(command, env=self.environment(stock), cwd=HERE, check=True, timeout=60)

    def send(self, name: str, *arguments, **options):
        return self.app.send_task(name, arguments, **options)

    def seen(self) -> list[str]:
        return self.effects.lrange("effects", 0, -1)

    def until_seen(self, *values: str, seconds: float = 30) -> list[str]:
        """Wait until each of these effects is there; returns all."""
        found: list[str] = []

        def there():
            found[:] = self.seen()
            return all(found.count(value) >= values.count(value) for value in values)

        try:
            until(there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{values} did not come, only {found}; {self.said()}") from error
        return found

    def release(self, name: str = "release") -> None:
        self.effects.set(name, 1)

    def said(self) -> str:
        return "\n".join(f"{one.name}: {one.said()[-3000:]}" for one in self.processes)

    def close(self) -> None:
        gc.collect()  # results that lie in cycles unsubscribe when they go: their server must still be there
        for one in self.processes:
            one.kill()
        self.app.close()
        self.effects.close()
        self.broker.close()


class Command:
    """A command of Celery in a process of its own."""

    def __init__(self, name: str, log: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self.name, self.log = name, log
        command = [sys.executable, "-m", "celery", "-A", "plain_app", *arguments]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environment, cwd=HERE, stdout=output, stderr=output)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End it and its children at once."""
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self.process.wait(20)


class Worker(Command):
    """One worker's process."""

    def until_ready(self) -> "Worker":
        until(lambda: "@here ready." in self.said() or self.process.poll() is not None, 60, "the worker is ready")
        assert self.process.poll() is None, self.said()
        return self

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> str:
        """End it in its own time; returns all it said."""
        self.send(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{self.name} does not end: {self.said()[-5000:]}") from error
        return self.said()
