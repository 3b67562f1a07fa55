"""What a picture says about itself: EXIF as it stands and in plain words, its place, its colour profile."""

import codecs
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from itertools import islice
from typing import Any, cast

from PIL import ExifTags, Image, ImageCms

from processors.file_types import CONTROL, wide_encoding

MOST_TAGS = 500
MOST_VALUES = 32
LONGEST_TEXT = 500
UNSHOWN = frozenset(
    {"MakerNote", "PrintImageMatching", "StripOffsets", "StripByteCounts", "TileOffsets", "TileByteCounts"}
)
"""Tags whose values say nothing to a reader."""

WIDE_TEXTS = frozenset({"XPTitle", "XPComment", "XPAuthor", "XPKeywords", "XPSubject"})
"""Texts that Windows writes, in UTF-16."""

CODED_TEXTS = frozenset({"UserComment", "GPSProcessingMethod", "GPSAreaInformation"})
CODE_BYTES, ASCII, UNICODE, UNDEFINED = 8, b"ASCII\0\0\0", b"UNICODE\0", bytes(8)
"""Texts that begin with their encoding (EXIF 2.32, sections 4.6.5 and 4.6.6); many a camera says none."""

BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

IFD = ExifTags.IFD
MOMENT = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")
MOMENTS = (
    ("DateTimeOriginal", "OffsetTimeOriginal"),
    ("DateTimeDigitized", "OffsetTimeDigitized"),
    ("DateTime", "OffsetTime"),
)
"""When it was taken, by the best tag that is there, and the tag of its offset (EXIF 2.32, section 4.6)."""

HIGHEST_LATITUDE, HIGHEST_LONGITUDE = 90.0, 180.0
SIXTY = 60.0
BELOW_SEA = 1


def raw_exif(exif: Image.Exif) -> dict[str, Any]:
    """Return every tag by its name, as JSON: up to 500 tags a directory, of 32 values each, or of 500 characters."""
    wide = "utf-16-be" if exif.endian == ">" else "utf-16-le"
    tags = dict(_named(exif, ExifTags.TAGS, wide))
    tags.pop("ExifOffset", None)
    tags.pop("GPSInfo", None)
    tags |= dict(_named(exif.get_ifd(IFD.Exif), ExifTags.TAGS, wide))
    place = dict(_named(exif.get_ifd(IFD.GPSInfo), ExifTags.GPSTAGS, wide))
    return tags | ({"GPS": place} if place else {})


def described(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what EXIF tags say in plain words.

    Args:
        raw: as `raw_exif` returns it.

    Returns:
        `camera`, `lens`, `software`, `taken_at` (ISO 8601, with the offset where it is known), `taken_at_offset` and
        `gps` (`lat` and `lon` in degrees, `alt_m` in metres above the sea or None); None for what it does not say.
    """
    return {
        "camera": _camera(raw),
        "lens": _text(raw.get("LensModel")),
        "software": _text(raw.get("Software")),
        **_taken(raw),
        "gps": place_of(raw.get("GPS", {})),
    }


def place_of(gps: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where a picture was taken, or None where that is not said, or is no place on Earth.

    Args:
        gps: tags of the GPS directory (EXIF 2.32, section 4.6.6) by name; degrees come as three numbers (degrees,
            minutes, seconds) or as one with decimals.
    """
    latitude = _degrees(gps.get("GPSLatitude"), gps.get("GPSLatitudeRef"), "S", HIGHEST_LATITUDE)
    longitude = _degrees(gps.get("GPSLongitude"), gps.get("GPSLongitudeRef"), "W", HIGHEST_LONGITUDE)
    if latitude is None or longitude is None:
        return None
    return {"lat": latitude, "lon": longitude, "alt_m": _altitude(gps)}


def profile_name(profile: bytes | None) -> str | None:
    """Return the name of an ICC profile, or None where there is none or it cannot be read."""
    if not profile:
        return None
    try:
        name = cast("Any", ImageCms).getProfileDescription(BytesIO(profile))
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    return _text(name)


def _named(tags: Mapping[int, Any], names: Mapping[int, str], wide: str) -> Iterable[tuple[str, Any]]:
    for number, value in islice(tags.items(), MOST_TAGS):
        name = names.get(number, f"0x{number:04x}")
        if name not in UNSHOWN:
            yield name, _json(_spelled(name, value, wide) if isinstance(value, bytes) else value)


def _spelled(name: str, value: bytes, wide: str) -> str | bytes:
    """Return the text of a tag whose bytes are one by its own rules, or the bytes.

    Args:
        name: of the tag.
        value: its bytes.
        wide: the UTF-16 of the file's own order of bytes.
    """
    if name in WIDE_TEXTS:
        return value.decode("utf-16-le", "replace")
    code, text = value[:CODE_BYTES], value[CODE_BYTES:]
    if name not in CODED_TEXTS or code not in (ASCII, UNICODE, UNDEFINED):
        return value
    if code == UNDEFINED and CONTROL.search(text.rstrip(b"\0")):
        return text
    encoding = "utf-8"
    if code == UNICODE:
        marked = text.startswith(BYTE_ORDER_MARKS)
        encoding = "utf-16" if marked else wide_encoding(text.rstrip(b"\0")) or wide
    return text.decode(encoding, "replace").rstrip("\0").rstrip()


def _json(value: Any) -> Any:
    """Return a value as JSON: fractions as numbers, bytes as text where they are one, else as hexadecimal digits."""
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        return (
            text.decode()[:LONGEST_TEXT]
            if text.isascii() and text.decode().isprintable()
            else value[:MOST_VALUES].hex()
        )
    if isinstance(value, str):
        return value.rstrip("\0")[:LONGEST_TEXT]
    if isinstance(value, tuple | list):
        return [_json(one) for one in cast("list[Any]", value)[:MOST_VALUES]]
    if isinstance(value, Mapping):
        return {str(key): _json(one) for key, one in list(cast("Mapping[Any, Any]", value).items())[:MOST_VALUES]}
    return _number(value)


def _number(value: Any) -> float | int | None:
    """Return a number, or None for what is none: fractions of EXIF may have 0 below the line."""
    if isinstance(value, bool | int):
        return int(value)
    try:
        number = float(value)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str | None:
    return (" ".join(value.split())[:LONGEST_TEXT] or None) if isinstance(value, str) else None


def _camera(raw: Mapping[str, Any]) -> str | None:
    """Return maker and model; many models begin with their maker."""
    make, model = _text(raw.get("Make")), _text(raw.get("Model"))
    if make and model and not model.lower().startswith(make.lower()):
        return f"{make} {model}"
    return model or make


def _taken(raw: Mapping[str, Any]) -> dict[str, str | None]:
    for moment, offset in MOMENTS:
        if match := MOMENT.match(_text(raw.get(moment)) or ""):
            year, month, day, hour, minute, second = match.groups()
            known = _text(raw.get(offset)) or ""
            zone = known if OFFSET.fullmatch(known) else None
            at = f"{year}-{month}-{day}T{hour}:{minute}:{second}{zone or ''}"
            with suppress(ValueError):  # no moment: cameras whose clock was never set write noughts
                datetime.fromisoformat(at)
                return {"taken_at": at, "taken_at_offset": zone}
    return {"taken_at": None, "taken_at_offset": None}


def _degrees(value: Any, reference: Any, negative: str, most: float) -> float | None:
    parts: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    numbers = [_number(part) for part in parts]
    if not 1 <= len(numbers) <= 3 or any(number is None or number < 0 for number in numbers):  # noqa: PLR2004
        return None
    degrees = sum(cast("float", number) / SIXTY**place for place, number in enumerate(numbers))
    if degrees > most:
        return None
    west_or_south = str(reference or "").strip().upper().startswith(negative)
    return round(-degrees if west_or_south else degrees, 7)


def _altitude(gps: Mapping[str, Any]) -> float | None:
    metres = _number(gps.get("GPSAltitude"))
    if metres is None:
        return None
    below = gps.get("GPSAltitudeRef") in {BELOW_SEA, "\x01", "01"}
    return round(-metres if below else metres, 2)
