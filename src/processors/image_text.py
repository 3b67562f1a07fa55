"""Text in a picture, read upright: where the reader is unsure, it reads upside down too, and the better counts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from processors.interfaces import TextLine, TextReader

SURE = 0.9
"""Confidence from which on a picture counts as upright: drawn lines have 0.94 and more, upside down mostly less."""

CLEARLY = 0.05
"""By how much the turned reading must be better."""


@dataclass(frozen=True, slots=True)
class PictureText:
    """What was read.

    Attributes:
        lines: in reading order; their boxes are those of the picture as it was given, not of the turned one.
        rotated: by how many degrees it had to be turned to be read.
        confidence: 0 to 1, by characters; 0.0 where there is no text.
    """

    lines: Sequence[TextLine]
    rotated: Literal[0, 180]
    confidence: float


def read_upright(pixels: Any, reader: TextReader) -> PictureText:
    """Read a picture, and once more upside down where the first reading is unsure.

    The reader's own step, which turns line by line, stays off: it takes some clean lines for turned ones.

    Args:
        pixels: height x width x 3 bytes (BGR).
        reader: reads text in pictures.
    """
    upright = reader.read(pixels, turn_lines=False)
    sure = _sure(upright)
    if not upright or sure >= SURE:
        return PictureText(upright, 0, sure)
    turned = reader.read(np.ascontiguousarray(pixels[::-1, ::-1]), turn_lines=False)
    surer = _sure(turned)
    if surer < sure + CLEARLY:
        return PictureText(upright, 0, sure)
    return PictureText([_turned(line) for line in turned], 180, surer)


def confidence_of(lines: Iterable[tuple[str, float]]) -> float:
    """Return the mean confidence of texts, weighted by their characters; 0.0 where there are none."""
    weighted = [(len(text), confidence) for text, confidence in lines]
    characters = sum(length for length, _ in weighted)
    return round(sum(length * confidence for length, confidence in weighted) / characters, 3) if characters else 0.0


def _sure(lines: Sequence[TextLine]) -> float:
    return confidence_of((line.text, line.confidence) for line in lines)


def _turned(line: TextLine) -> TextLine:
    left, top, right, bottom = line.box
    return TextLine(line.text, line.confidence, (1 - right, 1 - bottom, 1 - left, 1 - top))
