"""Films: streams, scenes, frames, a thumbnail, a preview and the sound, in one envelope."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from time import monotonic
from typing import Any

from pydantic import Field

from processors.envelopes import Artefact, Limits, Timing, part_of, warning
from processors.errors import FileError
from processors.file_results import FileRequest, FileResult, FileTools, input_of, mismatch
from processors.interfaces import Report
from processors.results import Result
from processors.video_frames import Look, sheet
from processors.video_scenes import scenes_of

PART_S = 300
"""Seconds of a film that are looked through for scenes at once: what goes wrong costs these and no more."""

FRAMES_AT_ONCE = 20
MOST_FRAMES = 100
MOST_SCENES = 500
SHORTEST_INTERVAL_S = 1.0
COLUMNS = 10


class ProcessVideo(FileRequest):
    """Process one film."""

    extract_frames: bool = True
    process_audio: bool = True
    detect_scenes: bool = True
    generate_thumbnail: bool = True


class Video(Result):
    """What was found; times are seconds from the file's start, and `rotation` is in degrees clockwise.

    `scenes` are the first ones where they are too many for a result; the artefact at `scenes_ref` has them all.
    """

    duration_s: float
    container: str
    bit_rate: int | None
    tags: dict[str, str]
    video: dict[str, Any]
    audio_streams: list[dict[str, Any]]
    subtitles: list[dict[str, Any]]
    chapters: list[dict[str, Any]]
    scenes: list[dict[str, Any]] = []
    scenes_ref: str | None = None
    frames: list[dict[str, Any]] = []
    thumbnail: dict[str, Any] | None = None
    sprite: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None


class VideoProcessed(FileResult):
    """The envelope around a film."""

    schema_name: str = Field(default="csai.video/1", serialization_alias="schema")
    result: Video


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTools(FileTools):
    """What processing a film needs from outside, and its limits.

    Attributes:
        listen: processes the sound of the same file, which the request names so; None where nothing here does.
        threads: that decode at the same time.
        run_seconds: time for one opening of the file, after which it goes on in another.
        max_media_seconds: seconds of a film that are looked at.
        video_seconds: no further part is looked at after this time, so that what was found is kept.
    """

    listen: Callable[[str, Report], FileResult] | None = None
    threads: int = 2
    run_seconds: float = 100.0
    max_media_seconds: float = 14_400.0
    video_seconds: float = 900.0


@dataclass(slots=True)
class _Work:
    """One film while it is worked on: what was found of it, and when looking at its frames must end."""

    request: ProcessVideo
    tools: VideoTools
    found: dict[str, Any]
    until: float
    provenance: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def content(self) -> dict[str, Any]:
        return self.found["content"]

    @property
    def film(self) -> dict[str, Any]:
        return self.content["film"]

    @property
    def unit(self) -> Fraction:
        return Fraction(*self.film["time_base"])

    @property
    def interval(self) -> float:
        """Seconds from one tile of the preview to the next: longer in a longer film."""
        length = float((self.film["end_pts"] - self.film["first_pts"]) * self.unit)
        return max(SHORTEST_INTERVAL_S, length / MOST_FRAMES)

    def percent(self, *pts: int) -> list[float]:
        """Return how much of the film lies before each of these times."""
        first, end = self.film["first_pts"], self.film["end_pts"]
        return [100 * (at - first) / (end - first) for at in pts]

    def run(self, job: str, options: dict[str, Any], report: Report) -> dict[str, Any]:
        """Do one job on the film."""
        usual = {"kind": self.found["kind"], "threads": self.tools.threads, "seconds": self.tools.run_seconds}
        return self.tools.sandbox.run(job, self.tools.path, usual | options, report)

    def late(self, step: str, start_pts: int, end_pts: int) -> bool:
        """Tell whether no further part may be looked at, and note that this limit was hit, and what is lost by it."""
        if monotonic() < self.until:
            return False
        self.content["limits_hit"].append("video_seconds")
        over = FileError("the time for the film was over by then: see CELERY_TASK_SOFT_TIME_LIMIT.", "timeout")
        self.failed(step, over, start_pts, end_pts)
        return True

    def failed(self, step: str, error: FileError, start_pts: int, end_pts: int) -> None:
        """Note that a part of the film was lost."""
        start, end = (round(float(pts * self.unit) - self.film["start_s"], 3) for pts in (start_pts, end_pts))
        message = f"From {start:g} s to {end:g} s the film was not looked at: {error}"
        place = {"step": step, "start": start, "end": end}
        self.content["errors"].append({"code": error.code, "message": message} | place)

    def told(self, step: str, began: float, units: dict[str, int]) -> None:
        """Note which engine did a step, how long it took, and of how much."""
        engine, _, version = str(self.content["engine"]).rpartition(" ")
        own = {"step": step, "engine": engine, "engine_version": version, "seconds": round(monotonic() - began, 3)}
        self.provenance.append(own | {"sandbox": self.found["sandbox"], "units": units})


def process_video(request: ProcessVideo, tools: VideoTools, report: Report) -> VideoProcessed:
    """Process a film in the sandbox, part by part, so that what goes wrong in one costs that and no more.

    Raises:
        FileError: the file cannot be read as a film at all; `code` says why.
    """
    began = monotonic()
    report(0, "opening the film")
    options = {"name": request.name, "threads": tools.threads}
    found = tools.sandbox.run("video", tools.path, options, part_of(report, 0, 10))
    found["content"] |= {"errors": [], "limits_hit": []}
    work = _Work(request, tools, found, began + tools.video_seconds)
    work.told("read", began, {"frames": work.content["video"]["frames"]})
    _shorten(work)
    scenes = _scenes(work, part_of(report, 10, 55)) if request.detect_scenes else []
    answers = _take(work, _wanted(work, scenes), part_of(report, 55, 75))
    shown, artefacts = _shown(work, answers, scenes)
    heard = _listen(work, part_of(report, 75, 98)) if request.process_audio else None
    return _envelope(work, shown, artefacts, heard, began)


def _shorten(work: _Work) -> None:
    """Look at no more of a film than is allowed."""
    film, most = work.film, work.tools.max_media_seconds
    last = film["first_pts"] + round(most / work.unit)
    if film["end_pts"] > last:
        film["end_pts"] = last
        work.content["limits_hit"].append("max_media_seconds")


def _scenes(work: _Work, report: Report) -> list[dict[str, Any]]:
    """Return the scenes; a part that cannot be looked at is an error, and has no boundary."""
    began, film = monotonic(), work.film
    at, end, number = film["first_pts"], film["end_pts"], 0
    parts: list[dict[str, Any]] = []
    while at < end and not work.late("scenes", at, end):
        stop = min(end, at + round(PART_S / work.unit))
        options = {"start_pts": at, "stop_pts": stop, "from_start": at == film["first_pts"]}
        try:
            part = work.run("video_scenes", options, part_of(report, *work.percent(at, stop)))
        except FileError as error:
            work.failed("scenes", error, at, stop)
            at, number = stop, None
            continue
        parts.append(part | {"first_frame": number})
        number = None if number is None else number + part["frames"]
        at = end if part["next_pts"] is None else max(at + 1, int(part["next_pts"]))
    _warn_of_damage(work, parts)
    work.told("scenes", began, {"frames": sum(part["frames"] for part in parts)})
    return scenes_of(parts, film) if parts else []


def _warn_of_damage(work: _Work, parts: list[dict[str, Any]]) -> None:
    if damaged := sum(part["damaged"] for part in parts):
        text = f"{damaged} frames are damaged, and were left out or patched by the decoder."
        work.content["warnings"].append(warning("corrupt_frames", text, step="scenes", count=damaged))
    if backwards := sum(part["backwards"] for part in parts):
        text = f"{backwards} frames have a time before that of the frame before them, and were left out."
        work.content["warnings"].append(warning("broken_timestamps", text, step="scenes", count=backwards))


def _wanted(work: _Work, scenes: list[dict[str, Any]]) -> list[tuple[int, list[str]]]:
    """Return at which times frames are wanted, and what for: one for each scene, or one every few seconds."""
    every = _every(work)
    uses: defaultdict[int, list[str]] = defaultdict(list)
    if work.request.extract_frames:
        for pts in _middles(work, scenes) or every:
            uses[pts].append("frame")
    if work.request.generate_thumbnail:
        for pts in every:
            uses[pts].append("tile")
    return sorted(uses.items())


def _every(work: _Work) -> list[int]:
    """Return the times of the tiles of a preview."""
    first, step = work.film["first_pts"], work.interval / work.unit
    count = max(1, min(MOST_FRAMES, math.ceil((work.film["end_pts"] - first) / step)))
    return [first + round(n * step) for n in range(count)]


def _middles(work: _Work, scenes: list[dict[str, Any]]) -> list[int]:
    """Return the middle of each scene; of too many scenes, of some, evenly."""
    middles = [(scene["start_pts"] + scene["end_pts"]) // 2 for scene in scenes]
    if len(middles) <= MOST_FRAMES:
        return middles
    text = f"The film has {len(middles)} scenes; frames were taken of {MOST_FRAMES} of them, evenly."
    work.content["warnings"].append(warning("frames_sampled", text, step="frames"))
    return [middles[n * len(middles) // MOST_FRAMES] for n in range(MOST_FRAMES)]


def _take(work: _Work, wanted: list[tuple[int, list[str]]], report: Report) -> list[dict[str, Any]]:
    """Take frames, some at a time; those that cannot be had are an error beside the rest."""
    began, at = monotonic(), 0
    answers: list[dict[str, Any]] = []
    while at < len(wanted) and not work.late("frames", wanted[at][0], wanted[-1][0]):
        some = wanted[at : at + FRAMES_AT_ONCE]
        part = part_of(report, 100 * at / len(wanted), 100 * (at + len(some)) / len(wanted))
        try:
            answers.append(work.run("video_frames", {"start_s": work.film["start_s"], "wanted": some}, part))
        except FileError as error:
            work.failed("frames", error, some[0][0], some[-1][0])
            at += len(some)
            continue
        at += max(1, int(answers[-1]["done"]))
    if wanted:
        work.told("frames", began, {"frames": at})
    return answers


def _shown(
    work: _Work, answers: list[dict[str, Any]], scenes: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[Artefact]]:
    """Keep what was taken as artefacts; returns what the result shows of it, and them."""
    taken = {frame["pts"]: frame for answer in answers for frame in answer["frames"]}
    kept = work.tools.keep_all(list(taken.values()))
    told = ("t", "pts", "sha256", "phash64", "width", "height")
    frames = [
        {"ref": artefact.uri} | {key: frame[key] for key in told}
        for artefact, frame in zip(kept, taken.values(), strict=True)
    ]
    for scene in scenes:
        inside = (one["ref"] for one in frames if scene["start_pts"] <= one["pts"] < scene["end_pts"])
        scene["keyframe_ref"] = next(inside, None)
    thumbnail, sprite = _thumbnail(work, answers, kept), _sprite(work, answers, kept)
    shown: dict[str, Any] = {"frames": frames, "thumbnail": thumbnail, "sprite": sprite, "scenes": scenes[:MOST_SCENES]}
    if len(scenes) > MOST_SCENES:
        kept.append(work.tools.keep("scenes", json.dumps(scenes).encode(), "application/json"))
        shown["scenes_ref"] = kept[-1].uri
    return shown, kept


def _thumbnail(work: _Work, answers: list[dict[str, Any]], kept: list[Artefact]) -> dict[str, Any] | None:
    candidates = [answer["best"] for answer in answers if answer["best"]]
    if not candidates:
        return None
    best = max(candidates, key=lambda one: Look(**one["look"]).rank)
    count = sum(len(answer["tiles"]) for answer in answers)
    good = Look(**best["look"]).shows_something
    why = f"the sharpest of {count} frames" if good else f"the least blank of {count} frames, of which none shows much"
    (artefact,) = work.tools.keep_all([best["packed"]])
    kept.append(artefact)
    return {"ref": artefact.uri, "t": best["packed"]["t"], "why": why, **best["look"]}


def _sprite(work: _Work, answers: list[dict[str, Any]], kept: list[Artefact]) -> dict[str, Any] | None:
    taken = {tile["wanted"]: tile for answer in answers for tile in answer["tiles"]}
    if not taken:
        return None
    tiles = [taken.get(pts) for pts in _every(work) if pts <= max(taken)]
    columns = min(COLUMNS, len(tiles))
    one = next(iter(taken.values()))
    artefact = work.tools.keep("preview_sprite", sheet(tiles, columns), "image/webp")
    kept.append(artefact)
    return {
        "ref": artefact.uri,
        "tiles": len(tiles),
        "cols": columns,
        "rows": math.ceil(len(tiles) / columns),
        "interval_s": round(work.interval, 3),
        "tile_w": one["width"],
        "tile_h": one["height"],
    }


def _listen(work: _Work, report: Report) -> FileResult | None:
    """Process the sound; where that fails, the film is still there."""
    content, listen = work.content, work.tools.listen
    if not content["audio_streams"]:
        content["warnings"].append(warning("no_audio", "The film has no sound.", step="audio"))
        return None
    if listen is None:
        text = "The sound was not processed: this worker has nothing that does it."
        content["warnings"].append(warning("dependency_missing", text, step="audio"))
        return None
    try:
        return listen(work.request.file_path, report)
    except FileError as error:
        content["errors"].append({"code": error.code, "step": "audio", "message": f"The sound was lost: {error}"})
        return None


def _envelope(
    work: _Work, shown: dict[str, Any], artefacts: list[Artefact], heard: FileResult | None, began: float
) -> VideoProcessed:
    content = work.content
    if heard is not None:
        work.provenance += heard.provenance
        content["warnings"] += heard.warnings
        content["errors"] += heard.errors
        content["limits_hit"] += heard.limits.hit
        artefacts += heard.artefacts
    told = ("duration_s", "container", "bit_rate", "tags", "video", "audio_streams", "subtitles", "chapters")
    own = {key: content[key] for key in told} | {"audio": heard.as_json()["result"] if heard else None}
    return VideoProcessed(
        status="partial" if content["errors"] or content["limits_hit"] else "ok",
        input=input_of(work.request, work.found),
        options=work.request.effective_options(),
        provenance=work.provenance,
        warnings=[*mismatch(work.found), *content["warnings"]],
        errors=content["errors"],
        limits=Limits(hit=list(dict.fromkeys(content["limits_hit"]))),
        artefacts=artefacts,
        timing=Timing(run_s=round(monotonic() - began, 3)),
        result=Video.model_validate(own | shown),
    )
