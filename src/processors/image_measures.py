"""What can be measured on a small copy of a picture: its colours, its sharpness, its brightness, its flatness."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

COLOURS = 6
COLOUR_SIDE = 64
SHARPNESS_SIDE = 256
EVERY_ROW = 4
DARK, BRIGHT = 8, 247
NEAR = 12
"""Steps of 255 within which a point is of a dominant colour."""

SAME = 2
"""Steps of 255 between neighbours that still count as one flat area: what JPEG makes of one colour."""


class Cut(NamedTuple):
    """64 x 64 points of an RGB picture, and the same in its six dominant colours, by median cut."""

    points: Image.Image
    dominant: Image.Image

    @classmethod
    def of(cls, picture: Image.Image) -> "Cut":
        """Sample and cut a picture."""
        points = picture.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.NEAREST)
        return cls(points, points.quantize(COLOURS, Image.Quantize.MEDIANCUT))


def colours(cut: Cut) -> list[dict[str, Any]]:
    """Return up to six dominant colours, the most frequent first: `hex` and `share` (0 to 1); shares add up to 1."""
    palette = cut.dominant.getpalette() or []
    counts: Any = np.bincount(np.asarray(cut.dominant).ravel(), minlength=COLOURS)
    shares: dict[str, float] = {}
    for number in np.argsort(-counts, kind="stable"):
        code = "#" + bytes(palette[3 * number : 3 * number + 3]).hex()
        if counts[number]:
            shares[code] = shares.get(code, 0.0) + float(counts[number]) / COLOUR_SIDE**2
    return [{"hex": code, "share": round(share, 4)} for code, share in shares.items()]


def quality(picture: Image.Image) -> dict[str, float]:
    """Return how sharp and how bright an RGB picture is.

    Returns:
        `sharpness`: the variance of the Laplacian of the grey picture at up to 256 pixels (J. Pech-Pacheco and others,
        Diatom autofocusing in brightfield microscopy, 2000): 0 for one colour, below about 50 for a blurred photo;
        `exposure`: the mean brightness, 0 to 1; `dark` and `bright`: shares of pixels that are nearly black or white.
    """
    grey = picture.convert("L")
    grey.thumbnail((SHARPNESS_SIDE, SHARPNESS_SIDE), Image.Resampling.BILINEAR)
    values: Any = np.asarray(grey).astype(np.int16)
    middle = values[1:-1, 1:-1]
    edges = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:] - 4 * middle
    return {
        "sharpness": round(float(edges.astype(np.float32).var()), 2) if edges.size else 0.0,
        "exposure": round(float(values.mean()) / 255, 4),
        "dark": round(float((values <= DARK).mean()), 4),
        "bright": round(float((values >= BRIGHT).mean()), 4),
    }


def drawn_share(picture: Image.Image, cut: Cut) -> float:
    """Return how much of an RGB picture is as drawn pictures are, 0 to 1: in flat areas, and of few colours.

    The lesser of two shares: of pixels whose right neighbour has nearly the same colour, which is high for blurs
    too, and of points near one of the six dominant colours, which is low there.
    """
    rows = np.asarray(picture)[::EVERY_ROW].astype(np.int16)
    steps = np.abs(np.diff(rows, axis=1)).max(axis=2)
    flat = float((steps <= SAME).mean()) if steps.size else 1.0
    away = np.abs(np.asarray(cut.points).astype(np.int16) - np.asarray(cut.dominant.convert("RGB"))).max(axis=2)
    return round(min(flat, float((away <= NEAR).mean())), 4)
