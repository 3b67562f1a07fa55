"""Sounds in memory: synthesised, written in any container, and read as the child does."""

import io
import json
import subprocess

import av
import numpy as np

from processors.sound_reading import read_sound
from requirements_check import needs

RATE = 16_000
FORMATS = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "m4a": ("ipod", "aac"),
    "ogg": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "aiff": ("aiff", "pcm_s16be"),
    "caf": ("caf", "pcm_s16be"),
    "mkv": ("matroska", "aac"),
    "webm": ("webm", "libopus"),
    "mp4": ("mp4", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "avi": ("avi", "libmp3lame"),
    "ts": ("mpegts", "aac"),
    "wma": ("asf", "wmav2"),
    "flv": ("flv", "aac"),
    "au": ("au", "pcm_s16be"),
    "ac3": ("ac3", "ac3"),
    "wv": ("wv", "wavpack"),
    "tta": ("tta", "tta"),
    "w64": ("w64", "pcm_s16le"),
    "mpg": ("vob", "mp2"),
    "voc": ("voc", "pcm_s16le"),
}
SIXTEEN_BITS = {"wv": "s16p", "tta": "s16"}
"""Formats of samples for coders that would take 8 bits by themselves."""


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


def tone(seconds: float, hertz: float = 440.0, level: float = 0.5, rate: int = RATE) -> np.ndarray:
    """A sine, mono."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def nothing(seconds: float, rate: int = RATE) -> np.ndarray:
    """Digital silence, mono."""
    return np.zeros(round(seconds * rate), np.float32)


def clicks(bpm: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """A click for every beat."""
    sound, click = nothing(seconds, rate), np.hanning(100) * np.sin(np.arange(100) * 0.8)
    for beat in range(int(seconds * bpm / 60)):
        at = round(beat * 60 / bpm * rate)
        sound[at : at + 100] = click[: len(sound) - at]
    return sound


def written(
    sound: np.ndarray, kind: str = "wav", rate: int = RATE, *, late: float = 0.0, bit_rate: int = 96_000, **tags
) -> bytes:
    """A file: samples, or channels x samples, whose time stamps begin `late` seconds after nought."""
    samples = np.atleast_2d(sound)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(samples)]
    container_format, codec = FORMATS[kind]
    stored = io.BytesIO()
    with av.open(stored, "w", format=container_format) as container:
        container.metadata.update(tags)
        stream = container.add_stream(codec, rate=rate)
        stream.layout, stream.bit_rate = layout, bit_rate
        if kind in SIXTEEN_BITS:
            stream.format = SIXTEEN_BITS[kind]
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate, frame_size=1024)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, round(late * rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return stored.getvalue()


def film(seconds: float = 1.0) -> bytes:
    """A film of grey pictures that has no sound."""
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(round(seconds * 10)):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return stored.getvalue()


def read(raw: bytes, name: str = "sound", *, features: bool = True, max_seconds: float = 14_400) -> dict:
    """Read a sound as the child does; the answer must be JSON."""
    options = {"name": name, "features": features, "max_seconds": max_seconds}
    found = read_sound(io.BytesIO(raw), options, silent)
    json.dumps(found, allow_nan=False)
    return found


def summary_of(sound: np.ndarray, kind: str = "wav", rate: int = RATE) -> dict:
    """The figures of a sound that was written as a file."""
    return read(written(sound, kind, rate))["features"]["summary"]


def spoken(text: str, voice: str = "en-us", pitch: int = 50) -> np.ndarray:
    """Synthetic speech, mono, 16 kHz."""
    command = [needs("espeak-ng"), "-v", voice, "-s", "140", "-p", str(pitch), "--stdout", text]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(io.BytesIO(raw), format="wav") as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])
