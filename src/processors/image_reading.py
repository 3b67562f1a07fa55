"""What the sandboxed child does with a picture: decode it once, measure it, and look for text, things and faces."""

import struct
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from time import monotonic
from typing import Any, BinaryIO, Protocol

import numpy as np
import PIL
from PIL import Image

from processors import image_formats, image_hashes, image_measures, image_metadata
from processors.envelopes import clean, packed, part_of, warning
from processors.errors import FileError
from processors.file_types import identity, refuse_other_than
from processors.image_formats import DAMAGE, Decoded
from processors.image_text import confidence_of, read_upright
from processors.interfaces import FaceFinder, ObjectFinder, Report, TextReader

THUMBNAIL_SIDES = (256, 1024)
MEASURED_SIDE = 1024
WEBP_QUALITY, WEBP_METHOD = 80, 0
MOST_COMPLAINTS = 5
MOST_LINES = 5_000
MOST_THINGS = 200
ENCODING_NUMBERS = 128
BOX_DIGITS = 5
PAGED = frozenset({"tiff"})
"""Formats of which every page is read; those of HEIC and JPEG are other views of the first."""


class PictureEngines(Protocol):
    """The engines for pictures; each is loaded when it is asked for first."""

    @property
    def reader(self) -> TextReader:
        """Reads text."""
        ...

    @property
    def objects(self) -> ObjectFinder:
        """Finds objects."""
        ...

    @property
    def faces(self) -> FaceFinder:
        """Finds faces."""
        ...


def read_image(file: BinaryIO, options: Mapping[str, Any], report: Report, engines: PictureEngines) -> dict[str, Any]:
    """Read a picture.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_pixels`, `extract_text`, `detect_objects`, `face_recognition`; and for text `max_pages`
            (of which it is read) and `text_seconds` (after which no further page is begun).
        report: told how far it is.
        engines: for text, objects and faces.

    Returns:
        JSON values: what `identity` returns, `content` (with `steps`, `warnings`, `errors`, `limits_hit`) and
        `artefacts`, as `packed` returns them.

    Raises:
        FileError: the picture itself cannot be decoded; what fails beside that is an entry of `errors`.
    """
    found = identity(file, str(options["name"]))
    kind: str = found["kind"]
    refuse_other_than("image", kind)
    work = _Work(file, kind, options, report)
    with complaints(work.content["warnings"]):
        work.look()
    if options["extract_text"]:
        work.step("ocr", 20, 70, lambda part: work.read_text(engines.reader, part))
    if options["detect_objects"]:
        work.step("objects", 70, 85, lambda _part: work.find_objects(engines.objects))
    if options["face_recognition"]:
        work.step("faces", 85, 100, lambda _part: work.find_faces(engines.faces))
    return found | {"content": clean(work.content), "artefacts": work.artefacts}


@contextmanager
def complaints(told: list[dict[str, Any]]) -> Generator[None]:
    """Add what Pillow complains about meanwhile, such as damaged metadata, to the warnings of the result."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    said = dict.fromkeys(" ".join(str(one.message).split()) for one in heard)
    told += [warning("damaged", f"Pillow says: {text}") for text in list(said)[:MOST_COMPLAINTS]]


class _Work:
    """One picture, and what was found in it so far."""

    def __init__(self, file: BinaryIO, kind: str, options: Mapping[str, Any], report: Report) -> None:
        self._file, self._kind, self._options, self._report = file, kind, options, report
        self._picture: Decoded
        self._pixels: Any
        self.artefacts: list[dict[str, Any]] = []
        self.content: dict[str, Any] = {
            "steps": [],
            "warnings": [],
            "errors": [],
            "limits_hit": [],
            "pages_skipped": 0,
            "ocr": None,
            "objects": None,
            "faces": None,
        }

    def look(self) -> None:
        """Decode the picture and measure it."""
        began = monotonic()
        self._report(5, "decoding the picture")
        self._picture = picture = image_formats.decode(self._file, self._kind, self._options["max_pixels"])
        flat = picture.flat
        self._pixels = np.asarray(flat)
        self.content |= {
            "format": self._kind,
            "mode": picture.mode,
            "width": picture.width,
            "height": picture.height,
            "frames": picture.frames,
            "pages": picture.pages,
            "orientation_applied": picture.orientation,
            **self._metadata(),
            **_measured(flat),
        }
        self.content["warnings"] += picture.warnings
        if image_formats.MOST_FRAMES in {picture.frames, picture.pages}:
            self.content["limits_hit"].append("max_frames")
        self._keep_thumbnails()
        self._done("read", "pillow", PIL.__version__, began)

    def step(self, name: str, start: float, end: float, work: Callable[[Report], dict[str, Any]]) -> None:
        """Do one step with an engine; what goes wrong with it costs this step and no more.

        Args:
            name: of the step.
            start: per cent at which it begins.
            end: per cent at which it ends.
            work: returns what provenance says of it.
        """
        began = monotonic()
        self._report(start, f"looking for {'text' if name == 'ocr' else name}")
        try:
            told = work(part_of(self._report, start, end))
        except FileError as error:
            code, message = error.code, str(error)
        except ImportError as error:
            code, message = "dependency_missing", f"This machine lacks a package: {error}; run `make setup`."
        except MemoryError:
            code, message = "memory_limit", "It needs more memory than FILE_MEMORY_LIMIT_MB allows."
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, the rest of the picture was read
            code, message = "crashed", f"{type(error).__name__}: {_last_line(error)}."
        else:
            self._done(name, told.pop("engine"), told.pop("engine_version"), began, **told)
            return
        self.content["errors"].append(warning(code, f"The step {name} failed: {message}", step=name))

    def read_text(self, reader: TextReader, report: Report) -> dict[str, Any]:
        """Read the text of every page, up to the limit."""
        pages = self.content["pages"] if self._kind in PAGED else 1
        read = min(pages, int(self._options["max_pages"]))
        if read < pages:
            self.content["limits_hit"].append("max_pages")
            self.content["pages_skipped"] = pages - read
        lines: list[dict[str, Any]] = []
        described: list[dict[str, Any]] = []
        until = monotonic() + float(self._options["text_seconds"])
        for number in range(1, read + 1):
            if number > 1 and monotonic() >= until:
                self.content["limits_hit"].append("text_seconds")
                self.content["pages_skipped"] = pages - number + 1
                read = number - 1
                break
            report(100 * (number - 1) / read, f"reading page {number}")
            pixels = self._page(number)
            if pixels is None:
                continue
            found = read_upright(pixels[:, :, ::-1].copy(), reader)
            described.append({"page": number, "rotated": found.rotated, "confidence": found.confidence})
            lines += [
                {"page": number, "text": one.text, "confidence": one.confidence, "bbox": _box(one.box)}
                for one in found.lines
            ]
        if len(lines) > MOST_LINES:
            del lines[MOST_LINES:]
            self.content["limits_hit"].append("max_lines")
        self._note_text(lines, described)
        return {"engine": reader.name, "engine_version": reader.version, "units": {"pages": read}}

    def find_objects(self, finder: ObjectFinder) -> dict[str, Any]:
        """Look for objects."""
        self.content["objects"] = [
            {"label": one.label, "confidence": one.confidence, "bbox": _box(one.box), "engine": one.engine}
            for one in finder.find(self._pixels)[:MOST_THINGS]
        ]
        return {"engine": finder.name, "engine_version": finder.version, "quality": finder.quality}

    def find_faces(self, finder: FaceFinder) -> dict[str, Any]:
        """Look for faces, and pack their encodings as one artefact, in the same order: all have one, or none has."""
        faces = finder.find(self._pixels)[:MOST_THINGS]
        self.content["faces"] = [
            {"bbox": _box(face.box), "confidence": face.confidence, "landmarks": _points(face.landmarks)}
            for face in faces
        ]
        encodings = [face.encoding for face in faces if face.encoding is not None]
        if encodings:
            raw = b"".join(struct.pack(f"<{ENCODING_NUMBERS}f", *one) for one in encodings)
            shape = {"count": len(encodings), "dimensions": ENCODING_NUMBERS, "dtype": "f32le"}
            self.artefacts.append(packed("encodings", raw, "application/octet-stream", **shape))
        if finder.missing:
            self.content["warnings"].append(warning("model_missing", finder.missing, step="faces"))
        return {"engine": finder.name, "engine_version": finder.version}

    def _note_text(self, lines: list[dict[str, Any]], pages: list[dict[str, Any]]) -> None:
        text = "\n".join(one["text"] for one in lines)
        rotated = pages[0]["rotated"] if pages else 0
        self.content["ocr"] = {
            "text": text,
            "lines": lines,
            "rotated": rotated,
            "confidence": confidence_of((one["text"], one["confidence"]) for one in lines),
            "pages": pages,
        }
        if not text:
            self.content["warnings"].append(warning("no_text", "No text was found in the picture.", step="ocr"))

    def _page(self, number: int) -> Any:
        """Return the pixels of a page, or None, with an error, where it cannot be decoded."""
        if number == 1:
            return self._pixels
        try:
            with complaints(self.content["warnings"]):
                page = image_formats.decode(self._file, self._kind, self._options["max_pixels"], number)
        except FileError as error:
            self.content["errors"].append(warning(error.code, str(error), step="ocr", page=number))
            return None
        self.content["warnings"] += page.warnings
        return np.asarray(page.flat)

    def _metadata(self) -> dict[str, Any]:
        raw: dict[str, Any] = {}
        try:
            raw = image_metadata.raw_exif(self._picture.exif)
        except (*DAMAGE, struct.error) as error:
            self.content["warnings"].append(warning("exif_unreadable", f"The EXIF data is damaged: {error}."))
        described = image_metadata.described(raw)
        if raw.get("GPS") and described["gps"] is None:
            self.content["warnings"].append(warning("gps_unusable", "The EXIF data has no usable place on Earth."))
        return {"exif": raw, **described, "icc": image_metadata.profile_name(self._picture.icc)}

    def _keep_thumbnails(self) -> None:
        """Make a WebP of each size; a picture that is smaller than one is made at its own size, once."""
        longest = max(self._picture.copy.size)
        for side in THUMBNAIL_SIDES:
            small = self._picture.copy.copy()
            small.thumbnail((side, side))
            stored = BytesIO()
            small.save(stored, "WEBP", quality=WEBP_QUALITY, method=WEBP_METHOD)
            size = {"width": small.width, "height": small.height}
            self.artefacts.append(packed("thumbnail", stored.getvalue(), "image/webp", **size))
            if longest <= side:
                return

    def _done(self, step: str, engine: str, engine_version: str, began: float, **more: Any) -> None:
        told = {"step": step, "engine": engine, "engine_version": engine_version}
        self.content["steps"].append(told | {"seconds": round(monotonic() - began, 3)} | more)


def _measured(flat: Image.Image) -> dict[str, Any]:
    """Measure a picture on a copy of up to 1024 pixels."""
    small = flat.copy()
    small.thumbnail((MEASURED_SIDE, MEASURED_SIDE), Image.Resampling.BILINEAR)
    pixels, grey = np.asarray(small), np.asarray(small.convert("L"))
    cut = image_measures.Cut.of(small)
    return {
        "hashes": {"phash64": image_hashes.phash64(grey), "dhash64": image_hashes.dhash64(grey)},
        "blurhash": image_hashes.blurhash(pixels),
        "colours": image_measures.colours(cut),
        "quality": image_measures.quality(small),
        "drawn_share": image_measures.drawn_share(small, cut),
    }


def _last_line(error: Exception) -> str:
    """Return what an engine says without what some say before it: traces, and the paths of their own files."""
    return (str(error).strip().splitlines() or ["it says nothing more"])[-1].strip().rstrip(".")


def _box(box: Iterable[float]) -> list[float]:
    return [round(min(1.0, max(0.0, side)), BOX_DIGITS) for side in box]


def _points(points: Sequence[tuple[float, float]] | None) -> list[list[float]] | None:
    return None if points is None else [_box(point) for point in points]
