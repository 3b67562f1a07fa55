"""Archives: their members listed, unpacked beside each other, and each processed as the file that it is."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from processors.envelopes import Artefact, Limits, Timing, part_of, warning
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools, input_of, mismatch
from processors.interfaces import Report, Room
from processors.results import Result

DEEPEST = 5
"""An archive in an archive has depth 2."""

KIB = 1024
SKIPPED = frozenset({"empty_file", "unsupported_type"})
"""What is wrong with a member that makes no archive bad: nothing is in it, or nothing here reads it."""


class ProcessArchive(FileRequest):
    """Read one archive; `process_members` false lists and checks its members, and does no more."""

    process_members: bool = True
    password: str | None = Field(default=None, max_length=1_000, repr=False)


class ArchiveMember(Result):
    """One member, and what became of it; `ref` is where `detail` lies where it is too large to be shown here."""

    name: str
    type: Literal["file", "directory", "link", "device"]
    bytes: int | None
    packed_bytes: int | None
    modified: str | None
    encrypted: bool
    sha256: str | None
    status: Literal["ok", "partial", "failed", "skipped"]
    code: str | None = None
    why: str | None = None
    route: str | None = None
    detail: dict[str, Any] | None = None
    ref: str | None = None


class Archive(Result):
    """What is in an archive; `bytes` is what its members unpack to."""

    kind: str
    bytes: int
    members: list[ArchiveMember]


class ArchiveProcessed(FileResult):
    """The envelope around an archive."""

    schema_name: str = Field(default="csai.archive/1", serialization_alias="schema")
    result: Archive


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTools(FileTools):
    """What processing an archive needs from outside, and its limits, which hold for it and all archives inside it.

    Attributes:
        folder: makes a folder that only its owner can read, and removes it with all that lies there.
        max_members: members that are listed.
        max_bytes: what they may unpack to.
        members_seconds: after this time no member is processed any more, so that what was done is kept.
    """

    folder: Callable[[], AbstractContextManager[Path]]
    max_members: int
    max_bytes: int
    members_seconds: float = 1_200.0


@dataclass(slots=True)
class Allowance:
    """What is left for an archive and all archives inside it.

    Attributes:
        members: that may still be listed.
        bytes: that may still be unpacked.
        inline_bytes: of details that may still be part of the result.
        until: the monotonic second after which no member is processed.
        seen: SHA-256 of the archives that were opened: none is opened twice.
        depth: of the archive that is open.
    """

    members: int
    bytes: int
    inline_bytes: int
    until: float
    seen: set[str] = field(default_factory=set[str])
    depth: int = 0

    @classmethod
    def of(cls, tools: ArchiveTools) -> "Allowance":
        """Return what the outermost archive is allowed."""
        until = monotonic() + tools.members_seconds
        return cls(tools.max_members, tools.max_bytes, tools.inline_text_kb * KIB, until)


ProcessMember = Callable[[str, Path, Report], tuple[str, FileResult]]
"""Processes the member of a name at a path as what it is; returns the route and that method's result."""


def process_archive(
    request: ProcessArchive, tools: ArchiveTools, report: Report, allowance: Allowance, process: ProcessMember
) -> ArchiveProcessed:
    """List an archive, unpack it under numbers into a folder of its own, and process its members one after another.

    Raises:
        FileError: it cannot be read, lies too deep in others, or no member could be processed.
    """
    if allowance.depth >= DEEPEST:
        raise FileError(f"The archive lies deeper than {DEEPEST} archives.", "archive_depth")
    if not allowance.members:
        raise FileError("The archives around it have as many members as MAX_ARCHIVE_MEMBERS allows.", "archive_members")
    began = monotonic()
    allowance.depth += 1
    try:
        with tools.folder() as folder:
            found = _unpacked(request, tools, folder, allowance, part_of(report, 0, 20))
            unpack_seconds = monotonic() - began
            work = _Members(request, tools, allowance, process)
            members = work.process(found["members"], folder, part_of(report, 20, 100))
    finally:
        allowance.depth -= 1
    limits_hit = [*found["limits_hit"], *work.limits_hit]
    errors = [*found["errors"], *map(_error, members)]
    return ArchiveProcessed(
        status="partial" if limits_hit or any(errors) or any(one.status == "partial" for one in members) else "ok",
        input=input_of(request, found),
        options=request.effective_options(),
        provenance=[_provenance(found, unpack_seconds)],
        warnings=mismatch(found),
        errors=[error for error in errors if error],
        limits=Limits(hit=limits_hit),
        artefacts=work.artefacts,
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=Archive(kind=found["kind"], bytes=_unpacked_bytes(found), members=members),
    )


def _unpacked(
    request: ProcessArchive, tools: ArchiveTools, folder: Path, allowance: Allowance, report: Report
) -> dict[str, Any]:
    """Let the child unpack the archive into a folder, and take that from what is allowed."""
    options = {
        "name": request.name,
        "max_members": allowance.members,
        "max_bytes": allowance.bytes,
        "password": request.password,
        "hand_over": request.process_members,
    }
    room = Room(folder, allowance.members, allowance.bytes)
    found = tools.sandbox.run("archive", tools.path, options, report, room)
    allowance.seen.add(found["sha256"])
    allowance.members -= len(found["members"])
    allowance.bytes -= _unpacked_bytes(found)
    return found


def _unpacked_bytes(found: Mapping[str, Any]) -> int:
    return sum(one["bytes"] or 0 for one in found["members"] if one["code"] is None)


class _Members:
    """Processes the members of one archive; what goes wrong with one is that one's."""

    def __init__(
        self, request: ProcessArchive, tools: ArchiveTools, allowance: Allowance, process: ProcessMember
    ) -> None:
        self._request, self._tools, self._allowance, self._process = request, tools, allowance, process
        self.artefacts: list[Artefact] = []
        self.limits_hit: list[str] = []

    def process(self, listed: list[dict[str, Any]], folder: Path, report: Report) -> list[ArchiveMember]:
        """Process each member that was unpacked.

        Raises:
            FileError: some failed, and none could be processed.
        """
        members: list[ArchiveMember] = []
        for number, member in enumerate(listed):
            report(100 * number / len(listed), f"member {number + 1} of {len(listed)}")
            part = part_of(report, 100 * number / len(listed), 100 * (number + 1) / len(listed))
            members.append(self._processed(member, folder / str(number), part))
        failed = next((one for one in members if one.status == "failed"), None)
        if self._request.process_members and failed and all(one.status in {"failed", "skipped"} for one in members):
            raise FileError(f"No member of the archive could be processed: {failed.why}", failed.code or "corrupt")
        return members

    def _processed(self, member: Mapping[str, Any], path: Path, report: Report) -> ArchiveMember:
        if member["code"] is not None:
            return _undone(member, FileError(member["why"], member["code"]))
        if member["type"] == "directory" or not self._request.process_members:
            return ArchiveMember(**member, status="skipped")
        if member["sha256"] in self._allowance.seen:
            return _undone(
                member, FileError("It is an archive that was opened before, or contains it.", "archive_depth")
            )
        try:
            route, detail = self._process(file_name(member["name"]), path, self._timed(report))
        except FileError as error:
            return _undone(member, error)
        finally:
            path.unlink(missing_ok=True)  # a child that lies has made none
        return ArchiveMember(**member, status=detail.status, route=route, **self._shown(member["name"], detail))

    def _timed(self, report: Report) -> Report:
        """Return a report that ends a member's processing when the archive's time is over."""

        def within(percent: float, text: str) -> None:
            if monotonic() >= self._allowance.until:
                if "members_seconds" not in self.limits_hit:
                    self.limits_hit.append("members_seconds")
                raise FileError("The archive's time was over: see CELERY_TASK_SOFT_TIME_LIMIT.", "timeout")
            report(percent, text)

        within(0, "looking at the member")
        return within

    def _shown(self, name: str, detail: FileResult) -> dict[str, Any]:
        """Return a member's result, or store it where the whole would become too large.

        An archive's result is always shown: the results of its own members were weighed before.
        """
        content = detail.as_json()
        if isinstance(detail, ArchiveProcessed):
            return {"detail": content}
        packed = json.dumps(content, ensure_ascii=False).encode()
        if len(packed) <= self._allowance.inline_bytes:
            self._allowance.inline_bytes -= len(packed)
            return {"detail": content}
        self.artefacts.append(self._tools.keep("member_result", packed, "application/json", member=name))
        return {"ref": self.artefacts[-1].uri}


def file_name(name: str) -> str:
    """Return a member's name without its folders, as a request may have it."""
    return PurePosixPath(name.replace("\\", "/")).name or "member"


def _undone(member: Mapping[str, Any], error: FileError) -> ArchiveMember:
    status = "skipped" if error.code in SKIPPED else "failed"
    return ArchiveMember.model_validate({**member, "status": status, "code": error.code, "why": str(error)})


def _error(member: ArchiveMember) -> dict[str, Any] | None:
    """Return the entry of `errors` for a member that failed."""
    if member.status != "failed":
        return None
    return warning(member.code or "corrupt", f"{member.name}: {member.why}", step="member", member=member.name)


def _provenance(found: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    engine, _, version = str(found["engine"]).rpartition(" ")
    return {
        "step": "unpack",
        "engine": engine,
        "engine_version": version,
        "seconds": round(seconds, 3),
        "sandbox": found["sandbox"],
        "units": {"members": len(found["members"]), "bytes": _unpacked_bytes(found)},
    }
