"""What a container of sound and film holds, as FFmpeg's libraries tell it; nothing but the open file is ever read."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from typing import Any, BinaryIO, cast

from processors.demuxers import DEMUXERS, ONLY_THIS_FILE
from processors.errors import FileError

READ_BYTES = 1024**2
MOST_ENTRIES = 1_000
LONGEST_ENTRY = 2_000
STRANGEST_PIXEL = 20
"""A pixel that is said to be so many times as wide as high, or as high as wide, is a wrong figure."""

TRANSFERS = {16: "pq", 18: "hlg"}
"""Transfer characteristics of high dynamic range (ITU-T H.273, table 3)."""


@contextmanager
def opened(file: BinaryIO, kind: str) -> Generator[Any]:
    """Open a container of a known kind.

    Args:
        file: open, seekable; read from its start.
        kind: one of `DEMUXERS`.

    Raises:
        FileError: it is damaged.
        MemoryError: it needs too much; FFmpeg's own is an `FFmpegError` as well.
    """
    av = pyav()
    file.seek(0)
    try:
        container = av.open(
            file,
            mode="r",
            format=DEMUXERS[kind],
            options=ONLY_THIS_FILE,
            metadata_errors="replace",
            buffer_size=READ_BYTES,
        )
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise FileError(f"The {kind} file is damaged or cut off, and cannot be opened: {said(error)}.") from error
    with container:
        yield container


def pyav() -> Any:
    """Return PyAV, which is untyped where it matters here."""
    return cast("Any", import_module("av"))


def said(error: Exception) -> str:
    """Return what FFmpeg says, without our own names of files and calls."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def seconds(value: float | Fraction | None, unit: Fraction | float = 1) -> float | None:
    """Return a time in seconds, rounded to the millisecond, or None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value * unit), 3)


def rate(value: Fraction | None) -> float | None:
    """Return frames per second, or None where none are told."""
    return round(float(value), 3) if value and math.isfinite(value) and value > 0 else None


def sound_stream(stream: Any) -> dict[str, Any]:
    """Describe a stream of sound."""
    context = stream.codec_context
    own = {
        "codec": codec_of(stream),
        "profile": stream.profile,
        "sample_rate": context.sample_rate if context else None,
        "channels": context.channels if context else None,
        "layout": context.layout.name if context and context.channels else None,
        "bit_rate": bit_rate(context),
        "start_s": seconds(stream.start_time, stream.time_base or 0),
        "duration_s": seconds(stream.duration, stream.time_base or 0),
    }
    return common(stream) | own


def subtitle_stream(stream: Any) -> dict[str, Any]:
    """Describe subtitles; they are not read."""
    forced = bool(stream.disposition & pyav().stream.Disposition.forced)
    return common(stream) | {"codec": codec_of(stream), "forced": forced}


def common(stream: Any) -> dict[str, Any]:
    """Return what every stream tells."""
    return {
        "index": stream.index,
        "language": tags(stream.metadata).get("language"),
        "title": tags(stream.metadata).get("title"),
        "default": bool(stream.disposition & pyav().stream.Disposition.default),
    }


def codec_of(stream: Any) -> str | None:
    """Return the codec's name, or None for one that is not known here."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context else None


def bit_rate(context: Any) -> int | None:
    """Return bits per second, or None where they are not told."""
    return (context.bit_rate or None) if context else None


def chapters(container: Any) -> list[dict[str, Any]]:
    """Return the chapters, times in seconds."""
    return [
        {
            "start": seconds(one["start"], one["time_base"] or 0),
            "end": seconds(one["end"], one["time_base"] or 0),
            "title": tags(one["metadata"]).get("title"),
        }
        for one in container.chapters()[:MOST_ENTRIES]
    ]


def tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return a container's or a stream's tags, names in small letters, within reason."""
    return {key.lower()[:LONGEST_ENTRY]: value[:LONGEST_ENTRY] for key, value in list(metadata.items())[:MOST_ENTRIES]}


def pixel_shape(stream: Any) -> Fraction:
    """Return the width of a pixel by its height; 1 where it is not told, or cannot be true."""
    shape = stream.sample_aspect_ratio
    if not shape or not 1 / STRANGEST_PIXEL <= shape <= STRANGEST_PIXEL:
        return Fraction(1)
    return Fraction(shape)
