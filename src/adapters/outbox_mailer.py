"""Mail written into a folder instead of sent: what a fresh machine does, and what a demo wants."""

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from processors.errors import PermanentError, TransportFault
from processors.interfaces import Letter, MailQueue, Outcome, Told

MAIL_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
WRITTEN = Outcome("accepted", text="written to the outbox: nothing left this machine")


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
                hidden: dict[Path, Path] = {}
                try:
                    self._write(letter, queue, hidden)
                    before, told = told, []
                    queue.turn(before, [(letter, letter.recipients)])
                    self._show(hidden)
                finally:
                    for path in hidden:
                        with suppress(OSError):  # where nothing can be written, there is nothing to remove
                            path.unlink()
                told = [(letter, dict.fromkeys(letter.recipients, WRITTEN))]
        finally:
            if told:
                queue.turn(told, [])

    def _write(self, letter: Letter, queue: MailQueue, hidden: dict[Path, Path]) -> None:
        """Write a mail's two files, surviving a power cut, where nobody looks; each is noted with its own name.

        What can fail fails here, before the mail is announced: so nobody is in doubt, and another way out may take it.
        """
        envelope = json.dumps({"from": letter.sender, "to": list(letter.recipients)}, indent=2).encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, content in ((f"{letter.id}.json", envelope), (f"{letter.id}.eml", letter.content)):
                path = self._folder / f".{name}.{os.getpid()}"
                hidden[path] = self._folder / name
                with path.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            queue.give_back(letter)
            raise self._unwritable(error) from error

    def _show(self, hidden: Mapping[Path, Path]) -> None:
        """Give files their own names; where that fails, the mail stays announced, and is written again."""
        try:
            for path, shown in hidden.items():
                path.rename(shown)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> TransportFault:
        return TransportFault(
            f"No mail can be written to the outbox {self._folder} ({error.strerror or error}): it must be a folder, "
            "with free space, that this user may write to."
        )
