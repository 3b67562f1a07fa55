"""What composing a mail needs from outside, as small protocols."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from processors.interfaces import Report


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that was read: its bytes, and their SHA-256 in hex digits."""

    content: bytes = field(repr=False)
    sha256: str


class AttachmentReader(Protocol):
    """Reads the files that go with a mail, wherever they lie."""

    def read(self, place: str, max_bytes: int, report: Report) -> FileContent:
        """Return a file; one that was read for the same task before may be remembered.

        Args:
            place: as `processors.attachments.Place`.
            max_bytes: a larger one is refused before it is read whole.
            report: called while a file comes from elsewhere; its `Cancelled` ends that.

        Raises:
            FileError: it cannot be had: `not_found`, `too_large`, `empty_file`.
            PermanentError: an artefact was removed, or is damaged.
            TransientError: it cannot be had now.
        """
        ...


class Signer(Protocol):
    """Signs a mail for a domain (DKIM, RFC 6376); the same mail gets the same signature.

    Attributes:
        domain: the one that signs.
    """

    domain: str

    def sign(self, lines: Sequence[str], body_hash: bytes, date: datetime) -> str:
        """Return the header `DKIM-Signature`, with its name and folded.

        Args:
            lines: the mail's header fields, folded, ASCII, without their last line end.
            body_hash: `processors.mail_parts.Built.body_hash`.
            date: the mail's own, which becomes the time of the signature.
        """
        ...
