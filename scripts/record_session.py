"""Record the session at a terminal that README.md shows, beside a service that runs. It is printed.

. .venv/bin/activate
python scripts/record_session.py
"""

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import time
from typing import NamedTuple

WIDTH, HEIGHT = 120, 40
QUIET_SECONDS = 3.0
"""When so long nothing came of a command that goes on until Ctrl-C, that is pressed."""

LONGEST_SECONDS = 120.0
"""A command that takes longer is ended, and with it the recording: there may be no worker, or no service."""

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\n)|\r")
"""What steers a terminal: a sequence, its letter; the end of a line; its beginning."""

WORDS = re.compile(r"\s{2}|\s━")
"""What ends the words before a bar."""


class Step(NamedTuple):
    """A command, and how many lines are shown of its beginning and of its end; `goes_on`: until Ctrl-C."""

    command: str
    first: int = 1000
    last: int = 0
    goes_on: bool = False


SESSION = (
    Step("csai submit process_document --file-path src/examples/samples/scan.pdf --wait", 9, 2),
    Step("csai ls"),
    Step("csai show TASK_ID", 5, 9),
    Step("csai submit send_email --to-email ann --subject Hi --body Hello"),
    Step("csai submit send_email --to-email ann@example.com --subject Hi --body Hello"),
    Step("csai tail --since 5m", goes_on=True),
    Step("csai queues"),
    Step("csai doctor", 9, 3),
)
"""TASK_ID is the id that the first command has printed."""


def main() -> None:
    """Do each step, and print it as a terminal shows it."""
    task_id = ""
    for step in SESSION:
        command = step.command.replace("TASK_ID", task_id)
        lines = shown(run(shlex.split(command), goes_on=step.goes_on))
        task_id = task_id or next(found[0] for line in lines if (found := ID.fullmatch(line)))
        print(f"$ {command}", *trimmed(lines, step), "", sep="\n")


def run(command: list[str], *, goes_on: bool, seconds: float = LONGEST_SECONDS) -> str:
    """Return all that a command writes on a terminal without colours; one that takes too long ends the recording."""
    child, terminal = pty.fork()
    if not child:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        os.execvp("env", ["env", "TERM=xterm", "NO_COLOR=1", *command])  # noqa: S606, S607 - of the environment in use
    written, until = b"", time.monotonic() + seconds
    while True:
        quiet = QUIET_SECONDS if goes_on and written else seconds
        if not select.select([terminal], [], [], max(0.0, min(quiet, until - time.monotonic())))[0]:
            if goes_on and written and time.monotonic() < until:
                os.write(terminal, b"\x03")
                goes_on = False
                continue
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            wrote = written.decode(errors="replace")
            sys.exit(f"{shlex.join(command)} goes on after {seconds:g} s; see csai doctor. It wrote: {wrote}")
        try:
            some = os.read(terminal, 65_536)
        except OSError:  # so a terminal says that nobody writes any more
            some = b""
        if not some:
            os.waitpid(child, 0)
            return written.decode()
        written += some


def shown(written: str) -> list[str]:
    """Return the lines that were to be seen; of a bar that moves a line for each of its words, as it was last."""
    lines: list[str] = []
    now, bar, at = "", "", 0
    for found in CONTROL.finditer(written):
        now += written[at : found.start()]
        at = found.end()
        if found[3]:
            lines.append(now)
            now = ""
        elif found[2] == "A":
            now = lines.pop()
        elif found[2] == "K" and now:
            words = WORDS.split(now)[0]
            if words == bar:
                lines.pop()
            lines.append(now)
            bar, now = words, ""
    return [line.rstrip() for line in [*lines, now + written[at:]]]


def trimmed(lines: list[str], step: Step) -> list[str]:
    """Return the lines that are shown of a step."""
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) <= step.first + step.last + 1:
        return lines
    return [*lines[: step.first], "…", *lines[len(lines) - step.last :]]


if __name__ == "__main__":
    main()
