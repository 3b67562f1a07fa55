"""What composes mails in tests: files by their place, in memory, and a reader that nobody here wrote."""

import hashlib
from collections.abc import Mapping
from email import policy
from email.parser import BytesParser

from processors.composition import Composer
from processors.errors import FileError
from processors.mail_interfaces import FileContent, Signer


class FilesInMemory:
    """Fulfils `processors.mail_interfaces.AttachmentReader`."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files, self.read_places = dict(files), list[str]()

    def read(self, place, max_bytes, report):
        self.read_places.append(place)
        if place not in self.files:
            raise FileError(f"The file {place} does not exist.", "not_found")
        content = self.files[place]
        if len(content) > max_bytes:
            raise FileError(f"The file {place} has {len(content)} bytes, at most {max_bytes} are read.", "too_large")
        return FileContent(content, hashlib.sha256(content).hexdigest())


def composer(files: Mapping[str, bytes] | None = None, *, max_mb: int = 25, signer: Signer | None = None) -> Composer:
    """Return what makes mails, with files that lie in memory."""
    return Composer(FilesInMemory(files or {}), max_mb, signer)


def read(content: bytes):
    """Parse a message by the standard library, which writes none of ours."""
    return BytesParser(policy=policy.default).parsebytes(content)
