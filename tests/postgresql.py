"""A PostgreSQL server of the tests' own, from its installed binaries."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
from sqlalchemy import create_engine, make_url, text

from requirements_check import needs

IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 * 1024**3


def _scratch() -> Path | None:
    """Return a folder in memory where there is one with room: each database is hundreds of files."""
    has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES
    return IN_MEMORY if has_room and os.access(IN_MEMORY, os.W_OK) else None


class PostgresqlServer:
    """A server of our own on a unix socket, run by the user postgres where the tests are run by root.

    Args:
        addresses: those of networks of a test's own that it listens on as well.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.folder = Path(tempfile.mkdtemp(prefix="csai-pg-", dir=_scratch()))
        self.binaries = Path(needs("initdb")).resolve().parent
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)

    def start(self) -> None:
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "csai", "--no-sync")
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.writelines(f"host all all {address}/30 trust\n" for address in self.addresses)
        self.start_again()

    def start_again(self) -> None:
        """Start it with the data it has."""
        listens = ",".join(self.addresses)
        options = f"-c listen_addresses={listens} -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def shut_down(self) -> None:
        """Stop it as an administrator does: whoever is connected loses the connection."""
        self._run("pg_ctl", "-D", "data", "-m", "fast", "-w", "stop")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes for a while: connections stay, and nothing answers."""
        first = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        stopped = [first, *first.children()]
        for one in stopped:
            with suppress(psutil.NoSuchProcess):  # a child that ended just now
                one.suspend()
        try:
            yield
        finally:
            for one in stopped:
                with suppress(psutil.NoSuchProcess):  # one that its server ended once that was awake
                    one.resume()

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh_database(self) -> str:
        """Make a database and return its URL."""
        name = f"test_{uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop(self, url: str) -> None:
        """Remove a database that nobody needs any more."""
        self._execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://csai@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        user = pwd.getpwnam(self._user) if self._user else None
        subprocess.run(
            [str(self.binaries / program), *arguments],
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
