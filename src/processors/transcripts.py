"""Transcripts: segments in order within the sound, without what nobody said, and as subtitles."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from processors.interfaces import Spoken
from processors.speech_spans import Span

UNLIKELY_SPEECH, UNLIKELY_TEXT = 0.6, -1.0
"""OpenAI's Whisper takes a segment for silence where both figures lie beyond these (its transcribe.py)."""

Segment = dict[str, Any]


def said(heard: Iterable[Spoken], start: float, end: float, spans: Sequence[Span]) -> list[Segment]:
    """Return what an engine heard in a piece, as segments in times of the whole sound.

    Left out is what has no words, what the engine itself takes for silence, and what lies outside all speech: engines
    invent words in silence.

    Args:
        heard: in times from the piece's beginning.
        start: the piece's beginning, in seconds.
        end: its end.
        spans: where somebody speaks, in times of the whole sound.
    """
    segments: list[Segment] = []
    after = start
    for spoken in heard:
        if not spoken.text.strip() or _is_silence(spoken):
            continue
        segment = _segment(spoken, start, after, end)
        if any(segment["start"] < span[1] and span[0] < segment["end"] for span in spans):
            segments.append(segment)
            after = segment["end"]
    return segments


def text_of(segments: Sequence[Segment]) -> str:
    """Return the whole text: the segments' texts with a space between."""
    return " ".join(segment["text"] for segment in segments)


def subrip(segments: Sequence[Segment]) -> str:
    """Return SubRip subtitles (SRT)."""
    return "".join(
        f"{number}\n{_clock(one['start'], ',')} --> {_clock(one['end'], ',')}\n{_one_line(one)}\n\n"
        for number, one in enumerate(segments, 1)
    )


def webvtt(segments: Sequence[Segment]) -> str:
    """Return WebVTT subtitles (W3C, WebVTT: the Web Video Text Tracks Format)."""
    cues = (
        f"{_clock(one['start'], '.')} --> {_clock(one['end'], '.')}\n{_voice(one)}{_escaped(_one_line(one))}\n\n"
        for one in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def _is_silence(spoken: Spoken) -> bool:
    if spoken.no_speech_prob is None or spoken.avg_logprob is None:
        return False
    return spoken.no_speech_prob > UNLIKELY_SPEECH and spoken.avg_logprob < UNLIKELY_TEXT


def _segment(spoken: Spoken, start: float, after: float, end: float) -> Segment:
    """Return a segment whose times rise, and lie within its piece."""
    begin, stop = _within(start + spoken.start, start + spoken.end, after, end)
    words: list[dict[str, Any]] = []
    at = begin
    for word in spoken.words:
        first, last = _within(start + word.start, start + word.end, at, stop)
        words.append({"w": word.text, "start": first, "end": last, "confidence": word.confidence})
        at = last
    own = asdict(spoken)
    figures = {name: own[name] for name in ("avg_logprob", "no_speech_prob", "compression_ratio")}
    return {"start": begin, "end": stop, "text": spoken.text.strip(), "words": words, **figures}


def _within(start: float, end: float, least: float, most: float) -> Span:
    first = min(max(start, least), most)
    return round(first, 3), round(min(max(end, first), most), 3)


def _clock(seconds: float, mark: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{mark}{milliseconds:03}"


def _one_line(segment: Mapping[str, Any]) -> str:
    """A cue ends at an empty line."""
    return " ".join(str(segment["text"]).split())


def _voice(segment: Mapping[str, Any]) -> str:
    return f"<v {segment['speaker']}>" if segment.get("speaker") else ""


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
