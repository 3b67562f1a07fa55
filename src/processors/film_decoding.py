"""Frames of a film in the order of their times, upright; what is damaged is left out and counted."""

import math
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import Any

from processors.errors import FileError
from processors.media_streams import pixel_shape, pyav

MOST_PIXELS = 36_000_000
"""Pixels of one frame: somewhat more than 8K, which needs half a gigabyte to decode."""

MOST_FAULTS = 1_000
"""Damaged packets and frames after which a film is given up: each may cost as much time as a good one."""

SEEK_MARGIN_S, FARTHER = 2.0, 4
"""A jump goes this much too far back: MPEG-TS has no index, and lands where no frame can be decoded yet. Where its key
frames are rarer than that, the next jump goes so many times as far back."""


@dataclass(slots=True)
class Faults:
    """What is wrong with a film.

    Attributes:
        damaged: packets and frames that are damaged, whether they could be patched or not.
        lost: those that could not even be read.
        backwards: frames whose time lies before that of the frame before them.
    """

    damaged: int = 0
    lost: int = 0
    backwards: int = 0

    def lose(self) -> None:
        """Count a packet that cannot be read.

        Raises:
            FileError: there were too many.
        """
        self.damaged += 1
        self.lost += 1
        if self.lost > MOST_FAULTS:
            raise FileError(f"More than {MOST_FAULTS} packets of the film are damaged.")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Time that a job may take: what it has not done by then is done by the next one.

    Attributes:
        clock: when it is over, by the monotonic clock.
        processor: when it is over, by the time that the processor has worked for this process.
    """

    clock: float
    processor: float

    @classmethod
    def of(cls, seconds: float) -> "Allowance":
        """Return an allowance of so many seconds from now on, of the clock and of the processor."""
        return cls(time.monotonic() + seconds, time.process_time() + seconds)

    @property
    def spent(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.clock or time.process_time() > self.processor


def film_stream(container: Any, threads: int) -> Any:
    """Return the stream of the film, ready to be decoded; a cover picture is none.

    Raises:
        FileError: there is none, its codec is not known here, or its frames are too large.
    """
    kinds = pyav().stream.Disposition
    pictures = kinds.attached_pic | kinds.timed_thumbnails | kinds.still_image
    films = [stream for stream in container.streams.video if not stream.disposition & pictures]
    if not films:
        cure = "process_audio reads its sound" if container.streams.audio else "it has no sound either"
        raise FileError(f"The file has no film, only what lies beside one: {cure}.", "unsupported_type")
    known = [stream for stream in films if stream.codec_context is not None]
    if not known:
        raise FileError("The film is in a codec that is not known here: convert it to H.264.", "unsupported_type")
    stream = max(known, key=lambda one: (bool(one.disposition & kinds.default), one.width * one.height))
    if not stream.width * stream.height:
        raise FileError("The film does not tell how large its frames are: it is damaged.", "corrupt")
    if stream.width * stream.height > MOST_PIXELS:
        raise FileError(
            f"A frame of the film is {stream.width} by {stream.height} pixels, at most {MOST_PIXELS} in all are read.",
            "pixel_limit",
        )
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a film may change its size on the way
    stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
    return stream


def packets(container: Any, streams: list[Any], faults: Faults) -> Generator[Any]:
    """Yield the packets of some streams; reading goes on behind a damaged one."""
    while True:
        try:
            for packet in container.demux(streams):
                faults.damaged += packet.is_corrupt
                yield packet
        except MemoryError:  # FFmpeg's own is both
            raise
        except pyav().FFmpegError:
            faults.lose()
        except IndexError:  # at the end, PyAV looks for a stream that appeared on the way, and does not know it
            return
        else:
            return


def frames(container: Any, stream: Any, faults: Faults, start_pts: int | None = None) -> Generator[Any]:
    """Yield frames, each with a time later than the one before.

    Args:
        container: open.
        stream: as `film_stream` returned it.
        faults: counts what is left out.
        start_pts: begin at or before this time, in the stream's unit; None goes on where the container stands.
    """
    if start_pts is None:
        return _next_frames(container, stream, faults)
    return _frames_from(container, stream, faults, start_pts)


def _frames_from(container: Any, stream: Any, faults: Faults, start_pts: int) -> Generator[Any]:
    """Yield the frames from one on that is shown at a time or before it, if the film has one; else from its first."""
    begin, back = stream.start_time or 0, max(1, round(SEEK_MARGIN_S / stream.time_base))
    if start_pts - back <= begin:  # to before the beginning an AVI loses its first frame
        yield from _next_frames(container, stream, faults)
        return
    while True:
        with suppress(pyav().FFmpegError):  # a film that cannot be entered in the middle is read from where it stands
            container.seek(start_pts - back, stream=stream, backward=True)
        found = _next_frames(container, stream, faults, jumped=True)
        first = next(found, None)
        if start_pts - back < begin or (first is not None and first.pts <= start_pts):
            break
        back *= FARTHER
    if first is not None:
        yield first
        yield from found


def _next_frames(container: Any, stream: Any, faults: Faults, *, jumped: bool = False) -> Generator[Any]:
    """Yield the frames from where a container stands on; behind a jump, only from the first one on that has a time."""
    last: int | None = None
    step = max(1, round(1 / (stream.guessed_rate or 25) / stream.time_base))
    order = _Order()
    for packet in packets(container, [stream], faults):
        for frame in _decoded(stream, packet, faults):
            frame.pts = order.time_of(frame)
            if frame.pts is None and jumped and last is None:
                continue
            if frame.pts is None:
                frame.pts = 0 if last is None else last + step
            if last is not None and frame.pts <= last:
                faults.backwards += 1
                continue
            last = frame.pts
            yield frame


class _Order:
    """Tells when frames are shown, where the file's own times may be wrong, as FFmpeg's libavcodec guesses it.

    A film in an AVI has no times for its frames but their order in the file (DTS). Where frames were reordered, what is
    made of that for the time they are shown at (PTS) goes back and forth, and the DTS is right.
    """

    def __init__(self) -> None:
        self._last_pts = self._last_dts = -math.inf
        self._wrong_pts = self._wrong_dts = 0

    def time_of(self, frame: Any) -> int | None:
        """Return the time of the next frame, in its stream's unit; None where the file has none."""
        pts, dts = frame.pts, frame.dts
        if pts is None or dts is None:
            return dts if pts is None else pts
        self._wrong_pts += pts <= self._last_pts
        self._wrong_dts += dts <= self._last_dts
        self._last_pts, self._last_dts = pts, dts
        return pts if self._wrong_pts <= self._wrong_dts else dts


def display_size(stream: Any) -> tuple[int, int]:
    """Return width and height of a frame as it is shown before it is turned, in square pixels."""
    shape = pixel_shape(stream)
    return max(1, round(stream.width * shape)), stream.height


def turned(frame: Any) -> int:
    """Return how many quarters a frame is turned clockwise to stand upright, 0 to 3.

    FFmpeg's display matrix turns against the clock (libavutil/display.h).
    """
    return round(-frame.rotation / 90) % 4


class Scaler:
    """Makes small upright pictures of frames.

    Args:
        size: the `display_size` of the frames.
        longest: the longer edge of a picture in pixels, at most; smaller frames stay small.
    """

    def __init__(self, size: tuple[int, int], longest: int) -> None:
        scale = min(Fraction(1), Fraction(longest, max(size)))
        self._width, self._height = (max(1, round(edge * scale)) for edge in size)
        self._reformatter = import_module("av.video.reformatter").VideoReformatter()

    def picture(self, frame: Any) -> Any:
        """Return the pixels of a frame as it is to be seen: an array of bytes, height by width by red, green, blue."""
        numpy = numpy_module()
        # one thread: the picture is so small that starting others costs more than they save
        small = self._reformatter.reformat(
            frame, self._width, self._height, "rgb24", interpolation="AREA", threads=1
        ).to_ndarray()
        return numpy.ascontiguousarray(numpy.rot90(small, -turned(frame)))


def numpy_module() -> Any:
    """Return NumPy, which is loaded by the first film: who only asks for films does not need it."""
    return import_module("numpy")


def _decoded(stream: Any, packet: Any, faults: Faults) -> list[Any]:
    try:
        found: list[Any] = stream.decode(packet)
    except MemoryError:
        raise
    except pyav().FFmpegError:
        faults.lose()
        return []
    faults.damaged += sum(frame.is_corrupt for frame in found)
    return found
