"""Tags of a picture, by rules over what was found in it: each says by which rule and how sure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

PANORAMA = 2.0
"""Longer side by shorter side."""

NEARLY_SQUARE = 1.05
DOMINANT = 0.25
GREY = 24
"""Steps of 255 between the channels below which a colour counts as grey."""

GREY_SHARE = 0.98
DARK, BRIGHT = 0.2, 0.85
BLURRED = 15.0
MANY_LINES = 5
PAPER = 0.6
DRAWN = 0.85
"""Drawings of a few colours have 0.9 and more of `drawn_share`; noise, gradients and blurred pictures 0.8 at most."""


class Tag(NamedTuple):
    """One tag; `source` is what it was concluded from."""

    tag: str
    source: str
    confidence: float


def tags_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tags of a picture, each once, the surest first.

    Args:
        found: what the child found: `width`, `height`, `frames`, `pages`, `colours`, `quality`, `drawn_share`,
            `camera`, `gps`, `ocr`, `objects` and `faces`; the last three are None where they were not looked for.
    """
    rules = (_shape, _colours, _light, _said, _text, _things, _kind)
    surest: dict[str, Tag] = {}
    for rule in rules:
        for tag in rule(found):
            if tag.tag not in surest or tag.confidence > surest[tag.tag].confidence:
                surest[tag.tag] = tag
    return [tag._asdict() for tag in sorted(surest.values(), key=lambda tag: (-tag.confidence, tag.tag))]


def _shape(found: Mapping[str, Any]) -> Iterator[Tag]:
    width, height = found["width"], found["height"]
    ratio = max(width, height) / min(width, height)
    shape = "square" if ratio <= NEARLY_SQUARE else "landscape" if width > height else "portrait"
    yield Tag(shape, "dimensions", 1.0)
    if ratio >= PANORAMA:
        yield Tag("panorama", "dimensions", 1.0)
    if found["frames"] > 1:
        yield Tag("animation", "format", 1.0)
    if found["pages"] > 1:
        yield Tag("several pages", "format", 1.0)


def _colours(found: Mapping[str, Any]) -> Iterator[Tag]:
    shares: Counter[str] = Counter()
    for colour in found["colours"]:
        shares[_name(colour["hex"])] += colour["share"]
    grey = sum(shares[name] for name in ("black", "white", "grey"))
    if grey >= GREY_SHARE:
        yield Tag("black and white", "colours", round(grey, 3))
    for name, share in shares.items():
        if share >= DOMINANT:
            yield Tag(name, "colours", round(min(1.0, share), 3))


def _light(found: Mapping[str, Any]) -> Iterator[Tag]:
    quality = found["quality"]
    if quality["exposure"] <= DARK:
        yield Tag("dark", "exposure", round(1 - quality["exposure"], 3))
    if quality["exposure"] >= BRIGHT:
        yield Tag("bright", "exposure", quality["exposure"])
    if 0 < quality["sharpness"] <= BLURRED:
        yield Tag("blurred", "sharpness", round(1 - quality["sharpness"] / (2 * BLURRED), 3))


def _said(found: Mapping[str, Any]) -> Iterator[Tag]:
    if found["camera"]:
        yield Tag(f"camera: {found['camera']}", "exif", 1.0)
    if found["gps"]:
        yield Tag("place known", "exif", 1.0)


def _text(found: Mapping[str, Any]) -> Iterator[Tag]:
    if found["ocr"] and found["ocr"]["text"].strip():
        yield Tag("text", "ocr", found["ocr"]["confidence"])


def _things(found: Mapping[str, Any]) -> Iterator[Tag]:
    things: list[dict[str, Any]] = found["objects"] or []
    for thing in things:
        yield Tag(thing["label"], thing["engine"], thing["confidence"])
    faces: list[dict[str, Any]] = found["faces"] or []
    if faces:
        yield Tag("face", "dlib", max(face["confidence"] for face in faces))
        yield Tag(
            "1 face" if len(faces) == 1 else f"{len(faces)} faces", "dlib", min(face["confidence"] for face in faces)
        )


def _kind(found: Mapping[str, Any]) -> Iterator[Tag]:
    """Tell a photo by what its camera wrote, a scan by lines of text on paper, a drawing by its flat colours."""
    lines = len(found["ocr"]["lines"]) if found["ocr"] else 0
    paper = sum(colour["share"] for colour in found["colours"] if _name(colour["hex"]) == "white")
    if found["camera"]:
        yield Tag("photo", "exif", 0.9)
    elif lines >= MANY_LINES and paper >= PAPER:
        yield Tag("page of text", "ocr and colours", round(paper, 3))
    elif found["drawn_share"] >= DRAWN and found["quality"]["exposure"] > DARK:
        yield Tag("drawing", "flat colours", found["drawn_share"])


def _name(code: str) -> str:
    """Return the plain name of a colour such as #1f77b4."""
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    most, least = max(red, green, blue), min(red, green, blue)
    if most - least <= GREY:
        return "black" if most < 64 else "white" if least > 208 else "grey"  # noqa: PLR2004 - quarters of 255, nearly
    hue = _hue(red, green, blue)
    if most < 160 and 15 <= hue < 70:  # noqa: PLR2004 - a dark orange or yellow
        return "brown"
    return next(name for above, name in HUES if hue < above)


HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (195, "cyan"),
    (255, "blue"),
    (290, "purple"),
    (345, "pink"),
    (361, "red"),
)
"""Up to which angle of the colour circle, in degrees, a colour has which name."""


def _hue(red: int, green: int, blue: int) -> float:
    most, least = max(red, green, blue), min(red, green, blue)
    spread = most - least
    if most == red:
        return 60 * ((green - blue) / spread % 6)
    if most == green:
        return 60 * ((blue - red) / spread + 2)
    return 60 * ((red - green) / spread + 4)
