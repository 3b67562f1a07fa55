"""What is enclosed in a mail: files by their place, under a name and a type that are safe to show."""

import mimetypes
import re
from typing import Any, Self, cast

from pydantic import field_validator, model_validator

from processors.file_results import FilePath, name_in
from processors.results import Request
from processors.stored_places import LONGEST_NAME, SEPARATORS, UNSEEN, uri_in

REMOTE = re.compile(r"(https|s3)://", re.IGNORECASE)
TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
"""A media type by RFC 6838 4.2, without parameters."""

NOT_ENCLOSED = ("multipart/", "message/")
"""Types whose parts may not be written in base64 (RFC 2046 5.1, 5.2.1)."""

UNKNOWN_TYPE = "application/octet-stream"
CID = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{0,127}")
"""What a page may name an image by: a Content-ID without its brackets (RFC 2392)."""

_types = mimetypes.MimeTypes()
"""Python's own table alone: a mail is the same bytes on every machine, whatever /etc/mime.types says there."""


class Attachment(Request):
    """A file that goes with a mail.

    Attributes:
        path: on the worker's machine; or an address: file://, https://, s3://, or `store://sha256/…` of an artefact or
            an upload.
        name: under which it is shown; left out, the last part of `path`.
        type: its media type; left out, what its name says.
    """

    path: FilePath
    name: str | None = None
    type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_stored(cls, value: Any) -> Any:
        """Refuse what no record may hold, without repeating it."""
        if isinstance(value, dict) and "content" in cast("dict[Any, Any]", value):
            raise ValueError("must be named by its path, got content: send_email and send_bulk_emails store that")
        return cast("Any", value)

    @field_validator("name")
    @classmethod
    def _last_part(cls, value: str | None) -> str | None:
        return None if value is None else safe_name(value)

    @field_validator("type")
    @classmethod
    def _known_form(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not TYPE.fullmatch(value) or value.lower().startswith(NOT_ENCLOSED):
            raise ValueError(
                "must be a media type such as application/pdf, without parameters, and no multipart/ or message/; "
                f"got {value[:80]!r}"
            )
        return value.lower()

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.name is None:
            try:
                safe_name(self.last_part)
            except ValueError as error:
                raise ValueError(f"name: {error}; give one under which {self.path[:80]!r} is shown") from error
        return self

    @property
    def last_part(self) -> str:
        """What the place itself is called."""
        return "attachment" if uri_in(self.path) == self.path else name_in(self.path)

    @property
    def shown_name(self) -> str:
        """The name that a reader sees."""
        return self.name or safe_name(self.last_part)

    @property
    def media_type(self) -> str:
        """The given type, or what the name says."""
        if self.type is not None:
            return self.type
        guessed, packed = _types.guess_type(self.shown_name, strict=False)
        return UNKNOWN_TYPE if guessed is None or packed or guessed.startswith(NOT_ENCLOSED) else guessed

    @property
    def is_remote(self) -> bool:
        """Whether it must be fetched from another machine."""
        return REMOTE.match(self.path) is not None


def safe_name(given: str) -> str:
    """Return the last part of a file's name, without its folders, whichever system's they are.

    Raises:
        ValueError: nothing is left, or it has characters that cannot be seen.
    """
    if UNSEEN.search(given):
        raise ValueError(f"must not contain control or direction characters; got {ascii(given)[:80]}")
    name = SEPARATORS.split(given)[-1].strip()
    if not name.strip(".") or len(name) > LONGEST_NAME:
        raise ValueError(f"must be a file's name of 1 to {LONGEST_NAME} characters; got {given[:80]!r}")
    return name


def checked_cids(images: dict[str, Any]) -> dict[str, Any]:
    """Return inline images whose names may stand behind `cid:`.

    Raises:
        ValueError: one may not.
    """
    for cid in images:
        if not CID.fullmatch(cid):
            raise ValueError(
                "must be named by letters, digits and -_.@, at most 128, as the page has them behind cid:; "
                f"got {cid[:80]!r}"
            )
    return images
