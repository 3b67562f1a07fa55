"""Where somebody speaks, and the pieces that speech is read in."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Span = tuple[float, float]

SPEECH, SILENCE = 0.5, 0.35
"""Speech begins above the one and ends below the other: the defaults of Silero's own example."""

LEAST_SPEECH_SECONDS, LEAST_PAUSE_SECONDS, MARGIN_SECONDS = 0.25, 0.3, 0.1
PIECE_SECONDS = 300.0


class Piece(NamedTuple):
    """A stretch of sound that is read in one go: its ends, and the spans of speech in it, all in seconds."""

    start: float
    end: float
    spans: list[Span]


def spans_of(likely: Iterable[Any], step: float, end: float) -> list[Span]:
    """Return the spans of speech, with a margin on both sides, in seconds.

    Args:
        likely: arrays of how likely speech is, 0 to 1, one figure a step.
        step: seconds from one figure to the next.
        end: where the sound ends.
    """
    raw: list[Span] = []
    begun: float | None = None
    for at, value in enumerate(float(one) for some in likely for one in some):
        if begun is None and value >= SPEECH:
            begun = at * step
        elif begun is not None and value < SILENCE:
            raw.append((begun, at * step))
            begun = None
    if begun is not None:
        raw.append((begun, end))
    return _with_margins([span for span in _joined(raw) if span[1] - span[0] >= LEAST_SPEECH_SECONDS], end)


def pieces_of(spans: Sequence[Span], seconds: float = PIECE_SECONDS) -> list[Piece]:
    """Cut speech into pieces of at most so many seconds, in its pauses; only speech without a pause is cut through."""
    pieces: list[Piece] = []
    for span in _no_longer_than(spans, seconds):
        if pieces and span[1] - pieces[-1].start <= seconds:
            last = pieces[-1]
            pieces[-1] = Piece(last.start, span[1], [*last.spans, span])
        else:
            pieces.append(Piece(span[0], span[1], [span]))
    return pieces


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Join what no pause of the least length parts."""
    joined: list[Span] = []
    for span in spans:
        if joined and span[0] - joined[-1][1] < LEAST_PAUSE_SECONDS:
            joined[-1] = (joined[-1][0], span[1])
        else:
            joined.append(span)
    return joined


def _with_margins(spans: Sequence[Span], end: float) -> list[Span]:
    return [
        (round(max(0.0, start - MARGIN_SECONDS), 3), round(min(end, after + MARGIN_SECONDS), 3))
        for start, after in spans
    ]


def _no_longer_than(spans: Sequence[Span], seconds: float) -> Iterable[Span]:
    for start, end in spans:
        at = start
        while end - at > seconds:
            yield at, at + seconds
            at += seconds
        yield at, end
