"""The text layer of a PDF's page: whether it says anything, and its lines with their places."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from ctypes import PYFUNCTYPE, addressof, c_int, c_void_p
from ctypes import cast as cast_pointer
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import add
from typing import Any, cast
from unicodedata import normalize

import numpy as np
import pypdfium2.raw as pdfium  # pyright: ignore[reportMissingTypeStubs] - it has none

from processors.document_formats.layout import DIVIDED, Lines

LINE_END = "\r\n"
LEFT, TOP, RIGHT, BOTTOM = range(4)
EDGES = ((TOP, BOTTOM, LEFT), (LEFT, RIGHT, BOTTOM), (BOTTOM, TOP, RIGHT), (RIGHT, LEFT, TOP))
"""Which edges of a letter's box are its top, bottom and left, on a page turned by 0, 90, 180 and 270 degrees."""

LETTER_BOX = PYFUNCTYPE(c_int, c_void_p, c_int, c_void_p)(
    cast("int", cast_pointer(pdfium.FPDFText_GetLooseCharBox, c_void_p).value)
)
"""FPDFText_GetLooseCharBox by addresses alone, and with the interpreter's lock held: to check typed arguments takes
longer than the call itself, and to let the lock go and take it again nearly as long."""

SAMPLE, SAMPLES = 150, 3
MEANINGLESS = re.compile("[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f]")
MOST_MEANINGLESS_SHARE = 0.12
LETTERS = re.compile("[A-Za-z]+")
VOWELS = "aeiouy"
COMMON_VOWELS, COMMON_SPACES = 0.25, 0.12
FEWEST_LETTERS = 40
LEAST_VOWEL_SHARE, MOST_VOWEL_SHARE = 0.15, 0.8
LONGEST_WORD = 20
MOST_LONG_SHARE = 0.5
MOJIBAKE = re.compile("[ÃÂâ][\u0080-\u00bf\u20ac\u2122\u0152\u0153\u017d\u017e\u0178\u201a\u2020-\u2030]")
MOST_MOJIBAKE_SHARE = 0.1


def usable(text: str) -> bool:
    """Tell whether a text layer says anything: scans have none, and that of a broken font means nothing.

    It means nothing where many characters have no meaning, where its words have hardly a vowel or hardly anything
    else, where it has no spaces, or where it is UTF-8 that was read as Latin-1. Samples of it are judged.
    """
    sample = _sample(text)
    dense = "".join(sample.split())
    if not dense or _is_english(sample, dense):
        return bool(dense)
    plain_ascii = sample.isascii() and dense.isprintable()
    if not plain_ascii and _share(MEANINGLESS, dense, dense) > MOST_MEANINGLESS_SHARE:
        return False
    words: list[str] = LETTERS.findall(sample if plain_ascii else normalize("NFD", sample))
    letters = "".join(words).lower()
    if len(letters) < max(FEWEST_LETTERS, len(dense) / 2):
        return True
    vowels = sum(map(letters.count, VOWELS)) / len(letters)
    long = sum([size for size in map(len, words) if size > LONGEST_WORD]) / len(letters)
    return (
        LEAST_VOWEL_SHARE <= vowels <= MOST_VOWEL_SHARE
        and long <= MOST_LONG_SHARE
        and (plain_ascii or _share(MOJIBAKE, sample, words) <= MOST_MOJIBAKE_SHARE)
    )


def _is_english(sample: str, dense: str) -> bool:
    """Tell quickly of what most text layers are that they are usable: words of ASCII letters with vowels and spaces."""
    if not (sample.isascii() and dense.isprintable()):
        return False
    vowels = sum(map(sample.count, VOWELS))
    return COMMON_VOWELS * len(dense) <= vowels and len(sample) - len(dense) >= COMMON_SPACES * len(sample)


def plain(text: str) -> str:
    """Return the text as it is read: its lines end in one sign, and words that were divided are whole."""
    return text.replace(LINE_END, "\n").replace(DIVIDED, "")


@dataclass(frozen=True, slots=True)
class FoundLines:
    """What PDFium tells of a page's lines; their places are worked out of it apart.

    Whoever reads many pages works them out behind the last one: PDFium is a tenth slower where other code runs between
    its pages.

    Attributes:
        pieces: the lines, as PDFium returned them.
        edges: of each line's first letter, a row of left, top, right and bottom.
        rotation: quarter turns of the page.
        bounds: left, top, right and bottom of the page.
    """

    pieces: list[str]
    edges: Any
    rotation: int
    bounds: tuple[float, float, float, float]

    def placed(self) -> Lines:
        """Return the lines; the place of a line is that of its first letter."""
        top, bottom, left = EDGES[self.rotation]
        edges = self.edges.astype("float64")
        return Lines(
            height=max(1.0, abs(self.bounds[top] - self.bounds[bottom])),
            texts=list(map(str.strip, self.pieces)),
            tops=abs(edges[:, top] - self.bounds[top]).tolist(),
            lefts=abs(edges[:, left] - self.bounds[left]).tolist(),
            sizes=np.rint(2 * abs(edges[:, top] - edges[:, bottom])).astype(int).tolist(),
        )


def find_lines(text: str, layer: Any, page: Any) -> FoundLines:
    """Find the lines of a page.

    Args:
        text: as PDFium returned it.
        layer: the handle of the text page.
        page: the handle of the page.
    """
    divided = DIVIDED in text
    pieces = (text.replace(DIVIDED, DIVIDED + LINE_END) if divided else text).split(LINE_END)
    ends = [0 if divided and piece.endswith(DIVIDED) else len(LINE_END) for piece in pieces]
    whole = pdfium.FS_RECTF()
    pdfium.FPDF_GetPageBoundingBox(page, whole)
    edges = _edges(layer, accumulate(map(add, map(len, pieces), ends), initial=0), len(pieces))
    bounds = whole.left, whole.top, whole.right, whole.bottom
    return FoundLines(pieces, edges, int(pdfium.FPDFPage_GetRotation(page)), bounds)


def _edges(layer: Any, places: Iterable[int], count: int) -> Any:
    """Return left, top, right and bottom of the letters at the first `count` places of a text page, a row for each."""
    boxes = np.zeros((count, len(EDGES)), "float32")
    first = int(boxes.ctypes.data)
    addresses = range(first, first + boxes.nbytes, boxes.strides[0])
    deque(map(LETTER_BOX, repeat(addressof(layer.contents)), places, addresses), maxlen=0)
    return boxes


def _sample(text: str) -> str:
    if len(text) <= SAMPLE * SAMPLES:
        return text
    middle = (len(text) - SAMPLE) // 2
    return "\n".join((text[:SAMPLE], text[middle : middle + SAMPLE], text[-SAMPLE:]))


def _share(pattern: re.Pattern[str], text: str, of: Sequence[str]) -> float:
    return len(pattern.findall(text)) / max(1, len(of))
