"""Pictures of every format, opened within limits and decoded once, to the size at which they are looked at."""

import io
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
import pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile

from processors.envelopes import warning
from processors.errors import FileError

FORMATS = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WEBP",
    "avif": "AVIF",
    "heic": "HEIF",
    "tiff": "TIFF",
    "gif": "GIF",
    "bmp": "BMP",
}
"""Only the format that the content shows is tried."""

LONGEST_SIDE = 2000
"""Pixels at which a picture is looked at: what the reader of text takes at most."""

SCALABLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"})
TURNED_BY_PILLOW = frozenset({"heic", "tiff"})
"""Formats whose size and pixels come upright; of HEIC, the orientation is kept as `original_orientation`."""

MOST_FRAMES = 10_000
ORIENTATION = 0x0112
UPRIGHT = 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation (EXIF 2.32, tag 0x0112)."""

ON_ITS_SIDE = 5
"""The first orientation that swaps width and height."""

PNG_MARK, PNG_TEXTS = 8, frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
GIF_IMAGE, GIF_EXTENSION = 0x2C, 0x21
GIF_HEADER, GIF_IMAGE_HEADER = 13, 9
TABLE, TABLE_BITS = 0x80, 0x07
WEBP_HEADER, WEBP_SIDE, WEBP_SIDE_BITS = 30, 0x3FFF, 14
DAMAGE = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NotImplementedError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, zlib.error),
)
"""What Pillow raises at a damaged file."""

Image.MAX_IMAGE_PIXELS = None  # pixels are counted here, by the limit of the settings
cast("Any", pillow_heif).register_heif_opener(thumbnails=False)
pillow_heif.options.DECODE_THREADS = AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the other processors have other work


@dataclass(slots=True)
class Decoded:
    """One picture, upright.

    Attributes:
        frames: of an animation, at most 10 000; 1 of a still picture.
        pages: of a TIFF, pictures of an HEIC or JPEG with several, at most 10 000.
        width: of the whole picture, after its orientation was applied.
        height: likewise.
        mode: Pillow's word for the kind of its pixels.
        orientation: the EXIF orientation (1 to 8) that was applied; 1 changes nothing.
        copy: the picture at up to 2000 pixels, RGB, or RGBA where it has transparent parts.
        exif: its EXIF data.
        icc: its colour profile, or None.
        warnings: what was wrong with it.
    """

    frames: int
    pages: int
    width: int
    height: int
    mode: str
    orientation: int
    copy: Image.Image
    exif: Image.Exif
    icc: bytes | None
    warnings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def flat(self) -> Image.Image:
        """The copy as RGB, transparent parts over white."""
        return on_white(self.copy)


def decode(file: BinaryIO, kind: str, max_pixels: int, page: int = 1) -> Decoded:
    """Decode one page of a picture; of a damaged one what can be had, with a warning.

    Args:
        file: open, seekable.
        kind: what its content is, one of `FORMATS`.
        max_pixels: larger ones are refused before they are decoded.
        page: from 1; a TIFF may have several.

    Raises:
        FileError: `pixel_limit` or `corrupt`.
    """
    try:
        return _decoded(file, kind, max_pixels, page)
    except DAMAGE as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        first = error
    try:
        with _tolerant():
            found = _decoded(_without_texts(file) if kind == "png" else file, kind, max_pixels, page)
    except DAMAGE:
        raise FileError(f"The {kind} picture is damaged and cannot be decoded: {said}.", "corrupt") from first
    message = f"The picture is damaged, or has too much beside its pixels: what can be decoded was used ({said})."
    found.warnings.append(warning("damaged", message, page=page))
    return found


def on_white(picture: Image.Image) -> Image.Image:
    """Return a picture as RGB, transparent parts over white."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _decoded(file: BinaryIO, kind: str, max_pixels: int, page: int) -> Decoded:
    file.seek(0)
    if kind == "webp":
        _refuse_large(*_webp_size(file), max_pixels)
    with Image.open(file, formats=(FORMATS[kind],)) as picture:
        frames, pages = _count(picture, file, kind) if page == 1 else (1, 1)
        if kind == "tiff":  # an HEIC opens at its primary picture, which need not be its first
            picture.seek(page - 1)
        width, height = picture.size
        _refuse_large(width, height, max_pixels)
        mode, icc = picture.mode, picture.info.get("icc_profile")
        exif, odd = _exif(picture)
        orientation = _orientation(picture, exif, odd)
        copy = _copy(picture)
    if orientation != UPRIGHT and kind in TURNED_BY_PILLOW:
        exif[ORIENTATION] = orientation  # what turned the picture has written 1 there, or nothing
    elif orientation != UPRIGHT:
        copy = copy.transpose(TURNS[orientation])
        if orientation >= ON_ITS_SIDE:
            width, height = height, width
    return Decoded(frames, pages, width, height, mode, orientation, copy, exif, icc, odd)


def _refuse_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise FileError(
            f"The picture has {width} x {height} pixels, at most {max_pixels} are decoded: see MAX_PIXELS.",
            "pixel_limit",
        )


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    """Return the size of a WebP by its header; Pillow asks for the memory of two such pictures when it opens one.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    head = file.read(WEBP_HEADER).ljust(WEBP_HEADER, b"\0")
    file.seek(0)
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & WEBP_SIDE) + 1, (bits >> WEBP_SIDE_BITS & WEBP_SIDE) + 1
    width, height = struct.unpack_from("<HH", head, 26)
    return width & WEBP_SIDE, height & WEBP_SIDE


def _exif(picture: Image.Image) -> tuple[Image.Exif, list[dict[str, Any]]]:
    """Return the EXIF data, and a warning where it is damaged and left out."""
    try:
        return picture.getexif(), []
    except (*DAMAGE, struct.error) as error:
        return Image.Exif(), [warning("exif_unreadable", f"The EXIF data is damaged and left out: {error}.")]


def _orientation(picture: Image.Image, exif: Image.Exif, odd: list[dict[str, Any]]) -> int:
    """Return the orientation; one that is none of 1 to 8 is added to the warnings."""
    value: Any = picture.info.get("original_orientation") or exif.get(ORIENTATION, UPRIGHT)
    if value in range(1, 9):
        return int(value)
    message = f"The EXIF orientation is {str(value)[:40]!r}, not 1 to 8: the picture was left as it is."
    odd.append(warning("orientation_unknown", message))
    return UPRIGHT


def _copy(picture: Image.Image) -> Image.Image:
    """Decode a picture, and return its pixels at up to 2000 pixels; what can be scaled as it is is converted after."""
    picture.draft(None, (LONGEST_SIDE, LONGEST_SIDE))
    if picture.mode not in SCALABLE or "transparency" in picture.info:
        picture = _eight_bits(picture)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    return _eight_bits(picture)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return the decoded pixels as RGB or RGBA, whatever their kind."""
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_scaled(np.asarray(picture))).convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _scaled(values: Any) -> Any:
    """Return grey values of 16 or 32 bits, or fractions, as bytes."""
    if values.dtype in (np.uint16, np.dtype(">u2")):
        return (values >> 8).astype(np.uint8)
    known = np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    least, most = float(known.min()), float(known.max())
    if least >= 0 and most <= 255 and values.dtype != np.float32:  # noqa: PLR2004 - they are bytes already
        return known.astype(np.uint8)
    known -= least  # in place: a large picture has room for few copies
    known *= 255 / max(most - least, 1e-9)
    return known.astype(np.uint8)


@contextmanager
def _tolerant() -> Generator[None]:
    """Let Pillow return what it can decode of a damaged file."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _without_texts(file: BinaryIO) -> BinaryIO:
    """Return a PNG without the chunks that unpack to anything but pixels (PNG 3rd edition, section 5)."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    kept = [file.read(PNG_MARK)]
    while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and name
        rest = file.read(min(size, int.from_bytes(head[:4], "big") + 4))  # a wrong length would ask for as much memory
        if head[4:] not in PNG_TEXTS:
            kept += [head, rest]
    return io.BytesIO(b"".join(kept))


def _count(picture: Image.Image, file: BinaryIO, kind: str) -> tuple[int, int]:
    """Return how many frames an animation has and how many pages a picture."""
    if kind == "gif":
        return _gif_frames(file), 1
    if kind == "tiff":
        return 1, _tiff_pages(picture)
    number = min(MOST_FRAMES, int(getattr(picture, "n_frames", 1)))
    return (1, number) if kind in {"heic", "jpeg"} else (number, 1)


def _tiff_pages(picture: Image.Image) -> int:
    for number in range(1, MOST_FRAMES):
        try:
            picture.seek(number)
        except DAMAGE:  # there are no more, or the next one's directory is damaged
            return number
    return MOST_FRAMES


def _gif_frames(file: BinaryIO) -> int:
    """Count the images of a GIF by their blocks, without decoding one (GIF89a, sections 17 to 26)."""
    file.seek(0)
    head = file.read(GIF_HEADER)
    file.seek(_table_bytes(head[10]), 1)
    frames = 0
    while frames < MOST_FRAMES and (mark := file.read(1)):
        if mark[0] == GIF_IMAGE:
            frames += 1
            described = file.read(GIF_IMAGE_HEADER).ljust(GIF_IMAGE_HEADER, b"\0")
            file.seek(_table_bytes(described[8]) + 1, 1)
        elif mark[0] == GIF_EXTENSION:
            file.seek(1, 1)
        else:
            break
        while size := (file.read(1) or b"\0")[0]:
            file.seek(size, 1)
    return max(1, frames)


def _table_bytes(flags: int) -> int:
    """Return the bytes of a colour table by the flags of its descriptor."""
    return 3 << (flags & TABLE_BITS) + 1 if flags & TABLE else 0
