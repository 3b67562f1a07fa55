"""What every method for files takes and returns: a request base, an envelope, the tools that all need."""

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, ConfigDict, Field

from processors.interfaces import FileSandbox, ObjectStorage, Report
from processors.results import Request, Result

SCHEMES = ("file", "s3", "https")
LONGEST_PATH = 4096
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which many programs stop at, and half characters, which no encoding has."""


def _place(value: str) -> str:
    """Check what a file's place begins with.

    Raises:
        ValueError: it is an address of a kind that is not read.
    """
    scheme, mark, rest = value.partition("://")
    if not mark or not scheme.isalnum():
        return value
    if scheme.lower() not in SCHEMES:
        raise ValueError("must be a path, or an address that begins with file://, s3:// or https://")
    if not rest.strip("/") or (scheme.lower() == "s3" and not all(rest.partition("/"))):
        raise ValueError(f"must name a file after {scheme}://")
    if "@" in rest.partition("/")[0]:
        raise ValueError("must hold no user's name or password: arguments are kept")
    try:
        urlsplit(value)
    except ValueError:
        raise ValueError("must be an address; in its host, brackets stand around an IPv6 address alone") from None
    return value


FilePath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH, pattern=r"^[^\x00]+$"), AfterValidator(_place)]


class FileRequest(Request):
    """Work on one file, which lies at a path of the worker's machine or at an address."""

    file_path: FilePath

    @property
    def name(self) -> str:
        """The file's own name, without its folders."""
        scheme, mark, rest = self.file_path.partition("://")
        if mark and scheme.lower() == "s3":
            return PurePosixPath(rest).name  # a key has no query and no escapes
        if mark and scheme.lower() in SCHEMES:
            return PurePosixPath(unquote(urlsplit(self.file_path).path)).name
        return Path(self.file_path).name

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


class Timing(Result):
    """How long the work took, in seconds."""

    run_s: float


class Limits(Result):
    """Which limits were hit, and how many pages were left out for them."""

    hit: list[str] = []
    pages_skipped: int = 0


class Artefact(Result):
    """A file that this task made; beside these keys, what its kind has: `width`, `height`, `page`, `t`, `member`."""

    model_config = ConfigDict(extra="allow")

    kind: str
    uri: str
    mime: str
    bytes: int


class ReadArtefact(Request):
    """Read the bytes of an artefact, by the `uri` that a result names."""

    uri: str = Field(pattern=r"^store://sha256/[0-9a-f]{64}$")


class FileResult(Result):
    """The envelope of file results; each method adds its `schema` and its `result`."""

    schema_name: str = Field(serialization_alias="schema")
    status: Literal["ok", "partial"]
    input: Input
    options: dict[str, Any]
    provenance: list[dict[str, Any]]
    warnings: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    limits: Limits = Limits()
    artefacts: list[Artefact] = []
    timing: Timing


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
        uri = self.storage.put(content, mime=mime, task_id=self.task_id)
        return Artefact.model_validate({"kind": kind, "uri": uri, "mime": mime, "bytes": len(content)} | more)

    def keep_all(self, made: list[dict[str, Any]]) -> list[Artefact]:
        """Store what a child has made: each as `packed` returned it."""
        return [
            self.keep(
                content=base64.b64decode(one["data"]),
                **{key: value for key, value in one.items() if key != "data"},
            )
            for one in made
        ]


def packed(kind: str, content: bytes, mime: str, **more: Any) -> dict[str, Any]:
    """Return an artefact as a child hands it to its parent, as JSON values."""
    return {"kind": kind, "mime": mime, "data": base64.b64encode(content).decode()} | more


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


def warning(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Return one entry of `warnings` or `errors`."""
    return {"code": code, "message": message} | more


def part_of(report: Report, start: float, end: float) -> Report:
    """Return a report whose 0 to 100 per cent lie between two of the whole."""

    def within(percent: float, text: str) -> None:
        report(start + (end - start) * max(0.0, min(100.0, percent)) / 100, text)

    return within


def clean(value: Any) -> Any:
    """Return JSON values whose texts can be stored and sent everywhere: what cannot becomes U+FFFD, no number null."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value) if "\0" in value or not value.isascii() else value
    if isinstance(value, dict):
        return {clean(key): clean(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [clean(inner) for inner in cast("list[Any]", value)]
    return value
