"""A network without a way out, which counts whoever looks for one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from requirements_check import needs

COUNTERS = {
    "snmp": {"Ip": ("OutNoRoutes",), "Udp": ("NoPorts",)},  # a name server may be said to be on the loopback device
    "snmp6": {"Ip6OutNoRoutes": (), "Udp6NoPorts": ()},
}
"""What counts an attempt to reach another machine where only the loopback device is up (RFC 4293, RFC 4113)."""


class CutOff:
    """A network namespace with a loopback device and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, words: list[str]) -> list[str]:
        """Return the command that runs another one inside."""
        return [needs("ip"), "netns", "exec", self.name, *words]

    def attempts(self) -> int:
        """Count the attempts to reach anything outside, names to be looked up among them, since it was made."""
        return counted(self._read("snmp"), self._read("snmp6"))

    def _read(self, name: str) -> str:
        words = self.command(["cat", f"/proc/net/{name}"])
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout


@contextmanager
def cut_off(name: str) -> Iterator[CutOff]:
    """Make one for a while; whoever still runs in it keeps it for itself."""
    ip = needs("ip")
    subprocess.run([ip, "netns", "add", name], check=True, timeout=20)
    try:
        subprocess.run([ip, "-netns", name, "link", "set", "lo", "up"], check=True, timeout=20)
        yield CutOff(name)
    finally:
        subprocess.run([ip, "netns", "delete", name], check=True, timeout=20)


def counted(snmp: str, snmp6: str) -> int:
    """Sum what two tables of /proc/net count of attempts."""
    return _of_version_4(snmp) + _of_version_6(snmp6)


def _of_version_4(said: str) -> int:
    """Sum the counters of a table that has a line of names and a line of values for each protocol."""
    lines = [line.split() for line in said.splitlines()]
    total = 0
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        wanted = COUNTERS["snmp"].get(names[0].rstrip(":"), ())
        total += sum(int(value) for name, value in zip(names, values, strict=True) if name in wanted)
    return total


def _of_version_6(said: str) -> int:
    pairs = (line.split() for line in said.splitlines())
    return sum(int(value) for name, value in pairs if name in COUNTERS["snmp6"])
