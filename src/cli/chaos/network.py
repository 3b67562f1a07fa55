"""A network of its own for one worker, joined to this machine's by a cable (veth) that can be pulled."""

import os
import shutil
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

from processors.errors import ConfigurationError

COMMAND_SECONDS = 10


class Network:
    """A network namespace and its cable; needs the rights to make them.

    Args:
        which: its number among those of this process, from 0.

    Attributes:
        name: the namespace's name.
        cable: the name of this machine's end of the cable.
        address: this machine's address on it.
        far_address: the other end's.
    """

    def __init__(self, which: int = 0) -> None:
        self.name = f"chaos{os.getpid()}n{which}"
        self.cable, self._far = f"csai{os.getpid()}a{which}", f"csai{os.getpid()}b{which}"
        # a /30 out of 198.18.0.0/15, which RFC 2544 keeps for tests of networks
        number = (os.getpid() * 2 + which) % 2**15 * 4
        base = f"198.{18 + number // 2**16}.{number // 256 % 256}"
        self.address, self.far_address = f"{base}.{number % 256 + 1}", f"{base}.{number % 256 + 2}"

    def __enter__(self) -> Self:
        """Make it.

        Raises:
            ConfigurationError: this machine or this user may not; the message says which command was refused.
        """
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def command(self, words: list[str]) -> list[str]:
        """Return the command that runs another one inside."""
        return [_program(), "netns", "exec", self.name, *words]

    def cut(self) -> None:
        """Pull the cable: packets are lost in both directions, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def heal(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.cable, "up")

    def _make(self) -> None:
        _ip("netns", "add", self.name)
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", self._far, "netns", self.name)
        _ip("address", "add", f"{self.address}/30", "dev", self.cable)
        _ip("link", "set", self.cable, "up")
        inside = ("-netns", self.name)
        _ip(*inside, "address", "add", f"{self.far_address}/30", "dev", self._far)
        _ip(*inside, "link", "set", self._far, "up")
        _ip(*inside, "link", "set", "lo", "up")

    def _remove(self) -> None:
        """Take it all away, as far as it was made."""
        with suppress(ConfigurationError):
            _ip("netns", "delete", self.name)
        with suppress(ConfigurationError):
            _ip("link", "delete", self.cable)


def _program() -> str:
    found = shutil.which("ip")
    if found is None:
        raise ConfigurationError("This machine does not allow --faults partition: there is no `ip` (iproute2).")
    return found


def _ip(*words: str) -> None:
    done = subprocess.run([_program(), *words], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)  # noqa: S603 - a fixed command
    if done.returncode != 0:
        raise ConfigurationError(
            f"This machine does not allow --faults partition: `ip {' '.join(words)}` said: {done.stderr.strip()}."
        )
