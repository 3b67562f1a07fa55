"""Films in memory: drawn frame by frame, as tests of the work need them."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import numpy as np

WIDTH, HEIGHT = 160, 90
FPS = 25
MILLISECONDS = Fraction(1, 1000)
RED, GREEN, BLUE, BLACK, WHITE = (220, 30, 30), (30, 190, 60), (40, 60, 220), (0, 0, 0), (255, 255, 255)

Shot = tuple[float, np.ndarray]
"""The time in seconds at which a picture is shown, and the picture."""


def picture(seed: int, brightness: float = 1.0, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A picture of coloured blocks that has edges everywhere; another seed is another scene."""
    blocks = np.random.default_rng(seed).integers(40, 256, (height // 10 + 1, width // 10 + 1, 3))
    return (np.kron(blocks, np.ones((10, 10, 1)))[:height, :width] * brightness).astype("uint8")


def plain(colour: Sequence[int]) -> np.ndarray:
    """A picture of one colour."""
    return np.full((HEIGHT, WIDTH, 3), colour, "uint8")


def steady(*pictures: np.ndarray, frames: int = 25, fps: float = FPS) -> list[Shot]:
    """Each picture for as many frames, one after another."""
    many = [one for one in pictures for _ in range(frames)]
    return [(n / fps, one) for n, one in enumerate(many)]


def timed(pictures: Iterable[np.ndarray], fps: float = FPS) -> list[Shot]:
    """Pictures at an even rate."""
    return [(n / fps, one) for n, one in enumerate(pictures)]


def film(
    shots: Sequence[Shot],
    form: str = "mp4",
    codec: str = "libx264",
    rotation: int = 0,
    shape: Fraction | None = None,
    sound_s: float = 0.0,
    tags: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """Encode a film; `rotation` is what the file tells, in degrees against the clock."""
    stored = io.BytesIO()
    with av.open(stored, "w", format=form) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream(codec, rate=FPS, options={"g": "12"} | options)
        stream.height, stream.width = shots[0][1].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, FPS) if codec.startswith("mpeg") else MILLISECONDS
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=48_000, layout="mono") if sound_s else None
        for at, pixels in shots:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = round(at * 1000), MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            _add_sound(container, sound, sound_s)
    return stored.getvalue()


def sound_only(seconds: float = 1.0) -> bytes:
    """An MP4 with sound and no film."""
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as container:
        _add_sound(container, container.add_stream("aac", rate=48_000, layout="mono"), seconds)
    return stored.getvalue()


def _add_sound(container, stream, seconds: float) -> None:
    for at in range(0, int(seconds * 48_000), 960):
        wave = (8_000 * np.sin(np.arange(at, at + 960) / 20)).astype("int16")[None, :]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = at, 48_000, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
