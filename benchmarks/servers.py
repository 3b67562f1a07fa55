"""The servers of a run: a Redis and a PostgreSQL of its own, and a relay that makes Redis far away."""

import os
import pwd
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from uuid import uuid4

import psycopg
from processes import Processes, ProcessFailed
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from broker.embedded_redis import find_server

START_SECONDS = 30
POSTGRESQL_FOLDERS = "/usr/lib/postgresql"
RELAY = Path(__file__).with_name("relay.py")
PINGS, FSYNCS = 200, 100


class RedisServer:
    """A Redis on a free port of this machine that writes nothing to disk; database 0 is the broker, 1 the effects."""

    def __init__(self, processes: Processes) -> None:
        self.binary = find_server()
        self.port = free_port()
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        processes.start([self.binary, *options])
        self.client = Redis(port=self.port)
        self.effects = Redis(port=self.port, db=1)
        _until_answers(self.client.ping, NoConnection, processes)

    @property
    def version(self) -> str:
        """The server's version."""
        return self.client.info("server")["redis_version"]

    def url(self, database: int, port: int | None = None) -> str:
        """Return the URL of one of its databases, through another port where one is named."""
        return f"redis://127.0.0.1:{port or self.port}/{database}"

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used so far."""
        used = self.client.info("cpu")
        return used["used_cpu_user"] + used["used_cpu_sys"]


class Postgresql:
    """A PostgreSQL on a unix socket, with fsync, run by the user postgres where this is run by root."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = pwd.getpwnam("postgres").pw_uid if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="csai-bench-"))  # the user postgres must reach it
        self.fsync = f"{fsync_milliseconds(self.folder):.2f} ms"
        self._processes = Processes({"PATH": os.defpath, "LANG": "C.UTF-8"}, self.folder)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        shutil.rmtree(self.folder)

    @property
    def version(self) -> str:
        """The server's version."""
        with self._connect() as connection:
            return connection.execute("SHOW server_version").fetchone()[0]

    def fresh_database(self) -> str:
        """Make a database and return its URL."""
        name = f"bench_{uuid4().hex[:12]}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://bench@/{name}?host={self.folder}"

    def _start(self) -> None:
        if self._user is not None:
            os.chown(self.folder, self._user, -1)
        data = str(self.folder / "data")
        make = [str(self._binaries / "initdb"), "-D", data, "-A", "trust", "-U", "bench"]
        if self._processes.start(make, user=self._user).wait(START_SECONDS):
            raise ProcessFailed("initdb failed")
        self._processes.stop()
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.folder}"]
        self._processes.start([str(self._binaries / "postgres"), "-D", data, *options], user=self._user)
        _until_answers(lambda: self._connect().close(), psycopg.OperationalError, self._processes)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(f"host={self.folder} user=bench dbname=postgres", autocommit=True, connect_timeout=5)


class Relay:
    """A process between client and Redis that gives back every byte a little later.

    Args:
        processes: where it belongs.
        target: the port of the server behind it.
        round_trip: milliseconds, half of them in each direction.
    """

    def __init__(self, processes: Processes, target: int, round_trip: float) -> None:
        self.port = free_port()
        processes.start([sys.executable, str(RELAY), str(self.port), str(target), str(round_trip / 2)])
        self._client = Redis(port=self.port)
        _until_answers(self._client.ping, NoConnection, processes)

    def measured_round_trip(self) -> float:
        """Return the median time of a PING through it, in milliseconds."""
        return statistics.median(_milliseconds(self._client.ping) for _ in range(PINGS))


def postgresql_binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += [folder / "bin" for folder in sorted(Path(POSTGRESQL_FOLDERS).glob("*"), reverse=True)]
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def fsync_milliseconds(folder: Path) -> float:
    """Return the median time in which this disk says that 4 KiB are safe: what a durable commit costs at least."""
    with tempfile.TemporaryFile(dir=folder) as file:

        def write_through() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return statistics.median(_milliseconds(write_through) for _ in range(FSYNCS))


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until_listens(port: int, processes: Processes) -> None:
    """Wait until somebody listens on a port of this machine; raises `ProcessFailed` where nobody does for long."""
    _until_answers(lambda: socket.create_connection(("127.0.0.1", port)).close(), ConnectionRefusedError, processes)


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _until_answers(ask: Callable[[], object], refusal: type[Exception], processes: Processes) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        processes.check()
        try:
            ask()
        except refusal as error:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"a server did not answer within {START_SECONDS} s: {error}") from error
            time.sleep(0.02)
        else:
            return
