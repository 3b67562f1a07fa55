"""A RabbitMQ of one run: a node of its own with its own name, folders, ports and port mapper."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from cli.chaos.ports import HERE, free_port, listens
from cli.chaos.processes import Processes, ProcessGroup
from processors.errors import ConfigurationError

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
"""Debian's scripts on the PATH change to the user `rabbitmq` and its folders; these are RabbitMQ's own."""

START_SECONDS = 120.0
PAUSE_SECONDS = 0.1
LOGIN = "guest:guest"
"""RabbitMQ's first login, which only this machine may use."""


class RabbitmqServer:
    """Starts, ends and empties one RabbitMQ node.

    Args:
        processes: starts it.
        folder: gets a folder for what it keeps.
        environment: its environment.
        also: one more address to listen on.
    """

    def __init__(
        self, processes: Processes, folder: Path, environment: Mapping[str, str], *, also: str | None = None
    ) -> None:
        self._processes = processes
        self._folder = folder / "rabbitmq"
        self._folder.mkdir()
        self._server, self._mapper = _program("rabbitmq-server"), _program("epmd")
        self._port, self._mapper_port = free_port(), free_port()
        addresses = [HERE, *([also] if also else [])]
        listeners = [f"listeners.tcp.{n} = {address}:{self._port}" for n, address in enumerate(addresses, 1)]
        everywhere = ["loopback_users = none"] if also else []
        (self._folder / "rabbitmq.conf").write_text("\n".join([*listeners, *everywhere]) + "\n")
        self._environment = dict(environment) | self._own_environment()
        self._group: ProcessGroup | None = None
        self._mapper_group: ProcessGroup | None = None

    def url(self, address: str = HERE) -> str:
        """Return its URL for a process that sees it at this address."""
        return f"amqp://{LOGIN}@{address}:{self._port}//"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ConfigurationError: it does not come up; the message says what it printed last.
        """
        if self._mapper_group is None:  # the node would start one that outlives it
            command = [self._mapper, "-address", HERE, "-port", str(self._mapper_port)]
            self._mapper_group = self._processes.start("epmd", command, self._environment, folder=self._folder)
            self._await(self._mapper_group, self._mapper_port)
        self._group = self._processes.start("rabbitmq", [self._server], self._environment, folder=self._folder)
        self._await(self._group, self._port)

    def end(self, *, kill: bool) -> None:
        """End it: at once, or in its own order."""
        if self._group is not None:
            if kill:
                self._group.kill()
            else:
                self._group.terminate()

    def lose_data(self) -> None:
        """Remove what it keeps, while it does not run."""
        shutil.rmtree(self._folder / "mnesia")

    def _await(self, group: ProcessGroup, port: int) -> None:
        """Wait until a port answers; RabbitMQ listens once it is ready."""
        deadline = time.monotonic() + START_SECONDS
        while not listens(port):
            if not group.alive() or time.monotonic() > deadline:
                raise ConfigurationError(f"The {group.name} of this run does not come up: {group.last_words()}.")
            time.sleep(PAUSE_SECONDS)

    def _own_environment(self) -> dict[str, str]:
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        sparing = "+S 2:2 +sbwt none"  # two schedulers, which sleep instead of spin while they have nothing to do
        return {
            "HOME": str(self._folder),  # its Erlang cookie
            "ERL_EPMD_ADDRESS": HERE,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "RABBITMQ_NODENAME": f"chaos{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{loopback} {sparing}",
        }


def _program(name: str) -> str:
    own = PROGRAMS / name
    found = str(own.resolve()) if own.exists() else shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"There is no {name} for this run: `apt install rabbitmq-server`, or use --broker redis."
        )
    return found
