"""Mail written into a folder instead of sent: what a fresh machine does, and what a demo wants."""

import json
import os
import re
from pathlib import Path

from processors.errors import PermanentError, TransportFault
from processors.interfaces import Letter, MailQueue, Outcome, Told

MAIL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
WRITTEN = Outcome("accepted", text="written to the outbox: nothing left this machine")

NOT_WRITTEN = Outcome("queued")
"""It is known that nobody has it, where otherwise it would be in doubt after the last attempt."""


class OutboxMailer:
    """Fulfils `processors.interfaces.Mailer`; a mail's file is named by its id, so that the same mail is one file.

    Args:
        folder: where the files go; made when the first one comes.
    """

    name = "outbox"
    repeatable = True
    deadline = 0.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, queue: MailQueue) -> None:
        """Write each mail as `<mail id>.eml`, its envelope beside it as `<mail id>.json`; everybody is accepted.

        Raises:
            TransportFault: the folder cannot be written; what is not written is given back.
            PermanentError: a mail's id names no file.
        """
        told: list[Told] = []
        try:
            while (letter := queue.take()) is not None:
                if not MAIL_ID.fullmatch(letter.id):
                    raise PermanentError(
                        f"A mail's id must be letters, digits, - and _ to name a file; got {letter.id!r}."
                    )
                before, told = told, []
                queue.turn(before, [(letter, letter.recipients)])
                try:
                    self._put(letter)
                except OSError as error:
                    queue.turn([(letter, dict.fromkeys(letter.recipients, NOT_WRITTEN))], [])
                    queue.give_back(letter)
                    raise self._unwritable(error) from error
                told = [(letter, dict.fromkeys(letter.recipients, WRITTEN))]
        finally:
            if told:
                queue.turn(told, [])

    def _unwritable(self, error: OSError) -> TransportFault:
        return TransportFault(
            f"No mail can be written to the outbox {self._folder} ({error.strerror or error}): it must be a folder, "
            "with free space, that this user may write to."
        )

    def _put(self, letter: Letter) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        envelope = {"from": letter.sender, "to": list(letter.recipients)}
        self._write(f"{letter.id}.json", json.dumps(envelope, indent=2).encode())
        self._write(f"{letter.id}.eml", letter.content)

    def _write(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all, surviving a power cut."""
        temporary = self._folder / f".{name}.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self._folder / name)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
