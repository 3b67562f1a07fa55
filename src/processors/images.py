"""Pictures: what they look like, say about themselves, and show: text, things, faces, in one envelope."""

import json
import math
import struct
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from processors.envelopes import Artefact, Limits, Timing, warning
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools, input_of, mismatch
from processors.image_tags import tags_of
from processors.interfaces import People, Report
from processors.results import Result

KIB = 1024
EXCERPT_CHARACTERS = 4_000
SAME_PERSON = 0.5
"""Distance of two encodings below which they are of one person: half a tenth stricter than dlib's own advice of 0.6."""

ENGINE_FLAGS = ("extract_text", "detect_objects", "face_recognition")
ENDED = frozenset({"crashed", "timeout", "memory_limit"})
"""What an engine may do to its child: then the picture is read once more, without engines."""


class ProcessImage(FileRequest):
    """Read one picture."""

    extract_text: bool = True
    detect_objects: bool = True
    face_recognition: bool = False
    generate_tags: bool = True


class Hashes(Result):
    """Digests: of the file, and of what it looks like (`processors.image_hashes` says how, and in which bit order)."""

    sha256: str
    phash64: str
    dhash64: str


class PictureOfText(Result):
    """The text in a picture.

    Attributes:
        text: all lines.
        lines: `page`, `text`, `confidence`, `bbox`.
        rotated: by how many degrees the first page had to be turned to be read.
        confidence: 0 to 1, by characters.
        pages: `page`, `rotated`, `confidence`.
        truncated: whether text and lines are an artefact, and this is how it begins.
    """

    text: str
    lines: list[dict[str, Any]]
    rotated: Literal[0, 180]
    confidence: float
    pages: list[dict[str, Any]]
    truncated: bool = False


class Picture(Result):
    """What was found; `ocr`, `objects`, `faces` and `tags` are null where they were not asked for or not possible.

    Each face has `bbox`, `confidence`, `landmarks` (five points [x, y] or null, in the order of
    `processors.interfaces.FoundFace`), `encoding` and `match`. Boxes are [x0, y0, x1, y1], 0 to 1, from the upper left,
    of the picture with its orientation applied; so are `width` and `height`. `orientation_applied` is the EXIF
    orientation, 1 to 8, of which 1 changes nothing.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    pages: int
    orientation_applied: int
    exif: dict[str, Any]
    camera: str | None
    lens: str | None
    software: str | None
    taken_at: str | None
    taken_at_offset: str | None
    gps: dict[str, Any] | None
    icc: str | None
    hashes: Hashes
    blurhash: str
    colours: list[dict[str, Any]]
    quality: dict[str, float]
    ocr: PictureOfText | None
    objects: list[dict[str, Any]] | None
    faces: list[dict[str, Any]] | None
    tags: list[dict[str, Any]] | None


class ImageProcessed(FileResult):
    """The envelope around a picture."""

    schema_name: str = Field(default="csai.image/1", serialization_alias="schema")
    result: Picture


class Nobody:
    """Fulfils `processors.interfaces.People` where nobody is enrolled."""

    def encodings(self) -> Mapping[str, Sequence[Sequence[float]]]:
        """Return nobody."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTools(FileTools):
    """What processing a picture needs from outside, and its limits.

    Attributes:
        max_pixels: larger pictures are refused before they are decoded.
        max_pages: pages of a picture of which text is read.
        text_seconds: no further page is read after this time, which is well below what a child may take for a file.
        people: who may be known again.
    """

    max_pixels: int
    max_pages: int = 20
    text_seconds: float = 120
    people: People = field(default_factory=Nobody)


def process_image(request: ProcessImage, tools: ImageTools, report: Report) -> ImageProcessed:
    """Read a picture in the sandbox, then match its faces and tag it.

    Raises:
        FileError: it cannot be decoded; `code` says why.
    """
    began = monotonic()
    report(0, "opening the file")
    found = _read(request, tools, report)
    artefacts = tools.keep_all(found["artefacts"])
    content = found["content"]
    content["hashes"]["sha256"] = found["sha256"]
    content["faces"] = _with_people(content["faces"], found["artefacts"], artefacts, tools.people)
    content["tags"] = tags_of(content) if request.generate_tags else None
    if content["ocr"]:
        artefacts += _shorten(content["ocr"], tools)
    return ImageProcessed(
        status="partial" if content["errors"] or content["limits_hit"] else "ok",
        input=input_of(request, found),
        options=request.effective_options(),
        provenance=[step | {"sandbox": found["sandbox"]} for step in content["steps"]],
        warnings=[*mismatch(found), *content["warnings"]],
        errors=content["errors"],
        limits=Limits(hit=content["limits_hit"], pages_skipped=content["pages_skipped"]),
        artefacts=artefacts,
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=Picture.model_validate({name: content[name] for name in Picture.model_fields}),
    )


def _read(request: ProcessImage, tools: ImageTools, report: Report) -> dict[str, Any]:
    """Read a picture with all that was asked for; where that ends the child, without engines, and say so."""
    flags = {name: getattr(request, name) for name in ENGINE_FLAGS}
    limits = {name: getattr(tools, name) for name in ("max_pixels", "max_pages", "text_seconds")}
    options = {"name": request.name} | limits
    try:
        return tools.sandbox.run("image", tools.path, options | flags, report)
    except FileError as error:
        if error.code not in ENDED or not any(flags.values()):
            raise
        found = tools.sandbox.run("image", tools.path, options | dict.fromkeys(flags, False), report)
        message = f"Text, objects and faces were not looked for: {error}"
        found["content"]["errors"].append(warning(error.code, message, step="engines"))
        return found


def _with_people(
    faces: list[dict[str, Any]] | None, made: list[dict[str, Any]], artefacts: list[Artefact], people: People
) -> list[dict[str, Any]] | None:
    """Give each face the address of its encoding, and the person whose encoding is nearest to it."""
    if not faces:
        return faces
    stored = next((number for number, one in enumerate(made) if one["kind"] == "encodings"), None)
    if stored is None:
        return [face | {"encoding": None, "match": None} for face in faces]
    encodings = unpacked(b64decode(made[stored]["data"]))
    known, uri = people.encodings(), artefacts[stored].uri
    return [
        face | {"encoding": {"uri": uri, "index": number}, "match": nearest(encodings[number], known)}
        for number, face in enumerate(faces)
    ]


def unpacked(raw: bytes) -> list[tuple[float, ...]]:
    """Return the encodings of an artefact of the kind `encodings`: each 128 little-endian float32."""
    return list(struct.iter_unpack("<128f", raw))


def nearest(encoding: Sequence[float], known: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, Any] | None:
    """Return `name` and `distance` (Euclidean) of the nearest known person closer than 0.5, or None."""
    distances = ((math.dist(encoding, one), name) for name, own in known.items() for one in own)
    distance, name = min(distances, default=(math.inf, ""))
    return {"name": name, "distance": round(distance, 4)} if distance < SAME_PERSON else None


def _shorten(ocr: dict[str, Any], tools: ImageTools) -> list[Artefact]:
    """Store what was read as an artefact where it is too long for a result."""
    whole = json.dumps(ocr, ensure_ascii=False).encode()
    if len(whole) <= tools.inline_text_kb * KIB:
        return []
    ocr |= {"text": ocr["text"][:EXCERPT_CHARACTERS], "lines": [], "truncated": True}
    return [tools.keep("ocr", whole, "application/json")]
