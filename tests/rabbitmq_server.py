"""A RabbitMQ of the tests' own, from its installed programs: own node, folders, ports and port mapper on 127.0.0.1."""

import os
import shutil
import signal
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import trustme
from amqp import Connection

from ports import free_port, listens
from requirements_check import needs
from waiting import until

# Debian's own start script would change to the user rabbitmq and its folders.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
START_SECONDS = 120
USER = "guest"
PASSWORD = "guest"  # RabbitMQ's own first user, whom it lets in from this machine alone


def _program(name: str) -> str:
    found = needs(name)
    own = PROGRAMS / name
    return str(own.resolve() if own.exists() else found)


class RabbitmqServer:
    """One node that a test starts, stops and kills."""

    def __init__(self) -> None:
        self._server, self._control = _program("rabbitmq-server"), _program("rabbitmqctl")
        self._mapper_program = needs("epmd")
        self.folder = Path(tempfile.mkdtemp(prefix="csai-rmq-"))
        self.port, self.tls_port = free_port(), free_port()
        self.authority = self.folder / "authority.pem"
        self._mapper_port = free_port()
        self._node = f"csai-{uuid4().hex[:8]}@localhost"
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "rabbitmq.conf").write_text(self._configuration())

    @property
    def log(self) -> Path:
        return self.folder / "console.txt"

    def start(self) -> None:
        """Start the node, with what it kept, and wait until it answers."""
        if self._process is not None:
            return
        self._start_mapper()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._server],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,
            )
        until(self._answers, START_SECONDS, "RabbitMQ answers", every=0.1)

    def stop(self) -> None:
        """Stop the node; it keeps its data."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill -9 of the node."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let the node answer nothing while its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def lose_data(self) -> None:
        """Kill the node and take all its data away."""
        self.kill()
        shutil.rmtree(self.folder / "mnesia")

    def end(self) -> None:
        """Leave nothing behind."""
        self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, host: str = "") -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{host or '/'}"

    def fresh_host(self) -> str:
        """Make an empty virtual host and return its URL."""
        name = f"test-{uuid4().hex[:12]}"
        self.control("add_vhost", name)
        self.control("set_permissions", "-p", name, USER, ".*", ".*", ".*")
        return self.url(name)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`."""
        return subprocess.run(
            [self._control, "-q", *arguments],
            env=self._environment(),
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def _start_mapper(self) -> None:
        """Start the port mapper that Erlang would otherwise start and leave running."""
        if self._mapper is None:
            self._mapper = subprocess.Popen(
                [self._mapper_program, "-port", str(self._mapper_port), "-address", "127.0.0.1"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            until(lambda: listens(self._mapper_port), what="the port mapper listens")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        if not listens(self.port):
            return False
        try:
            with Connection(f"127.0.0.1:{self.port}", USER, PASSWORD, connect_timeout=5):
                return True
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        os.killpg(process.pid, how)
        os.killpg(process.pid, signal.SIGCONT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def _signal(self, what: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, what)

    def _configuration(self) -> str:
        """Return the node's settings; its certificate is for `localhost`."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self.authority)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(self.folder / "server.pem")
        lines = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": self.authority,
            "ssl_options.certfile": self.folder / "server.pem",
            "ssl_options.keyfile": self.folder / "server.pem",
            "log.console": "true",
            "log.file": "false",
        }
        return "".join(f"{name} = {value}\n" for name, value in lines.items())

    def _environment(self) -> dict[str, str]:
        named = {
            "NODENAME": self._node,
            "CONF_ENV_FILE": "/nonexistent",
            "CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "MNESIA_BASE": str(self.folder / "mnesia"),
            "LOG_BASE": str(self.folder / "log"),
            "ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "PID_FILE": str(self.folder / "pid"),
            "DIST_PORT": str(free_port()),
            # +sbwt: a scheduler without work sleeps instead of spinning, for the sake of the tests beside it
            "SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        }
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            **{f"RABBITMQ_{name}": value for name, value in named.items()},
        }


@lru_cache(maxsize=1)
def shared_server() -> RabbitmqServer:
    """Return the one node of this run."""
    return RabbitmqServer()
