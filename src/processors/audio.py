"""Audio: what a sound is, what is said in it and by whom, and its figures, in one envelope."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from time import monotonic
from typing import Any, Literal

from pydantic import Field, field_validator

from processors.envelopes import Artefact, Limits, Timing, clean, part_of, warning
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools, input_of, mismatch
from processors.interfaces import Heard, Report, SpeechEndpoint, Spoken, SpokenWord
from processors.results import Result
from processors.speech_spans import Piece, Span, pieces_of
from processors.transcripts import Segment, said, subrip, text_of, webvtt

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
KIB = 1024
EXCERPT_CHARACTERS = 4_000
SHORT_PIECE_SECONDS = 60.0
"""A piece that takes too long is cut into shorter ones, unless it is no longer than this."""

HOPELESS = frozenset(
    {"dependency_missing", "model_missing", "language_unavailable", "provider_auth", "budget_exceeded"}
)
"""What one piece fails of, every other one would fail of too."""


class ProcessAudio(FileRequest):
    """Read one sound."""

    transcribe: bool = True
    detect_speakers: bool = True
    extract_features: bool = True
    language: str | None = None

    @field_validator("language")
    @classmethod
    def _known_form(cls, value: str | None) -> str | None:
        if value is not None and not LANGUAGE.fullmatch(value):
            raise ValueError(f"must be a code of BCP 47 such as en, de or pt-BR, or left out; got {value!r}")
        return value

    @property
    def primary_language(self) -> str | None:
        """The language without its region and script, as engines know it."""
        return self.language and self.language.partition("-")[0]


class Transcript(Result):
    """What is said; `text` is the segments' texts with spaces between. A large one is an artefact and this its head."""

    text: str
    text_truncated: bool = False
    language: str | None
    language_confidence: float | None = None
    language_source: Literal["given", "detected", "assumed"] | None
    segment_count: int
    segments: list[dict[str, Any]]


class Speech(Result):
    """Where somebody speaks, in seconds, and the share of the whole."""

    spans: list[Span]
    ratio: float


class Audio(Result):
    """What was read; null is what was asked for and cannot be had, or was not asked for. Times are seconds."""

    duration_s: float
    read_s: float
    container: str
    codec: str
    sample_rate: int
    channels: int
    channel_layout: str
    bit_rate: int | None
    streams: int
    tags: dict[str, str]
    transcript: Transcript | None = None
    speech: Speech | None = None
    speakers: list[dict[str, Any]] | None = None
    turns: list[dict[str, Any]] | None = None
    features: dict[str, Any] | None = None


class AudioProcessed(FileResult):
    """The envelope around a sound."""

    schema_name: str = Field(default="csai.audio/1", serialization_alias="schema")
    result: Audio


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechChoice:
    """What turns speech into text here.

    Attributes:
        engine: `whisper` and `pocketsphinx` run in the sandbox, `endpoint` elsewhere.
        folder: Whisper's model.
        endpoint: the way there, where that is the engine.
    """

    engine: Literal["whisper", "pocketsphinx", "endpoint"]
    folder: str | None = None
    endpoint: SpeechEndpoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTools(FileTools):
    """What processing a sound needs from outside, and its limits.

    Attributes:
        speech: what turns speech into text.
        max_media_seconds: what lies beyond is not read.
        speech_seconds: no further piece is turned into text after this time from the beginning of all work on the
            sound, and no further voice is told from others after half of what is left of it, so that what was read is
            kept.
    """

    speech: SpeechChoice
    max_media_seconds: float = 14_400.0
    speech_seconds: float = 1_200.0


@dataclass(slots=True)
class _Work:
    """One sound in work, and what gathers on the way."""

    request: ProcessAudio
    tools: AudioTools
    until: float
    provenance: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    warnings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    errors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    limits_hit: list[str] = field(default_factory=list[str])
    artefacts: list[Artefact] = field(default_factory=list[Artefact])
    failures: list[FileError] = field(default_factory=list[FileError])

    def run(self, job: str, options: dict[str, Any], report: Report) -> dict[str, Any]:
        return self.tools.sandbox.run(job, self.tools.path, options, report)

    def failed(self, step: str, piece: Piece | None, error: FileError) -> None:
        """Keep an error beside what could be done."""
        self.failures.append(error)
        where = f" from {piece.start:.1f} to {piece.end:.1f} s" if piece else ""
        more = {"start": piece.start, "end": piece.end} if piece else {}
        self.errors.append(warning(error.code, f"The sound{where} was not read: {error}", step=step, **more))

    def late(self, step: str, piece: Piece) -> None:
        """Note that a limit of time was hit, and what is left out for it."""
        if "speech_seconds" not in self.limits_hit:
            self.limits_hit.append("speech_seconds")
        over = FileError("the time for the sound was over by then: see CELERY_TASK_SOFT_TIME_LIMIT.", "timeout")
        self.failed(step, piece, over)

    def did(self, step: str, engine: dict[str, Any], began: float, **more: Any) -> None:
        """Say what did a step, and how long it took."""
        self.provenance.append({"step": step, **engine, "seconds": round(monotonic() - began, 3), **more})


def process_audio(request: ProcessAudio, tools: AudioTools, report: Report) -> AudioProcessed:
    """Read a sound, or the sound of a film: in the sandbox, in pieces, so that what fails costs a piece.

    Raises:
        FileError: it cannot be read at all, or nothing that was asked for can be had; `code` says why.
        TransientError: another attempt may succeed.
    """
    began = monotonic()
    work = _Work(request, tools, began + tools.speech_seconds)
    listens = request.transcribe or request.detect_speakers
    report(0, "opening the file")
    found = _sound(work, part_of(report, 0, 25 if listens else 95))
    spans = _spans(work, found["seconds"], part_of(report, 25, 35)) if listens else None
    turns = _turns(work, spans, part_of(report, 35, 50)) if request.detect_speakers and spans is not None else None
    transcript = None
    if request.transcribe and spans is not None:
        transcript = _transcript(work, spans, turns or [], part_of(report, 50, 95))
    if work.failures and transcript is None and turns is None and found["features"] is None:
        raise work.failures[0]
    report(97, "describing the sound")
    claimed: float = found["claimed_seconds"] or 0.0
    return AudioProcessed(
        status="partial" if work.errors or work.limits_hit else "ok",
        input=input_of(request, found),
        options=request.effective_options(),
        provenance=work.provenance,
        warnings=[*mismatch(found), *work.warnings],
        errors=work.errors,
        limits=Limits(hit=work.limits_hit),
        artefacts=work.artefacts,
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=Audio(
            duration_s=round(max(claimed, found["seconds"]), 3) if found["cut"] else found["seconds"],
            read_s=found["seconds"],
            **found["sound"],
            transcript=transcript,
            speech=None if spans is None else _speech(spans, found["seconds"]),
            speakers=None if turns is None else import_module("processors.speech_turns").speakers_of(turns),
            turns=turns,
            features=found["features"],
        ),
    )


def _sound(work: _Work, report: Report) -> dict[str, Any]:
    """Decode the whole sound; the features' arrays become an artefact."""
    began = monotonic()
    options = {
        "name": work.request.name,
        "max_seconds": work.tools.max_media_seconds,
        "features": work.request.extract_features,
    }
    found = work.run("audio_sound", options, report)
    engine, _, version = str(found["engine"]).rpartition(" ")
    seconds = {"seconds": found["seconds"]}
    work.did("decode", {"engine": engine, "engine_version": version}, began, sandbox=found["sandbox"], units=seconds)
    work.warnings += found["warnings"]
    if found["cut"]:
        work.limits_hit.append("max_media_seconds")
    if found["features"] is not None:
        (arrays,) = work.tools.keep_all([found["features"].pop("made")])
        work.artefacts.append(arrays)
        found["features"]["ref"] = arrays.uri
    return found


def _spans(work: _Work, seconds: float, report: Report) -> list[Span] | None:
    """Return where somebody speaks, or None where that cannot be told."""
    began = monotonic()
    try:
        found = work.run("audio_speech", {"end": seconds}, report)
    except FileError as error:
        work.failed("speech", None, error)
        return None
    work.did("speech", {"engine": found["engine"], "engine_version": found["version"]}, began)
    if not found["spans"]:
        work.warnings.append(warning("no_speech", "Nobody speaks in the sound."))
    return [(float(start), float(end)) for start, end in found["spans"]]


def _speech(spans: Sequence[Span], seconds: float) -> Speech:
    spoken = sum(end - start for start, end in spans)
    return Speech(spans=list(spans), ratio=round(min(1.0, spoken / seconds), 4) if spans else 0.0)


def _turns(work: _Work, spans: Sequence[Span], report: Report) -> list[dict[str, Any]] | None:
    """Return who speaks when, or None where voices cannot be told apart."""
    if not spans:
        return []
    began = monotonic()
    until = (began + work.until) / 2  # the other half of what is left is for the words
    reads: list[dict[str, Any]] = []
    pieces = pieces_of(spans)
    for n, piece in enumerate(pieces):
        if monotonic() >= until:
            work.late("speakers", Piece(piece.start, spans[-1][1], []))
            break
        part = part_of(report, 100 * n / len(pieces), 100 * (n + 1) / len(pieces))
        try:
            reads.append(work.run("audio_voices", piece._asdict(), part))
        except FileError as error:
            if error.code == "model_missing":
                work.warnings.append(warning(error.code, str(error), step="speakers"))
                return None
            work.failed("speakers", piece, error)
    if not reads:
        return None
    telling = import_module("processors.speech_turns")
    parts = [tuple(part) for read in reads for part in read["parts"]]
    vectors = telling.unpacked_vectors([read["vectors"] for read in reads], len(parts))
    work.did("speakers", reads[0]["engine"], began, units={"parts": len(parts)}, threshold=telling.ALIKE)
    return telling.turns_of(parts, vectors, spans)


def _transcript(
    work: _Work, spans: Sequence[Span], turns: Sequence[dict[str, Any]], report: Report
) -> Transcript | None:
    """Turn speech into text, a piece after another; None where no piece could be read."""
    language = work.request.primary_language
    first: Heard | None = None
    segments: list[Segment] = []
    pieces = pieces_of(spans)
    last = spans[-1][1] if spans else 0.0
    while pieces:
        piece = pieces.pop(0)
        if monotonic() >= work.until:
            work.late("transcribe", Piece(piece.start, last, []))
            break
        part = part_of(report, 100 * piece.start / last, 100 * piece.end / last)
        part(0, f"transcribing from {piece.start:.0f} s of {last:.0f} s")
        try:
            heard = _heard(work, piece, language, part)
        except FileError as error:
            if error.code == "timeout" and piece.end - piece.start > SHORT_PIECE_SECONDS:
                pieces = _shorter([piece, *pieces])
                continue
            if error.code in HOPELESS:
                work.failed("transcribe", Piece(piece.start, last, []), error)
                break
            work.failed("transcribe", piece, error)
            continue
        first = first or heard
        language = language or heard.language
        segments += said(heard.segments, piece.start, piece.end, spans)
    if spans and first is None:
        return None
    return _told(work, segments, turns, first)


def _shorter(pieces: Sequence[Piece]) -> list[Piece]:
    """Cut what is still to be read anew, since the engine was too slow for the first one: a quarter as long."""
    return pieces_of([span for piece in pieces for span in piece.spans], (pieces[0].end - pieces[0].start) / 4)


def _heard(work: _Work, piece: Piece, language: str | None, report: Report) -> Heard:
    """Read one piece with the engine that was chosen."""
    began, choice = monotonic(), work.tools.speech
    seconds = {"seconds": round(piece.end - piece.start, 3)}
    if choice.endpoint is not None:
        made = work.run("audio_piece", {"start": piece.start, "end": piece.end}, report)
        sound = base64.b64decode(made["data"])
        heard = choice.endpoint.read(sound, language, lambda: report(50, "waiting for the endpoint"))
        work.did("transcribe", {"engine": choice.endpoint.name, "model": choice.endpoint.model}, began, units=seconds)
        return heard
    options = piece._asdict() | {"engine": choice.engine, "folder": choice.folder, "language": language}
    found = work.run("audio_transcript", options, report)
    work.did("transcribe", found["engine"], began, units=seconds)
    segments = [_spoken(one) for one in found["segments"]]
    return Heard(segments, found["language"], found["language_source"], found["language_confidence"])


def _spoken(one: dict[str, Any]) -> Spoken:
    words: list[dict[str, Any]] = one.pop("words")
    return Spoken(words=[SpokenWord(**word) for word in words], **one)


def _told(work: _Work, segments: Sequence[Segment], turns: Sequence[dict[str, Any]], heard: Heard | None) -> Transcript:
    """Return the transcript with its speakers; its subtitles, and itself where it is large, become artefacts."""
    speaker_at = import_module("processors.speech_turns").speaker_at
    whole = [
        clean({"id": n, **one, "speaker": speaker_at(turns, one["start"], one["end"])})
        for n, one in enumerate(segments)
    ]
    tools, text = work.tools, text_of(whole)
    if whole:
        work.artefacts.append(tools.keep("transcript", subrip(whole).encode(), "application/x-subrip"))
        work.artefacts.append(tools.keep("transcript", webvtt(whole).encode(), "text/vtt"))
    packed = json.dumps(whole, ensure_ascii=False).encode()
    inline = len(packed) <= tools.inline_text_kb * KIB
    if not inline:
        work.artefacts.append(tools.keep("transcript", packed, "application/json"))
    given = work.request.language
    return Transcript(
        text=text if inline else text[:EXCERPT_CHARACTERS],
        text_truncated=not inline,
        language=given or (heard.language if heard else None),
        language_confidence=heard.language_confidence if heard else None,
        language_source="given" if given else (heard.language_source if heard else None),
        segment_count=len(whole),
        segments=whole if inline else [],
    )
