"""All parts of one installation under one roof: `scripts/start_celery.py all`."""

import errno
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from types import FrameType
from typing import TextIO

from broker.embedded_redis import EmbeddedRedis, find_server
from broker.location import check_reachable, resolve
from config.email_urls import read_ways
from config.settings import Settings, ensure_folders
from processors.errors import ConfigurationError, ServiceUnavailable
from records import schema
from records.database import Database
from services import users
from services.access import FLOWER_USER, admin_key, admin_key_file, flower_login, flower_password_file
from services.signing import signer_of
from services.supervised_part import SUPERVISED, SupervisedPart, forget_marks
from services.wiring import parts

IO_QUEUES = ("high_priority", "default", "email", "twilio_calls", "ai_processing", "low_priority")
HEAVY_QUEUES = ("file_processing",)
CELERY = (sys.executable, "-m", "celery", "-A", "services.celery_app:celery_app")
CELERY_PART = (sys.executable, "-m", "services.celery_part")
READY_SECONDS = 90.0
PORT_PATIENCE_SECONDS = 5.0
REDIS_PAUSE_SECONDS = 5.0
TICK_SECONDS = 0.2
ANSWER_SECONDS = 2.0
MOST_ANSWER_BYTES = 1000
ALIVE = {"": ("/livez", b'"alive"'), "FLOWER_": ("/healthcheck", b"OK")}
"""What each door answers to whoever asks, and in what words."""


class Supervisor:
    """Starts every part in order, keeps it running, and leaves nothing behind.

    Args:
        settings: the installation.
        out: where it speaks; secrets are shown only on a terminal.
    """

    def __init__(self, settings: Settings, out: TextIO) -> None:
        self._settings = settings
        self._out = out
        self._redis = None if settings.broker_given else EmbeddedRedis(settings)
        self._selector = selectors.DefaultSelector()
        self._redis_due = 0.0
        self._stops = 0
        self.parts = _parts(settings)

    def run(self) -> int:
        """Run until told to stop; returns the exit code.

        Raises:
            ConfigurationError: it cannot start; the message names the cause and the cure.
        """
        ensure_folders(self._settings)
        with self._alone():
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if ending is not signal.SIGHUP or signal.getsignal(ending) is not signal.SIG_IGN:  # nohup
                    signal.signal(ending, self._hear)
            check_ports(self._settings)
            try:
                if not self._start():
                    return 1
                self._watch()
            finally:
                self._stop()
        return 0

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Let one supervisor at a time look after a DATA_DIR."""
        path = self._settings.run_dir / "supervisor.lock"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ConfigurationError(
                    f"The service of {self._settings.data_dir} runs already (process {file.read().strip()}); "
                    "stop that one first, or set DATA_DIR, PORT and FLOWER_PORT for a second one."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def _start(self) -> bool:
        """Start everything; False where it was stopped or a part did not come up."""
        began = time.monotonic()
        self._say("Starting: the first time takes some seconds more.")
        signer_of(self._settings)  # a key that cannot be used would fail every mail
        self._start_broker()
        database = Database(self._settings.sqlalchemy_url)
        schema.upgrade(database)
        database.close()
        forget_marks()
        admin_key(self._settings)  # made here, so that a full disk is one line
        flower_login(self._settings)
        for part in self.parts:
            part.start(self._selector)
        while not self._stops and not all(part.was_ready for part in self.parts):
            self._read()
            for part in self.parts:
                if not part.alive():
                    self._explain(part)
                    return False
                part.was_ready = part.was_ready or part.ready()
            if time.monotonic() - began > READY_SECONDS:
                waiting = ", ".join(part.name for part in self.parts if not part.was_ready)
                self._say(f"Not ready after {READY_SECONDS:.0f} s: {waiting}; see the logs in {self._settings.logs}.")
                return False
        if not self._stops:
            self._say(f"Ready after {time.monotonic() - began:.1f} s.")
            self._show_doors()
        return not self._stops

    def _start_broker(self) -> None:
        if self._redis is not None:
            self._say(f"Redis: {find_server()}")
            self._redis.start()
        check_reachable(resolve(self._settings), timeout=5)

    def _watch(self) -> None:
        """Restart what ends, until told to stop."""
        while not self._stops:
            self._read()
            self._keep_redis()
            for part in self.parts:
                if part.hand_over():
                    self._say(f"{part.name} has a task that does not end: another process takes its place.")
                    self._start_part(part)
                for code in part.see_off(self._selector):
                    self._say(f"{part.name} ended ({code}); its place was taken before.")
                if part.process is None and part.may_start():
                    self._start_part(part)
                elif part.process is not None and not part.alive():
                    code = part.process.returncode
                    self._say(f"{part.name} ended ({code}) and starts again in {part.bury(self._selector):.0f} s.")

    def _keep_redis(self) -> None:
        """Start Redis again where it ended; what keeps it from starting, a full disk perhaps, may pass."""
        if self._redis is None or self._redis.alive() or time.monotonic() < self._redis_due:
            return
        self._say("Redis ended and is started again; tasks wait in their records meanwhile.")
        try:
            self._redis.start()
        except ConfigurationError as error:
            self._redis_due = time.monotonic() + REDIS_PAUSE_SECONDS
            self._say(f"{error} It is tried again every {REDIS_PAUSE_SECONDS:.0f} s.")

    def _start_part(self, part: SupervisedPart) -> None:
        """Start a part again; a machine that has no room for a process now may have it soon."""
        try:
            part.start(self._selector)
        except (OSError, subprocess.SubprocessError) as error:
            pause = part.bury(self._selector)
            self._say(f"{part.name} cannot be started ({error}) and is tried again in {pause:.0f} s.")

    def _stop(self) -> None:
        """Stop everything in order, cleanly; at once when told a second time."""
        if any(part.alive_or_leaving() for part in self.parts):
            self._say("Stopping; a second Ctrl-C stops at once.")
        for group in STOP_ORDER:
            named = [part for part in self.parts if part.name in group]
            for part in named:
                part.ask_to_stop()
            self._await_end(named)
        for part in self.parts:
            part.kill()
        if self._redis is not None:
            self._redis.stop()
        self._say("Stopped.")

    def _await_end(self, stopping: list[SupervisedPart]) -> None:
        began = time.monotonic()
        while self._stops < 2 and any(part.alive_or_leaving() for part in stopping):  # noqa: PLR2004 - the second Ctrl-C
            self._read()
            for part in stopping:
                if part.alive_or_leaving() and time.monotonic() - began > part.stop_seconds:
                    self._say(f"{part.name} did not end within {part.stop_seconds:.0f} s and is killed.")
                    part.kill()

    def _read(self) -> None:
        for key, _ in self._selector.select(TICK_SECONDS):
            key.data.read(self._selector, key.fileobj)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        # A closed terminal tells so twice, once by the shell and once by the kernel, and nobody is in a hurry.
        self._stops = max(self._stops, 1) if number == signal.SIGHUP else self._stops + 1

    def _explain(self, part: SupervisedPart) -> None:
        part.bury(self._selector)
        self._say(f"{part.name} did not start:")
        for line in list(part.lines)[-8:]:
            self._say(f"  {line}")

    def _show_doors(self) -> None:
        settings = self._settings
        web, flower = _url(settings.host, settings.port), _url(settings.flower_host, settings.flower_port)
        self._say(f"  pages   {web}")
        self._show_user()
        self._say(f"  API     {web}/api/v1   (alive: {web}/livez, ready: {web}/readyz)")
        if self._out.isatty():
            self._say(f"  key     {admin_key(settings)}   (kept in {admin_key_file(settings)})")
        else:
            self._say(f"  key     in {admin_key_file(settings)}")
        self._say(f"  Flower  {flower}")
        password = flower_login(settings).partition(":")[2]
        shown = password if self._out.isatty() else f"in {flower_password_file(settings)}"
        self._say(f"  login   user {FLOWER_USER}, password {shown}")
        names = read_ways(settings.email_url).names
        self._say(f"  mail    {f'in {settings.outbox_dir}' if names == 'outbox' else f'by {names}'}")
        self._say(f"  logs    in {settings.logs}")
        self._say("Try it: make example")

    def _show_user(self) -> None:
        """Make the first user of the dashboard where that can be shown: their password is told this once."""
        if self._out.isatty() and (password := users.add_first()):
            self._say(f"  user    {users.FIRST}, password {password}   (shown this once)")
        elif users.listed():
            self._say("  user    see csai users ls; a lost password: csai users set-password NAME")
        else:
            self._say("  user    none yet: csai users add NAME --role admin")

    def _say(self, line: str) -> None:
        try:
            print(line, file=self._out, flush=True)
        except OSError:
            return  # the terminal was closed, which is no reason not to stop in order


STOP_ORDER = (("web",), ("beat",), ("worker io", "worker heavy"), ("leader",), ("flower",))


def _parts(settings: Settings) -> list[SupervisedPart]:
    """Return the parts in the order in which they start."""
    heavy = min(settings.celery_worker_concurrency, os.cpu_count() or 1)
    soft = settings.soft_shutdown_timeout + 15
    return [
        SupervisedPart("leader", (sys.executable, "-m", "services.leader"), _leads),
        SupervisedPart(
            "worker io",
            (*_worker("io", IO_QUEUES, settings.io_concurrency), "--pool=threads", SUPERVISED),
            _works("io"),
            signal.SIGQUIT,
            soft,
        ),
        SupervisedPart("worker heavy", _worker("heavy", HEAVY_QUEUES, heavy), _works("heavy"), signal.SIGQUIT, soft),
        SupervisedPart("beat", (*CELERY_PART, "beat", "--scheduler=services.beat:LeaderlessScheduler"), lambda: True),
        SupervisedPart("flower", (*CELERY, "flower"), lambda: _listens(settings.flower_host, settings.flower_port)),
        SupervisedPart("web", (sys.executable, "-m", "api"), lambda: _is_ready(settings.host, settings.port)),
    ]


def _worker(name: str, queues: tuple[str, ...], concurrency: int) -> tuple[str, ...]:
    options = (f"--hostname={name}@%h", f"--queues={','.join(queues)}", f"--concurrency={concurrency}")
    return (*CELERY_PART, "worker", *options)


def _leads() -> bool:
    try:
        return parts().leadership.current() is not None
    except ServiceUnavailable:
        return False


def _works(name: str) -> Callable[[], bool]:
    def ready() -> bool:
        try:
            return any(row.name.startswith(f"{name}@") for row in parts().workers.living())
        except ServiceUnavailable:
            return False

    return ready


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((_shown(host), port), ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _is_ready(host: str, port: int) -> bool:
    return _answers(host, port, ("/readyz", b""))


def _answers(host: str, port: int, known: tuple[str, bytes]) -> bool:
    """Tell whether a path is answered well, with these bytes in it."""
    path, words = known
    connection = HTTPConnection(_shown(host), port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        answer = connection.getresponse()
        return answer.status == HTTPStatus.OK and words in answer.read(MOST_ANSWER_BYTES)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _shown(host: str) -> str:
    """Return an address that reaches a listener: one that listens everywhere is reached here."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound


def _url(host: str, port: int) -> str:
    name = _shown(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def check_ports(settings: Settings) -> None:
    """Find out before anything starts whether the ports are free; those of a supervisor that was just killed soon are.

    Raises:
        ConfigurationError: a port is taken, or an address is not this machine's.
    """
    if settings.port == settings.flower_port:
        raise ConfigurationError(f"PORT and FLOWER_PORT are both {settings.port}; set one of them to another port.")
    for prefix, host, port in _wanted(settings):
        deadline = time.monotonic() + PORT_PATIENCE_SECONDS
        while (error := _refusal(host, port)) is not None:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise ConfigurationError(_unusable(prefix, host, port, error))
            time.sleep(TICK_SECONDS)


def described_ports(settings: Settings) -> str:
    """Tell of the ports that each is free, or that a part of the service answers there.

    Raises:
        ConfigurationError: another program has one, or an address is not this machine's.
    """
    found: list[str] = []
    for prefix, host, port in _wanted(settings):
        error = _refusal(host, port)
        if error is not None and not (error.errno == errno.EADDRINUSE and _answers(host, port, ALIVE[prefix])):
            raise ConfigurationError(_unusable(prefix, host, port, error))
        found.append(f"{prefix}PORT {port} {'is free' if error is None else 'answers'}")
    return ", ".join(found)


def _wanted(settings: Settings) -> tuple[tuple[str, str, int], ...]:
    return ("", settings.host, settings.port), ("FLOWER_", settings.flower_host, settings.flower_port)


def _refusal(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error
    return None


def _unusable(prefix: str, host: str, port: int, error: OSError) -> str:
    number = error.errno or 0
    unknown = number < 0  # getaddrinfo's numbers
    cause = "no machine has this name" if unknown else os.strerror(number)
    host_at_fault = unknown or number == errno.EADDRNOTAVAIL
    cure = f"set {prefix}HOST to an address of this machine" if host_at_fault else f"set {prefix}PORT to a free port"
    return f"{prefix}PORT {port} on {host} cannot be used: {cause}; {cure}."
