"""What a sound is like: level, clipping, silence, tempo and spectrum, in one pass over its blocks."""

import io
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from processors.loudness import Loudness

WINDOW_SECONDS, HOP_SECONDS = 0.04, 0.02
SILENCE_DECIBELS = -60.0
"""FFmpeg's silencedetect has the same default."""

LEAST_SILENCE_SECONDS = 0.5
FULL_SCALE = 32_767 / 32_768
"""The largest sample of 16 bits: a sample from here on counts as clipped."""

MEL_BANDS, COEFFICIENTS = 40, 13
ROLLOFF_SHARE = 0.85
FLOOR = 1e-10
SLOWEST_BPM, FASTEST_BPM, USUAL_BPM = 40.0, 240.0, 120.0
"""Tempos are looked for in this range; which octave is meant is told by how near it lies to the usual one (D. Ellis,
Beat Tracking by Dynamic Programming, 2007)."""

LEAST_PULSE = 0.1
REFINEMENTS = 3
MOST_ROWS = 200_000
"""Rows of the arrays that are kept: every frame of the first 66 minutes, means of several frames beyond."""

MOST_SILENCES = 2_000
SPECTRAL = ("centroid_hz", "rolloff_hz", "flatness")


class Features:
    """The figures of a sound that comes block by block.

    Args:
        rate: samples a second.
        channels: FFmpeg's names of the channels.
    """

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        self._rate = rate
        self._window, self._hop = round(rate * WINDOW_SECONDS), round(rate * HOP_SECONDS)
        self._taper = np.hanning(self._window + 1)[:-1].astype(np.float32)
        self._hertz = np.fft.rfftfreq(self._window, 1 / rate).astype(np.float32)
        self._mel = mel_filters(rate, self._window)
        self._cosines = cosine_transform(MEL_BANDS, COEFFICIENTS)
        self._loudness = Loudness(rate, channels)
        self._left = np.zeros(0, np.float32)
        self._last_bands: np.ndarray[Any, Any] | None = None
        self._rows: list[dict[str, np.ndarray[Any, Any]]] = []
        self._peak = self._squares = 0.0
        self._values = self._clipped = self._samples = 0

    def add(self, block: np.ndarray[Any, Any]) -> None:
        """Take the next samples: float32, channels x samples, full scale 1."""
        size = np.abs(block)
        self._peak = max(self._peak, float(size.max()))
        self._clipped += int(np.count_nonzero(size >= FULL_SCALE))
        self._squares += float(np.einsum("cn,cn->", block, block, dtype=np.float64))
        self._values += block.size
        self._samples += block.shape[1]
        self._loudness.add(block)
        self._add_frames(np.concatenate([self._left, block.mean(axis=0)]))

    def _add_frames(self, mono: np.ndarray[Any, Any]) -> None:
        count = max(0, (len(mono) - self._window) // self._hop + 1)
        self._left = mono[count * self._hop :].copy()
        if not count:
            return
        frames = np.lib.stride_tricks.sliding_window_view(mono, self._window)[:: self._hop][:count]
        spectrum = np.abs(np.fft.rfft(frames * self._taper, axis=1))
        power = spectrum * spectrum
        bands = 10 * np.log10(power @ self._mel + FLOOR)
        before = bands[:1] if self._last_bands is None else self._last_bands
        rises = np.maximum(np.diff(bands, axis=0, prepend=before), 0)
        self._last_bands = bands[-1:].copy()
        self._rows.append(
            {
                "rms": np.sqrt(np.einsum("fn,fn->f", frames, frames) / self._window),
                "zero_crossings_per_s": _crossings(frames) / WINDOW_SECONDS,
                "centroid_hz": (spectrum @ self._hertz) / np.maximum(spectrum.sum(axis=1), FLOOR),
                "rolloff_hz": self._hertz[_rolloff(spectrum)],
                "flatness": np.exp(np.log(power + FLOOR).mean(axis=1)) / (power.mean(axis=1) + FLOOR),
                "onset": rises.mean(axis=1),
                "mfcc": bands @ self._cosines,
            }
        )

    def frames(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return one array per figure, one row per frame."""
        if not self._rows:
            return {}
        return {name: np.concatenate([row[name] for row in self._rows]) for name in self._rows[0]}

    def summary(self) -> dict[str, Any]:
        """Return the figures of the whole; means over the spectrum leave silent frames out."""
        frames = self.frames()
        seconds = self._samples / self._rate
        silences = self.silences(frames)
        silent = sum(end - start for start, end in silences)
        return {
            "integrated_lufs": _rounded(self._loudness.integrated()),
            "peak_dbfs": _decibels(self._peak),
            "rms_dbfs": _decibels(math.sqrt(self._squares / self._values)) if self._values else None,
            "clipped_share": self._clipped / self._values if self._values else 0.0,
            "silence_threshold_dbfs": SILENCE_DECIBELS,
            "silences": silences[:MOST_SILENCES],
            "silence_count": len(silences),
            "silence_share": round(silent / seconds, 4) if seconds else None,
            **_spectral_means(frames),
            **tempo(frames.get("onset", np.zeros(0))),
        }

    def silences(self, frames: dict[str, np.ndarray[Any, Any]]) -> list[tuple[float, float]]:
        """Return the spans, in seconds, in which the level stays below the threshold for half a second or more."""
        if not frames:
            return []
        end = self._samples / self._rate
        quiet = np.concatenate([[False], frames["rms"] < 10 ** (SILENCE_DECIBELS / 20), [False]])
        edges = np.flatnonzero(np.diff(quiet.astype(np.int8)))
        last = len(quiet) - 2
        spans = [
            (start * HOP_SECONDS, end if after == last else (after - 1) * HOP_SECONDS + WINDOW_SECONDS)
            for start, after in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        ]
        return [(round(a, 3), round(b, 3)) for a, b in spans if b - a >= LEAST_SILENCE_SECONDS]

    def arrays(self) -> tuple[bytes, float, int]:
        """Return the frames as a NumPy archive, the seconds from one row to the next, and the number of rows."""
        frames = self.frames()
        count = len(frames["rms"]) if frames else 0
        together = max(1, math.ceil(count / MOST_ROWS))
        stored = io.BytesIO()
        means = {name: _means(values, together).astype(np.float32) for name, values in frames.items()}
        cast("Any", np).savez_compressed(stored, **means)
        return stored.getvalue(), HOP_SECONDS * together, math.ceil(count / together)


def tempo(onset: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return beats a minute by the autocorrelation of the onsets, and how strong the pulse is, 0 to 1.

    Args:
        onset: how much each frame rises above the one before, 50 a second.
    """
    none = {"tempo_bpm": None, "tempo_strength": 0.0}
    longest = round(60 / SLOWEST_BPM / HOP_SECONDS)
    if len(onset) < 2 * longest:
        return none
    size = 1 << math.ceil(math.log2(2 * len(onset)))
    spectrum = np.fft.rfft(onset - onset.mean(), size)
    alike = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[: len(onset)]
    if alike[0] <= FLOOR:
        return none
    alike /= alike[0]
    lags = np.arange(round(60 / FASTEST_BPM / HOP_SECONDS), longest + 1)
    octaves = np.log2(60 / (lags * HOP_SECONDS) / USUAL_BPM)
    best = int(lags[np.argmax(alike[lags] * np.exp(-0.5 * octaves**2))])
    strength = float(alike[best])
    if strength < LEAST_PULSE:
        return none | {"tempo_strength": round(max(0.0, strength), 3)}
    bpm = 60 / (_refined(alike, best) * HOP_SECONDS)
    return {"tempo_bpm": round(bpm, 1), "tempo_strength": round(min(1.0, strength), 3)}


def mel_filters(rate: int, window: int, bands: int = MEL_BANDS) -> np.ndarray[Any, Any]:
    """Return triangles on the mel scale of O'Shaughnessy (1987), each of area 1: bins x bands."""
    edges = 700 * (np.exp(np.linspace(0, math.log1p(rate / 2 / 700), bands + 2)) - 1)
    hertz = np.fft.rfftfreq(window, 1 / rate)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def cosine_transform(bands: int, coefficients: int) -> np.ndarray[Any, Any]:
    """Return the orthonormal discrete cosine transform (type II) that makes MFCC of bands: bands x coefficients."""
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * np.arange(coefficients)
    scale = np.where(np.arange(coefficients) == 0, math.sqrt(1 / bands), math.sqrt(2 / bands))
    return (np.cos(angles) * scale).astype(np.float32)


def _spectral_means(frames: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    sounding = frames["rms"] >= 10 ** (SILENCE_DECIBELS / 20) if frames else np.zeros(0, bool)
    if not sounding.any():
        return dict.fromkeys(("zero_crossings_per_s", *SPECTRAL, "mfcc_mean", "mfcc_variance"))
    mfcc = frames["mfcc"][sounding].astype(np.float64)
    return {
        **{
            name: round(float(frames[name][sounding].mean(dtype=np.float64)), 4)
            for name in ("zero_crossings_per_s", *SPECTRAL)
        },
        "mfcc_mean": mfcc.mean(axis=0).round(4).tolist(),
        "mfcc_variance": mfcc.var(axis=0).round(4).tolist(),
    }


def _crossings(frames: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    below = np.signbit(frames)
    return np.count_nonzero(below[:, 1:] != below[:, :-1], axis=1)


def _rolloff(spectrum: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return for each frame the first bin below which most of its magnitude lies."""
    sums = np.cumsum(spectrum, axis=1)
    return np.argmax(sums >= ROLLOFF_SHARE * sums[:, -1:], axis=1)


def _refined(alike: np.ndarray[Any, Any], lag: float) -> float:
    """Return a lag to a fraction of a frame: it is looked for again at twice, four and eight times its length."""
    for doubling in range(1, REFINEMENTS + 1):
        times = 2**doubling
        near = round(lag * times)
        if near + times >= len(alike):
            break
        window = alike[near - times // 2 : near + times // 2 + 1]
        lag = (near - times // 2 + int(np.argmax(window))) / times
    return lag


def _means(values: np.ndarray[Any, Any], together: int) -> np.ndarray[Any, Any]:
    return np.add.reduceat(values, np.arange(0, len(values), together), axis=0) / together if together > 1 else values


def _decibels(amplitude: float) -> float | None:
    return round(20 * math.log10(amplitude), 2) if amplitude > 0 else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
