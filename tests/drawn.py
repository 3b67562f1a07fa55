"""Pictures in memory: drawn, saved and read without a child, as tests of the work need them."""

import io
import json
from types import SimpleNamespace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from processors.image_reading import read_image
from reading import silent

SKIN, HAIR = (224, 180, 150), (60, 40, 30)


def saved(picture: Image.Image, kind: str, **more) -> bytes:
    """A picture as a file."""
    stored = io.BytesIO()
    picture.save(stored, kind, **more)
    return stored.getvalue()


def read_picture(raw: bytes, name: str = "file", engines=None, **more) -> dict:
    """Read a picture as the child does; the answer must be JSON."""
    usual = {"max_pixels": 80_000_000, "max_pages": 20, "text_seconds": 60}
    flags = dict.fromkeys(("extract_text", "detect_objects", "face_recognition"), False)
    options = {"name": name} | usual | flags | more
    found = read_image(io.BytesIO(raw), options, silent, engines or SimpleNamespace())
    json.dumps(found, allow_nan=False)
    return found


def content_of(raw: bytes, name: str = "file", **more) -> dict:
    """What was found in a picture."""
    return read_picture(raw, name, **more)["content"]


def quarters(width: int = 400, height: int = 200) -> Image.Image:
    """Red, green, blue and white quarters, from the upper left on, row by row."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    for number, colour in enumerate(("#ff0000", "#00c000", "#0000ff")):
        left, top = number % 2 * width // 2, number // 2 * height // 2
        draw.rectangle([left, top, left + width // 2 - 1, top + height // 2 - 1], fill=colour)
    return picture


def noise(width: int = 320, height: int = 240, seed: int = 1) -> Image.Image:
    """A picture without flat areas, as photos have none."""
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).filter(ImageFilter.GaussianBlur(1))


def page(*lines: str, size: tuple[int, int] = (700, 500)) -> Image.Image:
    """Lines of text on white."""
    picture = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=40)
    for number, line in enumerate(lines):
        draw.text((40, 40 + 90 * number), line, fill="black", font=font)
    return picture


def face(skin: tuple[int, int, int] = SKIN, hair: tuple[int, int, int] = HAIR, wide: float = 0.0) -> Image.Image:
    """A drawn face of 300 x 320 pixels, which the detectors take for one."""
    picture = Image.new("RGB", (300, 320), (120, 140, 160))
    draw = ImageDraw.Draw(picture)

    def oval(x: float, y: float, across: float, down: float, colour: tuple[int, ...]) -> None:
        draw.ellipse([x - across, y - down, x + across, y + down], fill=colour)

    dark, light = tuple(int(one * 0.72) for one in skin), tuple(min(255, int(one * 1.08)) for one in skin)
    draw.rectangle([120, 230, 180, 320], fill=dark)
    oval(150, 140, 86 + wide, 108, hair)
    oval(150, 160, 72 + wide, 95, skin)
    oval(150, 95, 60, 35, light)
    for x in (118, 182):
        oval(x, 146, 24, 15, dark)
        oval(x, 148, 18, 9, (245, 245, 245))
        oval(x, 148, 8, 9, (40, 30, 25))
        draw.rounded_rectangle([x - 24, 120, x + 24, 128], 4, fill=hair)
        oval(x, 185, 20, 14, light)
    oval(150, 165, 9, 28, light)
    draw.ellipse([136, 186, 164, 200], fill=dark)
    oval(150, 220, 28, 9, (150, 70, 70))
    draw.line([122, 220, 178, 220], fill=(90, 30, 30), width=3)
    oval(150, 236, 20, 4, dark)
    return picture.filter(ImageFilter.GaussianBlur(2.2))


def person(height: int = 280) -> Image.Image:
    """A drawn person, standing, on 400 x 420 pixels."""
    picture, unit, middle, top = Image.new("RGB", (400, 420), (200, 205, 210)), height / 8, 200, 70
    draw = ImageDraw.Draw(picture)

    def limb(*corners: tuple[float, float]) -> None:
        draw.polygon([(middle + unit * x, top + unit * y) for x, y in corners], fill=(40, 40, 50))

    draw.ellipse([middle - unit / 2, top, middle + unit / 2, top + unit], fill=(40, 40, 50))
    limb((-0.95, 1.3), (0.95, 1.3), (0.75, 4), (-0.75, 4))
    for side in (-1, 1):
        limb((side * 0.85, 1.4), (side * 1.25, 1.4), (side * 1.25, 4.2), (side * 0.85, 4.2))
        limb((side * 0.75, 4), (side * 0.05, 4), (side * 0.15, 8), (side * 0.65, 8))
    return picture.filter(ImageFilter.GaussianBlur(1.5))


def plate(text: str = "A 123 BC 77") -> Image.Image:
    """A drawn number plate on dark ground, 600 x 300 pixels."""
    picture = Image.new("RGB", (600, 300), (60, 70, 90))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle([180, 120, 420, 170], 4, fill="white", outline="black", width=3)
    draw.text((195, 122), text, fill="black", font=ImageFont.load_default(size=36))
    return picture.filter(ImageFilter.GaussianBlur(1))


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """How much of both boxes together is in both."""
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return across * down / (sum(areas) - across * down)
