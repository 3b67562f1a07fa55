"""Who speaks when: parts of speech whose voices are alike become one speaker's turns."""

import base64
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from processors.speech_spans import Span

PART_SECONDS, STEP_SECONDS, LEAST_PART_SECONDS = 1.6, 0.8, 0.8
"""A part of 1.6 s is what the encoder was trained on; what is shorter than 0.8 s says little of a voice."""

ROUNDING = 1e-6
ALIKE = 0.75
"""The mean cosine from which on two groups of parts are one speaker: what Resemblyzer's own demonstration of speaker
diarisation calls confident. Steadied parts of one synthetic voice have 0.88 on average, those of a man's and a woman's
0.50 to 0.60; two men's have 0.74 to 0.87, so that synthetic voices of one sex are taken for one."""

LEAST_SPEAKER_SECONDS = 2.0
MOST_PARTS = 4_000
"""More parts are spread over the groups that this many, evenly chosen, have formed: grouping costs their square."""

Turn = dict[str, Any]


def parts_of(spans: Sequence[Span]) -> list[Span]:
    """Return the parts of speech that vectors are made of: 1.6 s every 0.8 s, the last one of a span at its end."""
    parts: list[Span] = []
    for start, end in spans:
        steps = math.ceil((end - start - PART_SECONDS) / STEP_SECONDS - ROUNDING)
        parts += [(start + n * STEP_SECONDS, start + n * STEP_SECONDS + PART_SECONDS) for n in range(steps)]
        parts.append((max(start, end - PART_SECONDS), end))
    return parts


def packed_vectors(vectors: np.ndarray[Any, Any]) -> str:
    """Return rows of float32 as a child hands them to its parent."""
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def unpacked_vectors(texts: Sequence[str], rows: int) -> np.ndarray[Any, Any]:
    """Return what `packed_vectors` has packed, several one after another, as one array of so many rows.

    Raises:
        ValueError: it is no whole number of rows.
    """
    return np.frombuffer(b"".join(map(base64.b64decode, texts)), "<f4").reshape(rows, -1)


def turns_of(parts: Sequence[Span], vectors: np.ndarray[Any, Any], spans: Sequence[Span]) -> list[Turn]:
    """Return the turns, in order: `start`, `end` (seconds) and `speaker`, numbered by who speaks first.

    Args:
        parts: as `parts_of` returned them.
        vectors: float32, one row of length 1 for each part.
        spans: where somebody speaks.
    """
    if not len(parts):
        return []
    labels = _labels(parts, _steadied(parts, vectors))
    middles = np.array([(start + end) / 2 for start, end in parts])
    turns: list[Turn] = []
    for start, end in spans:
        inside = [at for at in range(*np.searchsorted(middles, [start, end])) if start <= middles[at] <= end]
        for begin, stop, label in _stretches(start, end, middles[inside], labels[inside]):
            turns.append({"start": begin, "end": stop, "speaker": label})
    return _named(_joined(turns))


def speakers_of(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return each speaker's total of seconds and turns, in the order of their names."""
    names = sorted({str(turn["speaker"]) for turn in turns}, key=lambda name: (len(name), name))
    return [
        {
            "id": name,
            "total_s": round(sum(turn["end"] - turn["start"] for turn in turns if turn["speaker"] == name), 3),
            "turns": sum(turn["speaker"] == name for turn in turns),
            "label": None,
        }
        for name in names
    ]


def speaker_at(turns: Sequence[Turn], start: float, end: float) -> str | None:
    """Return who speaks most between two moments, or None where nobody does."""
    totals: dict[str, float] = {}
    for turn in turns:
        shared = min(end, turn["end"]) - max(start, turn["start"])
        if shared > 0:
            totals[turn["speaker"]] = totals.get(turn["speaker"], 0.0) + shared
    return max(totals, key=lambda name: totals[name]) if totals else None


def grouped(vectors: np.ndarray[Any, Any], alike: float = ALIKE) -> np.ndarray[Any, Any]:
    """Return a number for each vector's group, by agglomerative clustering with average linkage.

    Args:
        vectors: float32, rows of length 1.
        alike: groups whose mean cosine lies below this stay apart.
    """
    count = len(vectors)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)
    sizes, labels = np.ones(count), np.arange(count)
    nearest = likeness.argmax(axis=1)
    best = likeness[np.arange(count), nearest]
    while best[at := int(best.argmax())] >= alike:
        other = int(nearest[at])
        if likeness[at, other] < best[at]:  # that one was joined meanwhile, which brings it no nearer to any
            nearest[at] = likeness[at].argmax()
            best[at] = likeness[at, nearest[at]]
            continue
        row = (sizes[at] * likeness[at] + sizes[other] * likeness[other]) / (sizes[at] + sizes[other])
        row[[at, other]] = -np.inf
        likeness[at] = likeness[:, at] = row
        likeness[other] = likeness[:, other] = -np.inf
        sizes[at] += sizes[other]
        labels[labels == other] = at
        nearest[at] = row.argmax()
        best[at], best[other] = row[nearest[at]], -np.inf
    return np.unique(labels, return_inverse=True)[1]


def _labels(parts: Sequence[Span], vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Group the parts that are long enough, then give every part to the group whose middle is nearest."""
    lengths = np.array([end - start for start, end in parts])
    long = np.flatnonzero(lengths >= min(LEAST_PART_SECONDS, float(lengths.max())))
    chosen = long[np.linspace(0, len(long) - 1, min(len(long), MOST_PARTS)).astype(int)]
    groups = grouped(vectors[chosen])
    counts = np.bincount(groups)
    least = min(LEAST_SPEAKER_SECONDS / STEP_SECONDS * len(chosen) / len(long), counts.max())
    middles = np.stack([vectors[chosen][groups == group].mean(axis=0) for group in np.flatnonzero(counts >= least)])
    return (vectors @ _of_length_1(middles).T).argmax(axis=1)


def _steadied(parts: Sequence[Span], vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return each vector's mean with those of the parts that overlap it: what is said shows less, who says it more."""
    overlap = np.array([after[0] < before[1] for before, after in pairwise(parts)], bool)[:, None]
    sums = vectors.copy()
    sums[:-1] += vectors[1:] * overlap
    sums[1:] += vectors[:-1] * overlap
    return _of_length_1(sums)


def _of_length_1(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _stretches(
    start: float, end: float, middles: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]
) -> list[tuple[float, float, int]]:
    """Cut one span where the label changes, half way between the two parts."""
    changes = np.flatnonzero(np.diff(labels)) if len(labels) else np.zeros(0, int)
    cuts = [start, *((middles[changes] + middles[changes + 1]) / 2).tolist(), end]
    firsts = [0, *(changes + 1).tolist()] if len(labels) else []
    return [(round(cuts[n], 3), round(cuts[n + 1], 3), int(labels[at])) for n, at in enumerate(firsts)]


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """Join what one speaker says on both sides of a pause, with nobody else between."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1]["speaker"] == turn["speaker"] and turn["start"] - joined[-1]["end"] < PART_SECONDS:
            joined[-1] = {**joined[-1], "end": turn["end"]}
        else:
            joined.append(turn)
    return joined


def _named(turns: Sequence[Turn]) -> list[Turn]:
    order = list(dict.fromkeys(turn["speaker"] for turn in turns))
    return [{**turn, "speaker": f"speaker_{order.index(turn['speaker']) + 1}"} for turn in turns]
