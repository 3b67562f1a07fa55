"""Hashes of what a picture looks like: pictures that look alike have hashes of which few bits differ.

Pixels are arrays of bytes: height x width x 3 (RGB) or height x width (grey). Bits go row by row from the top left, the
most significant first, and are written as 16 hexadecimal digits: the order and the digits of the ImageHash package.
"""

from typing import Any

import numpy as np
from PIL import Image

SIDE = 8
PHASH_SIDE = 32
COSINES = np.cos(np.pi / PHASH_SIDE * np.outer(np.arange(SIDE), np.arange(PHASH_SIDE) + 0.5))
"""The lowest eight rows of the DCT-II, not normalised."""

BASE83 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
BLUR_SIDE = 32
ACROSS, DOWN = 4, 3
LINEAR = np.where(
    (_share := np.arange(256) / 255) <= 0.04045,  # noqa: PLR2004 - sRGB, IEC 61966-2-1
    _share / 12.92,
    ((_share + 0.055) / 1.055) ** 2.4,
)
"""The light that each value of sRGB stands for."""


def phash64(pixels: Any) -> str:
    """Return the perceptual hash: which of the 8 x 8 lowest frequencies of the picture at 32 x 32 exceed their median.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1.
    """
    frequencies = COSINES @ _grey(pixels, PHASH_SIDE, PHASH_SIDE).astype(float) @ COSINES.T
    return _digits(frequencies > np.median(frequencies))


def dhash64(pixels: Any) -> str:
    """Return the difference hash: which points of the picture at 9 x 8 are brighter than the one to their left.

    Source: N. Krawetz, Kind of Like That, 2013.
    """
    points = _grey(pixels, SIDE + 1, SIDE)
    return _digits(points[:, 1:] > points[:, :-1])


def distance(one: str, other: str) -> int:
    """Return how many bits of two hashes differ: 0 for pictures that look the same, about 32 for two that do not."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def blurhash(pixels: Any) -> str:
    """Return a text of 28 characters that a page draws as a blurred picture, 4 x 3 components.

    Args:
        pixels: height x width x 3 (RGB).

    Source: the BlurHash algorithm, https://github.com/woltapp/blurhash/blob/master/Algorithm.md.
    """
    small = Image.fromarray(pixels).resize((BLUR_SIDE, BLUR_SIDE), Image.Resampling.BOX)
    light = LINEAR[np.asarray(small)]
    across, down = (np.cos(np.pi / BLUR_SIDE * np.outer(np.arange(n), np.arange(BLUR_SIDE))) for n in (ACROSS, DOWN))
    components = 2 / BLUR_SIDE**2 * np.einsum("jy,ix,yxc->jic", down, across, light).reshape(-1, 3)
    average, details = components[0] / 2, components[1:]
    most = int(np.clip(np.abs(details).max() * 166 - 0.5, 0, 82))
    steps = np.sign(details) * np.sqrt(np.abs(details) / ((most + 1) / 166))
    levels = np.clip(np.floor(steps * 9 + 9.5), 0, 18).astype(int)
    red, green, blue = np.abs(LINEAR[:, None] - average).argmin(axis=0)
    texts = [_base83(ACROSS - 1 + (DOWN - 1) * 9, 1), _base83(most, 1), _base83(int(red << 16 | green << 8 | blue), 4)]
    return "".join([*texts, *(_base83(int(r * 361 + g * 19 + b), 2) for r, g, b in levels)])


def _grey(pixels: Any, width: int, height: int) -> Any:
    return np.asarray(Image.fromarray(pixels).convert("L").resize((width, height), Image.Resampling.LANCZOS))


def _digits(bits: Any) -> str:
    return np.packbits(bits).tobytes().hex()


def _base83(value: int, digits: int) -> str:
    return "".join(BASE83[value // 83**place % 83] for place in reversed(range(digits)))
