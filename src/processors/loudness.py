"""How loud a sound is to people: integrated loudness as EBU R 128 demands it.

Source: ITU-R BS.1770-4, annex 1: K-weighting, blocks of 400 ms that overlap by 75 %, an absolute gate at -70 LUFS and a
relative one 10 LU below the mean. The filters' analogue parameters, from which the coefficients for every sampling rate
follow, are those that give the standard's own coefficients at 48 kHz.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

STEP_SECONDS = 0.1
STEPS_PER_BLOCK = 4
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
OFFSET = -0.691
SHELF_HERTZ, SHELF_DECIBELS, SHELF_QUALITY = 1_681.974450955533, 3.999843853973347, 0.7071752369554196
PASS_HERTZ, PASS_QUALITY = 38.13547087602444, 0.5003270373238773
SHELF_SLOPE = 0.4996667741545416
RESPONSE_SECONDS = 0.06
"""After this the high-pass' response has fallen by 100 dB."""

SURROUND_WEIGHT = 1.41
WEIGHTS = {"LFE": 0.0, "LFE2": 0.0} | dict.fromkeys(("BL", "BR", "SL", "SR"), SURROUND_WEIGHT)


class Loudness:
    """Integrated loudness of a sound that comes block by block.

    Args:
        rate: samples a second; the shelf needs at least 4 000.
        channels: FFmpeg's names of the channels, which weigh differently.
    """

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        self._weights = np.array([WEIGHTS.get(name, 1.0) for name in channels], np.float32)
        response = k_weighting(rate, round(rate * RESPONSE_SECONDS))
        self._size = 1 << math.ceil(math.log2(4 * len(response)))
        self._spectrum = np.fft.rfft(response, self._size).astype(np.complex64)
        self._overlap = len(response) - 1
        self._step = round(rate * STEP_SECONDS)
        self._before = np.zeros((len(channels), self._overlap), np.float32)
        self._left = np.zeros((len(channels), 0), np.float32)
        self._energies: list[np.ndarray[Any, Any]] = []

    def add(self, block: np.ndarray[Any, Any]) -> None:
        """Take the next samples: float32, channels x samples, full scale 1."""
        weighted = np.concatenate([self._left, self._weighted(block)], axis=1)
        steps = weighted.shape[1] // self._step
        whole = weighted[:, : steps * self._step].reshape(len(weighted), steps, self._step)
        self._energies.append(self._weights @ (np.einsum("csn,csn->cs", whole, whole) / self._step))
        self._left = weighted[:, steps * self._step :].copy()

    def integrated(self) -> float | None:
        """Return the loudness in LUFS, or None where all of it lies below the absolute gate."""
        steps = np.concatenate([*self._energies, np.zeros(0, np.float32)]).astype(np.float64)
        if len(steps) < STEPS_PER_BLOCK:
            return None
        blocks = np.convolve(steps, np.full(STEPS_PER_BLOCK, 1 / STEPS_PER_BLOCK), "valid")
        loud = blocks[blocks > _energy(ABSOLUTE_GATE)]
        if not len(loud):
            return None
        loud = loud[loud > loud.mean() * 10 ** (RELATIVE_GATE / 10)]
        return OFFSET + 10 * math.log10(loud.mean())

    def _weighted(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Filter by overlap-save: the filter's response is short enough to be a product of spectra."""
        joined = np.concatenate([self._before, block], axis=1)
        self._before = joined[:, joined.shape[1] - self._overlap :].copy()
        useful = self._size - self._overlap
        done = np.empty_like(block)
        for at in range(0, block.shape[1], useful):
            part = np.fft.rfft(joined[:, at : at + self._size], self._size, axis=1)
            filtered = np.fft.irfft(part * self._spectrum, self._size, axis=1)[:, self._overlap :]
            end = min(at + useful, block.shape[1])
            done[:, at:end] = filtered[:, : end - at]
        return done


def k_weighting(rate: int, samples: int) -> np.ndarray[Any, Any]:
    """Return the impulse response of both K filters at a sampling rate."""
    response = np.zeros(samples)
    response[0] = 1.0
    for coefficients in (_shelf(rate), _high_pass(rate)):
        response = _filtered(response, *coefficients)
    return response


def _shelf(rate: int) -> tuple[Sequence[float], Sequence[float]]:
    k = math.tan(math.pi * SHELF_HERTZ / rate)
    high = 10 ** (SHELF_DECIBELS / 20)
    band = high**SHELF_SLOPE
    scale = 1 + k / SHELF_QUALITY + k * k
    ahead = (high + band * k / SHELF_QUALITY + k * k, 2 * (k * k - high), high - band * k / SHELF_QUALITY + k * k)
    back = (2 * (k * k - 1), 1 - k / SHELF_QUALITY + k * k)
    return [value / scale for value in ahead], [value / scale for value in back]


def _high_pass(rate: int) -> tuple[Sequence[float], Sequence[float]]:
    k = math.tan(math.pi * PASS_HERTZ / rate)
    scale = 1 + k / PASS_QUALITY + k * k
    return (1.0, -2.0, 1.0), (2 * (k * k - 1) / scale, (1 - k / PASS_QUALITY + k * k) / scale)


def _filtered(signal: np.ndarray[Any, Any], ahead: Sequence[float], back: Sequence[float]) -> np.ndarray[Any, Any]:
    """Run one filter of second order over a signal."""
    out = np.zeros_like(signal)
    inputs = np.concatenate([np.zeros(2), signal])
    y1 = y2 = 0.0
    for n in range(len(signal)):
        x0, x1, x2 = inputs[n + 2], inputs[n + 1], inputs[n]
        y1, y2 = ahead[0] * x0 + ahead[1] * x1 + ahead[2] * x2 - back[0] * y1 - back[1] * y2, y1
        out[n] = y1
    return out


def _energy(loudness: float) -> float:
    return 10 ** ((loudness - OFFSET) / 10)
