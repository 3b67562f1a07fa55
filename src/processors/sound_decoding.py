"""Sound out of any container that FFmpeg reads, block by block, on the file's own time line."""

import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import av
import av.error
import numpy as np

from processors.demuxers import DEMUXERS, ONLY_THIS_FILE
from processors.errors import FileError
from processors.file_types import MIME, refuse_other_than, route_of

FFmpegError: type[Exception] = cast("Any", av.error).FFmpegError
SPEECH_RATE = 16_000
BLOCK_SECONDS = 10.0
WARM_UP_SECONDS = 1.0
"""What is decoded before a start in the middle: more than any codec here needs to settle."""

GAP_SECONDS = 0.5
"""Time stamps that leap further ahead than this leave silence; smaller leaps are packets that were lost."""

LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000
MOST_CHANNELS = 16
MOST_MIXED_CHANNELS = 8
"""FFmpeg adds more than these up, or refuses to mix them, and PyAV reads only so many that lie apart."""

LOUDEST = 2.0**24
"""A larger sample is no sound, and its square would be no number; files with whole numbers as fractions have less."""

MOST_TAGS, LONGEST_TAG = 100, 2_000


class Sound:
    """The sound of one open file.

    Attributes:
        damaged: packets that could not be decoded, so far.
        cut: whether there was more after the end that was asked for.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._stream = _stream(container)
        begin = container.start_time
        self._begin = begin / av.time_base if begin is not None else 0.0
        self.damaged = 0
        self.cut = False

    @property
    def channels(self) -> list[str]:
        """The names of the channels, such as FL, FR, LFE, as FFmpeg gives them."""
        return [str(channel.name) for channel in self._stream.layout.channels]

    @property
    def rate(self) -> int:
        """Samples of one channel in a second, as the stream's header says."""
        return int(self._stream.sample_rate)

    @property
    def claimed_seconds(self) -> float | None:
        """How long the container says that it is, or None where it says nothing."""
        if self._container.duration is None or self._container.duration < 0:
            return None
        return float(self._container.duration / av.time_base)

    @property
    def claimed_end(self) -> float | None:
        """When the sound itself ends by what the file says, in seconds; None where it speaks of more than the sound."""
        stream = self._stream
        if stream.duration and stream.duration > 0:
            return float((stream.duration + (stream.start_time or 0)) * stream.time_base) - self._begin
        if len(self._container.streams) > 1 or self.claimed_seconds is None:
            return None
        return self.claimed_seconds - max(0.0, self._begin)

    def described(self) -> dict[str, Any]:
        """Return codec, rates and tags as JSON values."""
        tags = {**self._container.metadata, **self._stream.metadata}
        return {
            "codec": str(self._stream.codec_context.codec.canonical_name),
            "sample_rate": self.rate,
            "channels": int(self._stream.layout.nb_channels),
            "channel_layout": str(self._stream.layout.name),
            "bit_rate": self._stream.bit_rate or self._container.bit_rate or None,
            "streams": len(self._container.streams.audio),
            "tags": {str(key).lower()[:LONGEST_TAG]: str(tags[key])[:LONGEST_TAG] for key in list(tags)[:MOST_TAGS]},
        }

    def blocks(
        self, rate: int, layout: str | None = None, start: float = 0.0, end: float = math.inf
    ) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the sound as float32 arrays of channels x samples, about 10 s each, without a gap in time.

        Where the stream begins late or leaps ahead, the samples between are zero; so is what is no number or no sound.

        Args:
            rate: samples a second.
            layout: `mono` mixes the channels; None leaves them as they are.
            start: seconds from the beginning of the file.
            end: seconds.
        """
        kept: list[np.ndarray[Any, Any]] = []
        samples = 0
        for piece in self._pieces(rate, layout, start, end):
            kept.append(piece)
            samples += piece.shape[1]
            if samples >= BLOCK_SECONDS * rate:
                yield _finite(kept)
                kept, samples = [], 0
        if samples:
            yield _finite(kept)

    def _pieces(
        self, rate: int, layout: str | None, start: float, end: float
    ) -> Generator[np.ndarray[Any, Any], None, None]:
        """Yield what was decoded, cut and filled up so that the first sample is the one at `start`."""
        at, last = 0, (end - start) * rate
        first = True
        for time, piece in self._decoded(rate, layout, start):
            due = at if time is None else round((time - start) * rate)
            if first:
                at, first = min(due, 0), False
            if due - at > GAP_SECONDS * rate:
                yield from _silences(piece.shape[0], min(due, last) - max(at, 0), rate)
                at = due
            begin, after = max(0, -at), min(piece.shape[1], last - at)
            if begin < after:
                yield piece[:, begin : int(after)]
            at += piece.shape[1]
            if at > last:
                self.cut = True
                return

    def _decoded(
        self, rate: int, layout: str | None, start: float
    ) -> Iterator[tuple[float | None, np.ndarray[Any, Any]]]:
        """Yield samples with their time in seconds; where a stream changes its format, it is converted anew."""
        converter, form = None, None
        for frame in self._frames(start):
            if form != (frame.format.name, frame.layout.name, frame.sample_rate):
                form = (frame.format.name, frame.layout.name, frame.sample_rate)
                converter = _converter(rate, layout, frame.layout.nb_channels)
            time = None if frame.time is None else float(frame.time) - self._begin
            for converted in cast("Any", converter).resample(frame):
                yield time, _samples(converted, layout)
                time = None
        if converter is not None:
            for converted in converter.resample(None):
                yield None, _samples(converted, layout)

    def _frames(self, start: float) -> Iterator[Any]:
        """Yield decoded frames; packets that lie before `start` are left out unread, damaged ones are counted."""
        until = start - WARM_UP_SECONDS + self._begin
        for packet in self._packets():
            if packet.pts is not None and float(packet.pts * packet.time_base) < until:
                continue
            try:
                frames = packet.decode()
            except MemoryError:  # FFmpeg's own is both
                raise
            except FFmpegError:
                self.damaged += 1
                continue
            yield from frames

    def _packets(self) -> Iterator[Any]:
        """Yield the packets up to the end of the file, or to where its structure is lost."""
        try:
            yield from self._container.demux(self._stream)
        except MemoryError:
            raise
        except FFmpegError:
            self.damaged += 1
        except IndexError:  # at the end, PyAV looks for a stream that appeared on the way, and does not know it
            return


@contextmanager
def opened(file: BinaryIO, kind: str) -> Generator[Sound]:
    """Open the sound of a file whose kind is known.

    Args:
        file: open, seekable.
        kind: one of `processors.file_types.AUDIO` or `VIDEO`.

    Raises:
        FileError: it is no sound or film, has no sound, or is damaged from its beginning on.
        MemoryError: it needs too much; FFmpeg's own is an `FFmpegError` as well.
    """
    if route_of(kind) != "video":
        refuse_other_than("audio", kind)
    try:
        container = cast("Any", av).open(file, format=DEMUXERS[kind], options=ONLY_THIS_FILE, metadata_errors="replace")
    except MemoryError:
        raise
    except FFmpegError as error:
        raise FileError(f"The file is {MIME[kind]} and damaged: {_said(error)}.", "corrupt") from error
    with container:
        try:
            yield Sound(container)
        except MemoryError:
            raise
        except FFmpegError as error:
            raise FileError(f"The file's sound cannot be decoded: {_said(error)}.", "corrupt") from error


def _stream(container: Any) -> Any:
    """Return the stream of sound to read.

    Raises:
        FileError: there is none, or it claims rates or channels that no sound has.
    """
    if not container.streams.audio:
        raise FileError("The file has no sound: no stream of audio is in it.", "unsupported_type")
    stream = container.streams.best("audio") or container.streams.audio[0]
    if stream.codec_context is None:
        raise FileError("The sound is in a codec that is not known here: convert it to FLAC.", "unsupported_type")
    rate, channels = int(stream.sample_rate or 0), int(stream.layout.nb_channels)
    if not (LOWEST_RATE <= rate <= HIGHEST_RATE and 1 <= channels <= MOST_CHANNELS):
        raise FileError(
            f"The sound claims {rate} samples a second in {channels} channels; read are {LOWEST_RATE} to "
            f"{HIGHEST_RATE} in 1 to {MOST_CHANNELS}.",
            "unsupported_type",
        )
    stream.thread_type = "NONE"  # the machine's cores are shared by its workers
    return stream


def _converter(rate: int, layout: str | None, channels: int) -> Any:
    if channels > MOST_MIXED_CHANNELS:
        return av.AudioResampler(format="flt", rate=rate)
    options: Mapping[str, Any] = {} if layout is None else {"layout": layout}
    return av.AudioResampler(format="flt", rate=rate, **options)


def _samples(frame: Any, layout: str | None) -> np.ndarray[Any, Any]:
    """Return a converted frame as channels x samples; many channels are mixed here.

    Frames are interleaved: PyAV itself crashes at one that keeps eight or more channels apart.
    """
    channels: np.ndarray[Any, Any] = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
    if layout is None or len(channels) <= MOST_MIXED_CHANNELS:
        return channels
    return channels.mean(axis=0, keepdims=True)


def _silences(channels: int, samples: float, rate: int) -> Iterator[np.ndarray[Any, Any]]:
    block = int(BLOCK_SECONDS * rate)
    for at in range(0, int(samples), block):
        yield np.zeros((channels, min(block, int(samples) - at)), np.float32)


def _finite(pieces: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return pieces as one array that holds numbers only; a stream that changes its channels keeps the fewest."""
    fewest = min(piece.shape[0] for piece in pieces)
    whole = np.ascontiguousarray(np.concatenate([piece[:fewest] for piece in pieces], axis=1))
    np.nan_to_num(whole, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if np.abs(whole).max(initial=0.0) > LOUDEST:
        whole[np.abs(whole) > LOUDEST] = 0.0
    return whole


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
