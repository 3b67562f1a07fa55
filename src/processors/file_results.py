"""What every method for files takes and returns: a request base, an envelope, the tools that all need."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from processors import stored_places
from processors.envelopes import Artefact, Envelope, stored, warning
from processors.interfaces import FileSandbox, ObjectStorage
from processors.results import Request, Result

SCHEMES = ("file", "s3", "https", "store")
LONGEST_PATH = 4096


def checked_place(value: str) -> str:
    """Return the place of a file, if it begins as those do that are read.

    Raises:
        ValueError: it is an address of a kind that is not read.
    """
    scheme, mark, rest = value.partition("://")
    if not mark or not scheme.isalnum():
        return value
    if scheme.lower() not in SCHEMES:
        raise ValueError("must be a path, or an address that begins with file://, s3://, https:// or store://")
    if scheme.lower() == "store":
        stored_places.check(value)
        return value
    if not rest.strip("/") or (scheme.lower() == "s3" and not all(rest.partition("/"))):
        raise ValueError(f"must name a file after {scheme}://")
    if "@" in rest.partition("/")[0]:
        raise ValueError("must hold no user's name or password: arguments are kept")
    try:
        urlsplit(value)
    except ValueError:
        raise ValueError("must be an address; in its host, brackets stand around an IPv6 address alone") from None
    return value


FilePath = Annotated[
    str, Field(min_length=1, max_length=LONGEST_PATH, pattern=r"^[^\x00]+$"), AfterValidator(checked_place)
]


def name_in(place: str) -> str:
    """Return the own name of the file at a path or an address, without its folders."""
    scheme, mark, rest = place.partition("://")
    if mark and scheme.lower() == "s3":
        return PurePosixPath(rest).name  # a key has no query and no escapes
    if mark and scheme.lower() == "store":
        return stored_places.name_at(place)
    if mark and scheme.lower() in SCHEMES:
        return PurePosixPath(unquote(urlsplit(place).path)).name
    return Path(place).name


class FileRequest(Request):
    """Work on one file, which lies at a path of the worker's machine or at an address."""

    file_path: FilePath

    @property
    def name(self) -> str:
        """The file's own name, without its folders."""
        return name_in(self.file_path)

    def effective_options(self) -> dict[str, Any]:
        """Return what was asked for, without what must not be shown."""
        return self.model_dump(exclude={"password", "file_path"})


class Input(Result):
    """The file as it was found."""

    sha256: str
    bytes: int
    name: str
    declared_type: str | None
    detected_type: str
    type_mismatch: bool


class ReadArtefact(Request):
    """Read the bytes of an artefact, by the `uri` that a result names."""

    uri: str = Field(pattern=r"^store://sha256/[0-9a-f]{64}$")


class FileResult(Envelope):
    """The envelope of file results."""

    input: Input


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTools:
    """What every method for files needs from outside.

    Attributes:
        path: where the file lies on this machine.
        sandbox: opens it.
        storage: keeps artefacts.
        task_id: whose artefacts they are.
        inline_text_kb: text up to this size is part of the result.
    """

    path: Path
    sandbox: FileSandbox
    storage: ObjectStorage
    task_id: str
    inline_text_kb: int = 256

    def keep(self, kind: str, content: bytes, mime: str, **more: Any) -> Artefact:
        """Store bytes as an artefact of this task."""
        return stored(self.storage, self.task_id, kind, content, mime, **more)

    def keep_all(self, made: list[dict[str, Any]]) -> list[Artefact]:
        """Store what a child has made: each as `packed` returned it."""
        return [
            self.keep(
                content=base64.b64decode(one["data"]),
                **{key: value for key, value in one.items() if key != "data"},
            )
            for one in made
        ]


def input_of(request: FileRequest, found: Mapping[str, Any]) -> Input:
    """Describe the file: `found` has `sha256`, `bytes`, `mime` and `declared`, as `processors.file_types.identity`."""
    return Input(
        sha256=found["sha256"],
        bytes=found["bytes"],
        name=request.name,
        declared_type=found["declared"],
        detected_type=found["mime"],
        type_mismatch=bool(mismatch(found)),
    )


def mismatch(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a warning where the file's name claims another type than its content has."""
    if found["declared"] in {None, found["mime"]}:
        return []
    message = f"The file's name says {found['declared']}, its content is {found['mime']} and was read as that."
    return [warning("type_mismatch", message)]
