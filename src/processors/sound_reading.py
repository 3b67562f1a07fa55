"""What the sandboxed child does with sound: describe it, find speech, read a piece of it, tell voices apart."""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO, cast

import av
import numpy as np

from processors.envelopes import clean, packed, part_of, warning
from processors.errors import FileError
from processors.file_types import identity, sniff
from processors.interfaces import Report, SpeechReader, VoiceActivity, VoiceEncoder
from processors.media_ends import missing_end
from processors.sound_decoding import SPEECH_RATE, Sound, opened
from processors.sound_features import HOP_SECONDS, WINDOW_SECONDS, Features
from processors.speech_spans import Span, spans_of
from processors.speech_turns import PART_SECONDS, packed_vectors, parts_of

LOWEST_MEASURED_RATE, HIGHEST_MEASURED_RATE = 8_000, 48_000
CUT_OFF_SECONDS, CUT_OFF_SHARE = 1.0, 0.05
GUESSED = frozenset({"aac", "ac3", "amr"})
"""Kinds that say nothing of their length: FFmpeg guesses it."""

PARTS_AT_ONCE = 64
FLAC_FRAME = 4_096
DECODING_PERCENT = 10.0
ENGINE = f"PyAV {av.__version__}"


def read_sound(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Decode a whole sound, and measure it where that is wanted.

    Args:
        file: open, seekable, read-only.
        options: `name`, `max_seconds`, `features`.
        report: told how many seconds have been read.

    Returns:
        JSON values: `kind`, `mime`, `declared`, `sha256`, `bytes`, `sound` (container, codec, rates, tags), `seconds`
        read, `claimed_seconds`, `cut` (more lies beyond `max_seconds`), `features` and `warnings`.

    Raises:
        FileError: with one of the stable codes.
    """
    found = identity(file, str(options["name"]))
    missing = missing_end(file, found["kind"])
    with opened(file, found["kind"]) as sound:
        rate = min(max(sound.rate, LOWEST_MEASURED_RATE), HIGHEST_MEASURED_RATE)
        channels = sound.channels
        features = Features(rate, channels) if options["features"] else None
        samples = 0
        whole = min(sound.claimed_seconds or math.inf, options["max_seconds"])
        for block in sound.blocks(rate, end=options["max_seconds"]):
            if features is not None:
                features.add(_as_many(block, len(channels)))
            samples += block.shape[1]
            _tell(report, samples / rate, whole, "decoded")
        if not samples:
            raise FileError("No sound can be decoded from the file: it is cut off or damaged.", "corrupt")
        return found | {
            "sound": clean({"container": found["kind"]} | sound.described()),
            "engine": ENGINE,
            "seconds": round(samples / rate, 3),
            "claimed_seconds": sound.claimed_seconds,
            "cut": sound.cut,
            "features": None if features is None else clean(_measured(features, rate)),
            "warnings": _damage(sound) + _cut_off(sound, found["kind"], samples / rate, missing),
        }


def find_speech(
    file: BinaryIO, options: Mapping[str, Any], report: Report, voice: Callable[[], VoiceActivity]
) -> dict[str, Any]:
    """Return `spans` of speech in seconds up to `options["end"]`, and the engine that found them."""
    end = float(options["end"])
    with opened(file, sniff(file, "")) as sound:
        engine = voice()
        likely = engine.listen(_mono(sound, 0.0, end, report))
        spans = spans_of(likely, engine.step_seconds, end)
    return {"spans": spans, "engine": engine.name, "version": engine.version}


def read_speech(
    file: BinaryIO, options: Mapping[str, Any], report: Report, speech: Callable[[str, str | None], SpeechReader]
) -> dict[str, Any]:
    """Return what is said in a piece, in times from its beginning.

    Args:
        file: open, seekable, read-only.
        options: `start`, `end`, `spans` (seconds of the whole), `engine`, `folder` (of its model), `language`.
        report: told how many seconds have been decoded.
        speech: gives the engine.
    """
    start = float(options["start"])
    samples = _piece(file, options, part_of(report, 0, DECODING_PERCENT))
    engine = speech(options["engine"], options["folder"])
    heard = engine.read(samples, [(a - start, b - start) for a, b in options["spans"]], options["language"])
    return clean(
        {
            "segments": [asdict(segment) for segment in heard.segments],
            "language": heard.language,
            "language_source": heard.language_source,
            "language_confidence": heard.language_confidence,
            "engine": {
                "engine": engine.name,
                "engine_version": engine.version,
                "model": engine.model,
                "quality": engine.quality,
            },
        }
    )


def cut_piece(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return a piece, `start` to `end`, as a FLAC file of 16 kHz mono."""
    return packed("audio", _flac(_piece(file, options, report)), "audio/flac")


def encode_voices(
    file: BinaryIO, options: Mapping[str, Any], report: Report, voices: Callable[[], VoiceEncoder]
) -> dict[str, Any]:
    """Return `parts` of the speech in `options["spans"]`, in seconds, and a vector of its voice for each.

    The vectors are packed as `processors.speech_turns.packed_vectors` does.
    """
    start = float(options["start"])
    engine = voices()
    samples = _piece(file, options, report)
    parts = parts_of(options["spans"])
    vectors = np.concatenate(list(_vectors(samples, [(a - start, b - start) for a, b in parts], engine, report)))
    return {
        "parts": parts,
        "vectors": packed_vectors(vectors),
        "engine": {"engine": engine.name, "engine_version": engine.version, "model_sha256": engine.model_sha256},
    }


def _measured(features: Features, rate: int) -> dict[str, Any]:
    arrays, row_seconds, rows = features.arrays()
    return {
        "window_s": WINDOW_SECONDS,
        "hop_s": HOP_SECONDS,
        "sample_rate": rate,
        "summary": features.summary(),
        "made": packed("features", arrays, "application/x-npz", row_s=row_seconds, rows=rows),
    }


def _damage(sound: Sound) -> list[dict[str, Any]]:
    if not sound.damaged:
        return []
    message = f"{sound.damaged} packets of the sound are damaged or cut off; what can be decoded was used."
    return [warning("damaged_sound", message, packets=sound.damaged)]


def _cut_off(sound: Sound, kind: str, seconds: float, missing: str | None) -> list[dict[str, Any]]:
    """Warn of a sound that ends long before the file says; what was left out by a limit is no such one."""
    if missing is not None:
        return [warning("truncated", f"The file is cut off: {missing}.")]
    claimed = sound.claimed_end or 0.0
    if sound.cut or kind in GUESSED or claimed - seconds <= max(CUT_OFF_SECONDS, CUT_OFF_SHARE * claimed):
        return []
    message = f"The file says that its sound lasts {claimed:.1f} s, and it ends after {seconds:.1f} s: it is cut off."
    return [warning("truncated", message)]


def _as_many(block: Any, channels: int) -> Any:
    """Return a block with as many channels as the header claims, though the stream changes them."""
    if len(block) == channels:
        return block
    return np.broadcast_to(block.mean(axis=0), (channels, block.shape[1]))


def _mono(sound: Sound, start: float, end: float, report: Report) -> Iterator[Any]:
    """Yield blocks of 16 kHz mono, and tell how far they are."""
    at = start
    for block in sound.blocks(SPEECH_RATE, "mono", start, end):
        yield block[0]
        at += block.shape[1] / SPEECH_RATE
        _tell(report, at - start, end - start, "listened to")


def _piece(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Any:
    start, end = float(options["start"]), float(options["end"])
    with opened(file, sniff(file, "")) as sound:
        blocks = list(_mono(sound, start, end, report))
    return np.concatenate([*blocks, np.zeros(0, np.float32)])


def _tell(report: Report, seconds: float, whole: float, what: str) -> None:
    percent = 100 * seconds / whole if 0 < whole < math.inf else 0.0
    report(percent, f"{what} {seconds:.0f} s")


def _vectors(samples: Any, parts: Sequence[Span], engine: VoiceEncoder, report: Report) -> Iterator[Any]:
    """Yield the parts' vectors, some at a time; a part that is shorter than the others is repeated to their length."""
    length = round(PART_SECONDS * SPEECH_RATE)
    for at in range(0, len(parts), PARTS_AT_ONCE):
        some = [samples[round(a * SPEECH_RATE) : round(b * SPEECH_RATE)] for a, b in parts[at : at + PARTS_AT_ONCE]]
        whole = [np.resize(one, length) if len(one) else np.zeros(length, np.float32) for one in some]
        yield engine.encode(np.stack(whole))
        _tell(report, parts[min(at + PARTS_AT_ONCE, len(parts)) - 1][1], parts[-1][1], "told voices apart in")


def _flac(samples: Any) -> bytes:
    stored = io.BytesIO()
    with cast("Any", av).open(stored, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SPEECH_RATE)
        stream.layout, stream.format = "mono", "s16"
        whole = (np.clip(samples, -1, 1) * 32_767).astype(np.int16)
        for at in range(0, len(whole), FLAC_FRAME):
            frame = av.AudioFrame.from_ndarray(whole[None, at : at + FLAC_FRAME], format="s16", layout="mono")
            frame.sample_rate, frame.pts = SPEECH_RATE, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return stored.getvalue()
