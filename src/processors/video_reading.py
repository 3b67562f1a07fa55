"""What the sandboxed child tells of a film before it looks at its frames: streams, times, and what is odd in them."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

from processors import media_streams
from processors.envelopes import clean, warning
from processors.errors import FileError
from processors.file_types import identity, refuse_other_than
from processors.film_decoding import Faults, display_size, film_stream, frames, numpy_module, packets, turned
from processors.interfaces import Report
from processors.media_ends import missing_end

LONGEST_GAP_S = 3_600.0
"""Two frames that lie further apart than this do so by a wrong time, not by a slow film."""

MOST_PACKETS = 4_000_000
MOST_TIMED = 0.9
"""Where fewer packets of a film than this share have a time, their order counts."""

CUT_OFF_S = 1.0
UNEVEN_SHARE, UNEVEN_STEP, LEAST_UNEVEN = 0.01, 0.05, 2
ROUNDED_S = 0.002
"""Matroska rounds times to milliseconds, so that even steps differ by two."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of a film's packets: `pts` in the stream's unit, ascending; `last_s` of any stream, in seconds."""

    pts: Any
    last_s: float
    broken: bool


def read_video(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Describe a film.

    Args:
        file: open, seekable, read-only.
        options: `name`, and `threads` to decode with.
        report: told how far it is.

    Returns:
        JSON values: `kind`, `mime`, `declared`, `sha256`, `bytes` and `content`, in which `film` has what the other
        jobs need: `start_s` (what time 0 is in the streams' time), `first_pts`, `end_pts` and `time_base`.

    Raises:
        FileError: with one of the stable codes.
    """
    found = identity(file, str(options["name"]))
    refuse_other_than("video", found["kind"])
    report(10, "looking at the first frame")
    missing = missing_end(file, found["kind"])
    faults = Faults()
    with media_streams.opened(file, found["kind"]) as container:
        stream = film_stream(container, int(options["threads"]))
        first = next(frames(container, stream, faults), None)
        if first is None:
            raise FileError(
                "The film has no frame that can be decoded: it is damaged, or needs more memory than "
                "FILE_MEMORY_LIMIT_MB allows.",
                "corrupt",
            )
        picture = {"rotation": 90 * turned(first), "pix_fmt": first.format.name, "transfer": int(first.color_trc or 0)}
        picture["first_pts"] = first.pts
    report(30, "reading the times of the film")
    with media_streams.opened(file, found["kind"]) as container:
        stream = film_stream(container, int(options["threads"]))
        content = _content(container, stream, picture, found["kind"], faults)
    if missing is not None and all(one["code"] != "truncated" for one in content["warnings"]):
        content["warnings"].append(warning("truncated", f"The file is cut off: {missing}."))
    return found | {"content": clean(content)}


def _content(container: Any, stream: Any, picture: dict[str, Any], kind: str, faults: Faults) -> dict[str, Any]:
    timeline = _timeline(container, stream, faults)
    first_pts = min(int(timeline.pts[0]), picture.pop("first_pts"))
    end_pts = int(timeline.pts[-1]) + _step(timeline.pts, stream)
    begins = float(first_pts * stream.time_base)
    start = begins if container.start_time is None else container.start_time / units_per_second()
    if abs(begins - start) > LONGEST_GAP_S:
        start = begins
    end = float(end_pts * stream.time_base)
    duration = (end if timeline.broken else max(end, timeline.last_s)) - start
    rate = {"avg_fps": round(len(timeline.pts) / (end - begins), 3)}
    video = _video(stream, picture) | rate | _evenness(timeline.pts, stream)
    return {
        "engine": f"pyav {media_streams.pyav().__version__}",
        "duration_s": round(duration, 3),
        "container": kind,
        "bit_rate": container.bit_rate or None,
        "tags": media_streams.tags(container.metadata),
        "video": video,
        "audio_streams": [media_streams.sound_stream(one) for one in container.streams.audio],
        "subtitles": [media_streams.subtitle_stream(one) for one in container.streams.subtitles],
        "chapters": media_streams.chapters(container),
        "film": {
            "start_s": start,
            "first_pts": first_pts,
            "end_pts": end_pts,
            "time_base": [stream.time_base.numerator, stream.time_base.denominator],
        },
        "warnings": _warnings(container, video, timeline, start, faults),
    }


def units_per_second() -> int:
    """Return how many of FFmpeg's own units of time a second has."""
    return int(media_streams.pyav().time_base)


def _video(stream: Any, picture: dict[str, Any]) -> dict[str, Any]:
    width, height = display_size(stream)
    if picture["rotation"] % 180:
        width, height = height, width
    shape = media_streams.pixel_shape(stream)
    return media_streams.common(stream) | {
        "codec": media_streams.codec_of(stream),
        "profile": stream.profile,
        "pix_fmt": picture["pix_fmt"],
        "width": stream.width,
        "height": stream.height,
        "sample_aspect_ratio": f"{shape.numerator}:{shape.denominator}",
        "display_width": width,
        "display_height": height,
        "rotation": picture["rotation"],
        "nominal_fps": media_streams.rate(stream.guessed_rate),
        "bit_rate": media_streams.bit_rate(stream.codec_context),
        "hdr": media_streams.TRANSFERS.get(picture["transfer"]),
    }


def _timeline(container: Any, stream: Any, faults: Faults) -> Timeline:
    """Read the times of all packets; of a film whose times jump, only what lies before the jump counts.

    In an MPEG program stream not every packet has a time: there the order of the packets is what counts, each one that
    has none a step behind the one before it.

    Raises:
        FileError: the film has no packet with a time.
    """
    numpy = numpy_module()
    times, order, last_s = array("q"), array("q"), 0.0
    step = round(1 / (stream.guessed_rate or Fraction(25)) / stream.time_base)
    for packet in packets(container, [stream, *container.streams.audio], faults):
        if packet.is_discard:
            continue
        at = packet.dts if packet.pts is None else packet.pts
        if packet.stream_index == stream.index and packet.size and len(order) < MOST_PACKETS:
            _add_place(order, at if packet.dts is None else packet.dts, step)
        if at is None:
            continue
        last_s = max(last_s, float((at + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index == stream.index and len(times) < MOST_PACKETS:
            times.append(at)
    if not times:
        raise FileError("The film has no frames.", "corrupt")
    if len(times) < MOST_TIMED * len(order):
        times = order
    pts = numpy.unique(numpy.frombuffer(times, dtype=numpy.int64))
    gaps = numpy.flatnonzero(numpy.diff(pts) * float(stream.time_base) > LONGEST_GAP_S)
    return Timeline(pts[: gaps[0] + 1] if len(gaps) else pts, last_s, broken=bool(len(gaps)))


def _add_place(order: "array[int]", place: int | None, step: int) -> None:
    """Add the place of the next packet, which is a step behind the one before where it has none of its own.

    FFmpeg gives the time of some packets to the one before as well: that one lies a step before it.
    """
    if order and place is None:
        place = order[-1] + step
    elif order and place == order[-1]:
        order[-1] -= step
    if place is not None:
        order.append(place)


def _step(pts: Any, stream: Any) -> int:
    """Return how long a frame is shown, in the stream's unit: the usual step between two, or what the rate says."""
    if len(pts) > 1:
        return max(1, int(numpy_module().median(numpy_module().diff(pts))))
    return max(1, round(1 / (stream.guessed_rate or Fraction(25)) / stream.time_base))


def _evenness(pts: Any, stream: Any) -> dict[str, Any]:
    """Tell the number of frames, and whether their rate varies: in more than one step of a hundred."""
    numpy = numpy_module()
    steps = numpy.diff(pts) * float(stream.time_base)
    usual = float(numpy.median(steps)) if len(steps) else 0.0
    uneven = int((abs(steps - usual) > max(ROUNDED_S, UNEVEN_STEP * usual)).sum())
    return {"frames": len(pts), "vfr": uneven >= max(LEAST_UNEVEN, UNEVEN_SHARE * len(steps))}


def _warnings(
    container: Any, video: dict[str, Any], timeline: Timeline, start: float, faults: Faults
) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if video["hdr"]:
        text = (
            "The film has a high dynamic range, which its frames and thumbnail here have not: their colours are pale."
        )
        made.append(warning("hdr_not_mapped", text))
    if timeline.broken:
        text = f"The times of the film jump by more than {LONGEST_GAP_S:g} s; what follows the jump was left out."
        made.append(warning("broken_timestamps", text))
    claimed = (container.duration or 0) / units_per_second()
    reached = timeline.last_s - start
    if not timeline.broken and claimed - reached > max(CUT_OFF_S, UNEVEN_STEP * claimed):
        text = f"The file says that it lasts {claimed:.1f} s, and ends after {reached:.1f} s: it is cut off."
        made.append(warning("truncated", text))
    if faults.damaged:
        text = f"{faults.damaged} packets or frames are damaged, and were left out or patched by the decoder."
        made.append(warning("corrupt_packets", text, count=faults.damaged))
    return made
