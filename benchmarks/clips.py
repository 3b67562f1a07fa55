"""Films, sounds and pictures with known truth, drawn and synthesised for the measurements; no real persons."""

import math
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FPS = 25
EVEN = 0.5
PERIOD_SECONDS, SOUNDING_SECONDS = 20, 17
SENTENCES = (
    "The north pump ran for 812 hours and moved 41 000 cubic metres of water.",
    "A seal of the south pump leaked in February.",
    "Repairs cost 3 200 euro, electricity cost 9 450 euro.",
    "In May both pumps get new bearings.",
    "The harbour master asks for a third pump before winter.",
    "Two bearings, one seal, forty metres of hose.",
    "Received at the harbour on 3 March, signed by the office.",
    "(two) copies were sent to the workshop in the old town.",
)
SPOKEN = (
    "please call me tomorrow morning at nine o'clock",
    "the north pump was repaired in the last week of march",
    "we need forty metres of hose and two new bearings",
    "the harbour master asks for a third pump before winter",
)


@dataclass(frozen=True)
class Clip:
    """One film and the seconds at which its scenes change."""

    name: str
    path: Path
    cuts: tuple[float, ...]


# --- Films --------------------------------------------------------------------------------------------------------


def films(folder: Path, width: int = 320, height: int = 180) -> list[Clip]:
    """Draw the films that cuts are looked for in: hard cuts, similar scenes, fades, flashes, motion, changing rates."""
    made = []
    for name, (shots, joins) in FILMS.items():
        frames, cuts = _cut_together(shots, joins, width, height)
        path = folder / f"{name}.mp4"
        write_film(path, frames, width, height, uneven=name == "uneven rate")
        made.append(Clip(name, path, cuts))
    return made


FILMS: dict[str, tuple[tuple[tuple[int, float], ...], str]] = {
    # each shot: the seed of its picture, and its seconds; then how shots are joined
    "hard cuts": (((1, 2.0), (2, 1.6), (3, 2.4), (4, 1.2), (5, 2.0)), "cut"),
    "short shots": (tuple((seed, 0.7) for seed in range(10, 22)), "cut"),
    "similar shots": (((30, 2.0), (31, 2.0), (30, 2.0), (31, 2.0)), "similar"),
    "fades": (((40, 2.4), (41, 2.4), (42, 2.4)), "fade"),
    "flashes": (((50, 3.0), (51, 3.0)), "flash"),
    "motion": (((60, 4.0), (61, 4.0)), "motion"),
    "uneven rate": (((70, 2.0), (71, 2.0), (72, 2.0)), "cut"),
}
FADE_SECONDS = 0.5


def _cut_together(
    shots: Sequence[tuple[int, float]], joins: str, width: int, height: int
) -> tuple[list[np.ndarray], tuple[float, ...]]:
    frames: list[np.ndarray] = []
    cuts: list[float] = []
    for seed, seconds in shots:
        if frames:
            cuts.append(len(frames) / FPS)
        frames += list(_shot(seed, round(seconds * FPS), joins, width, height))
    return frames, tuple(cuts)


def _shot(seed: int, count: int, joins: str, width: int, height: int) -> Iterator[np.ndarray]:
    picture = scene(seed, width * 2, height, hue=0.35 if joins == "similar" else None)
    edge = round(FADE_SECONDS * FPS)
    for at in range(count):
        left = round(at * (6 if joins == "motion" else 0.4)) % width
        frame = picture[:, left : left + width].astype(np.float32)
        if joins == "fade":
            frame *= min(1.0, at / edge, (count - 1 - at) / edge)
        if joins == "flash" and at % 30 in {20, 21}:
            frame = frame * 0.3 + 178
        yield frame.clip(0, 255).astype(np.uint8)


def scene(seed: int, width: int, height: int, hue: float | None = None) -> np.ndarray:
    """Draw a picture: a sky, a ground and things on it, in colours of its own."""
    chance = np.random.default_rng(seed)
    tint = chance.random() if hue is None else hue
    image = Image.new("RGB", (width, height), _colour(tint, 0.35, 0.75))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 0.55, width, height), fill=_colour(tint + 0.3 + 0.1 * chance.random(), 0.5, 0.45))
    for _ in range(40):
        x, y = chance.integers(0, width), chance.integers(0, height)
        w, h = chance.integers(width // 40, width // 8), chance.integers(height // 20, height // 3)
        shape = draw.ellipse if chance.random() < EVEN else draw.rectangle
        shape(
            (int(x), int(y), int(x + w), int(y + h)), fill=_colour(tint + 0.4 * chance.random(), 0.7, chance.random())
        )
    return np.asarray(image)


def _colour(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    wheel = np.clip(np.abs(((hue + np.array((0, 2 / 3, 1 / 3))) % 1.0) * 6 - 3) - 1, 0, 1)
    red, green, blue = (value * (1 - saturation * (1 - wheel)) * 255).astype(int)
    return int(red), int(green), int(blue)


def write_film(
    path: Path, frames: Sequence[np.ndarray], width: int, height: int, *, uneven: bool = False, sound: bool = False
) -> None:
    """Write frames as H.264; `uneven` gives each frame its own duration, `sound` adds a tone."""
    with av.open(str(path), "w") as film:
        video: Any = film.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "28"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        tone: Any = film.add_stream("aac", rate=16_000, layout="mono") if sound else None
        clock = Fraction(1, 1000)
        video.codec_context.time_base = clock
        for at, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            shift = 8 if uneven and at % 3 == 1 else 0
            frame.pts, frame.time_base = round(at * 1000 / FPS) + shift, clock
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        if tone is not None:
            _add_tone(film, tone, len(frames) / FPS)


def _add_tone(film: Any, stream: Any, seconds: float) -> None:
    samples = (tone_of(seconds) * 32767).astype(np.int16)
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, start
        film.mux(stream.encode(frame))
    film.mux(stream.encode(None))


def f1(found: Sequence[float], truth: Sequence[float], tolerance: float = 0.12) -> tuple[int, int, int]:
    """Return how many cuts were found rightly, found wrongly and missed; each truth is found once."""
    left = list(found)
    right = 0
    for one in truth:
        near = [other for other in left if abs(other - one) <= tolerance]
        if near:
            left.remove(min(near, key=lambda other: abs(other - one)))
            right += 1
    return right, len(left), len(truth) - right


# --- Sounds -------------------------------------------------------------------------------------------------------


def tone_of(seconds: float, rate: int = 16_000) -> np.ndarray:
    """Return a sound that changes: tones with beats, noise and silences, -1 to 1."""
    at = np.arange(round(seconds * rate)) / rate
    chance = np.random.default_rng(7)
    beat = np.sin(2 * math.pi * 2 * at) > 0
    wave = 0.3 * np.sin(2 * math.pi * 220 * at) * beat + 0.1 * np.sin(2 * math.pi * 1330 * at)
    return (wave + 0.02 * chance.standard_normal(len(at))) * (at % PERIOD_SECONDS < SOUNDING_SECONDS)


def write_sound(path: Path, samples: np.ndarray, rate: int = 16_000, codec: str = "pcm_s16le") -> None:
    """Write mono samples, -1 to 1, in the container that the file's ending names."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono")
        packed = (np.clip(samples, -1, 1) * 32767).astype(np.int16)
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for start in range(0, len(packed), rate):
            frame = av.AudioFrame.from_ndarray(packed[None, start : start + rate], format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))


def read_sound(path: Path, rate: int = 16_000) -> np.ndarray:
    """Return a file's sound as mono samples, -1 to 1."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    with av.open(str(path)) as container:
        frames = [ready for frame in container.decode(audio=0) for ready in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


def spoken(text: str, path: Path, voice: str = "en-us") -> Path:
    """Let espeak-ng say something.

    Raises:
        RuntimeError: it is not installed.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise RuntimeError("The speech is made by espeak-ng: apt install espeak-ng.")
    subprocess.run([program, "-v", voice, "-s", "140", "-w", str(path), "--", text], check=True, timeout=60)
    return path


# --- Pictures -----------------------------------------------------------------------------------------------------


def page(lines: Sequence[str], size: int = 32, width: int = 1400) -> Image.Image:
    """Draw lines of text, black on white."""
    image = Image.new("RGB", (width, int(size * 2.2 * (len(lines) + 1))), "white")
    draw = ImageDraw.Draw(image)
    for at, line in enumerate(lines):
        draw.text((40, size + at * size * 2.2), line, fill="black", font=ImageFont.load_default(size))
    return image


def worsened(image: Image.Image, how: str) -> Image.Image:
    """Return a picture as a bad scan or photograph has it."""
    pixels = np.asarray(image).astype(np.float32)
    if how == "noise":
        pixels += np.random.default_rng(1).normal(0, 40, pixels.shape)
    if how == "low contrast":
        pixels = 140 + pixels * 0.15
    changed = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if how == "blurred":
        return changed.filter(ImageFilter.GaussianBlur(1.6))
    if how == "turned by 2°":
        return changed.rotate(2, expand=True, fillcolor="white")
    return changed.rotate(180) if how == "upside down" else changed


def error_rate(said: Sequence[Any], truth: Sequence[Any]) -> float:
    """Return the edits that turn one sequence into the other, as a share of the true one's length (Levenshtein)."""
    row = list(range(len(said) + 1))
    for at, expected in enumerate(truth, 1):
        before, row[0] = row[0], at
        for place, got in enumerate(said, 1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (got != expected))
    return row[-1] / max(1, len(truth))
