"""Scenes of a film: cuts that last, and fades through black, told by the times of the frames.

A cut is a change that is great by itself, great beside the changes around it (so that motion is none), and still there
when the frames around it are compared with each other (so that a flash is none).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO

from processors.film_decoding import Allowance, Faults, Scaler, film_stream, frames
from processors.interfaces import Report
from processors.media_streams import opened

LONGEST_EDGE = 64
"""Pixels of the small pictures that are compared: noise and small motion are gone in them, and scenes still differ."""

AROUND_S = 0.25
"""Frames so near to a change are looked at to judge it: longer than a flash, shorter than a scene."""

MOST_AROUND = 6
LEAST_CHANGE, TIMES_THE_USUAL = 6.0, 3.0
"""A cut changes the values (0 to 255) by so much in the mean, and so many times as much as the frames around it."""

SAME_PICTURE = 0.95
"""Pictures so alike show the same in another light, or with another amount of detail after a key frame."""

FAINT_PATTERN = 4.0
"""Below this product of their spreads two pictures have no pattern that could be compared."""

DARK_MEAN, DARK_MOST = 10.0, 48.0
"""A black frame is darker than this in the mean, and nowhere brighter than that (0 to 255)."""

SHORTEST_DARK_S = 0.08
SHORTEST_SCENE_S = 0.5
REPORT_EVERY = 100
LOOK_AT_CLOCK_EVERY = 20


@dataclass(slots=True)
class Seen:
    """A small picture of a frame: its time in seconds, its PTS and number, and the change from the one before it."""

    time: float
    pts: int
    number: int
    picture: Any
    change: float = 0.0


@dataclass(slots=True)
class CutFinder:
    """Finds cuts in frames that come one after another; a frame is judged once those around it are known."""

    seen: deque[Seen] = field(default_factory=deque[Seen])
    judged: int = 0
    """How many of those in `seen` have been judged."""

    def add(self, frame: Seen) -> list[dict[str, Any]]:
        """Take the next frame, and return the cuts that are certain now."""
        frame.change = difference(self.seen[-1].picture, frame.picture) if self.seen else 0.0
        self.seen.append(frame)
        return self._judge(frame.time - AROUND_S)

    def end(self) -> list[dict[str, Any]]:
        """Return the cuts among the frames that were not judged yet; no frame follows."""
        return self._judge(float("inf"))

    def _judge(self, until: float) -> list[dict[str, Any]]:
        cuts: list[dict[str, Any]] = []
        while self.judged < len(self.seen) and self.seen[self.judged].time <= until:
            lasting = self._lasting_change(self.judged)
            frame = self.seen[self.judged]
            if lasting:
                cuts.append({"pts": frame.pts, "frame": frame.number, "score": round(lasting / 255, 4)})
            self.judged += 1
            self._forget(frame.time - AROUND_S)
        return cuts

    def _forget(self, before: float) -> None:
        """Drop what is too old to count; the frame just before the next one always does."""
        while self.judged > 1 and self.seen[0].time < before:
            self.seen.popleft()
            self.judged -= 1

    def _lasting_change(self, at: int) -> float:
        """Return how great the change is that a frame begins, or 0 where it is no cut."""
        frame = self.seen[at]
        if at == 0 or frame.change < LEAST_CHANGE:
            return 0.0
        near = [one for one in self.seen if abs(one.time - frame.time) <= AROUND_S]
        others = [one.change for one in near if one is not frame]
        if others and frame.change < TIMES_THE_USUAL * sum(others) / len(others):
            return 0.0
        before = [one.picture for one in near if one.time < frame.time] or [self.seen[at - 1].picture]
        after = [one.picture for one in near if one.time >= frame.time]
        least = min(difference(one, other) for one in _some(before[::-1]) for other in _some(after))
        return least if least >= LEAST_CHANGE and likeness(before[-1], after[0]) < SAME_PICTURE else 0.0


@dataclass(slots=True)
class DarkFinder:
    """Gathers stretches of black frames."""

    stretches: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    open: bool = False

    def add(self, frame: Seen) -> None:
        """Take the next frame."""
        mean = float(frame.picture.mean())
        dark = mean < DARK_MEAN and float(frame.picture.max()) < DARK_MOST
        if dark and not self.open:
            self.stretches.append({"start_pts": frame.pts, "level": 0.0})
        if dark:
            self.stretches[-1]["level"] = max(self.stretches[-1]["level"], round(mean / 255, 4))
        if not dark and self.open:
            self.end(frame.pts, frame.number)
        self.open = dark

    def end(self, pts: int, number: int) -> None:
        """Close the stretch that is open, if one is, before the frame with this time and number."""
        if self.open:
            self.stretches[-1] |= {"end_pts": pts, "end_frame": number}
        self.open = False


@dataclass(slots=True)
class Part:
    """One part of a film, looked through frame by frame; frames around it are seen too, and not counted.

    Attributes:
        start: PTS of its first frame.
        stop: PTS at which the next part begins.
        unit: seconds of one PTS.
        allowance: time after which the part ends early.
        next_pts: PTS of the frame that the next part begins with, once it is known.
    """

    start: int
    stop: int
    unit: Fraction
    allowance: Allowance
    next_pts: int | None = None
    frames: int = 0
    cuts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    cut_finder: CutFinder = field(default_factory=CutFinder)
    dark_finder: DarkFinder = field(default_factory=DarkFinder)

    def take(self, pts: int, picture: Any) -> bool:
        """Take the next frame; tells whether more are wanted."""
        if self.next_pts is None and (pts >= self.stop or (pts > self.start and self._late())):
            self.next_pts = pts
            self.dark_finder.end(pts, self.frames)
        seen = Seen(float(pts * self.unit), pts, self.frames, picture)
        self.cuts += self.cut_finder.add(seen)
        if self.next_pts is not None:
            return (pts - self.next_pts) * self.unit <= AROUND_S
        if pts >= self.start:
            self.dark_finder.add(seen)
            self.frames += 1
        return True

    def end(self) -> dict[str, Any]:
        """Return what was found in this part and no other."""
        self.cuts += self.cut_finder.end()
        self.dark_finder.end(self.stop, self.frames)
        last = self.stop if self.next_pts is None else self.next_pts
        cuts = [cut for cut in self.cuts if self.start <= cut["pts"] < last]
        return {"cuts": cuts, "dark": self.dark_finder.stretches, "frames": self.frames, "next_pts": self.next_pts}

    def _late(self) -> bool:
        """Tell whether the time is over; asked now and then, since the question costs as much as a frame."""
        return self.frames % LOOK_AT_CLOCK_EVERY == 0 and self.allowance.spent


def likeness(one: Any, other: Any) -> float:
    """Return how alike the patterns of two pictures are, however bright: their correlation, 0 for one without any."""
    first, second = (picture.mean(axis=2) - picture.mean() for picture in (one, other))
    spread = float((first**2).mean() * (second**2).mean()) ** 0.5
    return float((first * second).mean()) / spread if spread > FAINT_PATTERN else 0.0


def find_boundaries(file: BinaryIO, options: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Find cuts and black stretches in one part of a film.

    Args:
        file: open, seekable, read-only.
        options: `kind`, `threads`, `start_pts`, `stop_pts` (exclusive), `from_start` (no frame comes before), and
            `seconds` after which the part ends early.
        report: told how far it is.

    Returns:
        JSON values: `cuts` (`pts`, `frame` counted from the part's first, `score`), `dark` (`start_pts`, `end_pts`,
        `end_frame`, `level`), `frames`, `next_pts` (what the next part begins with, None at the end of the film),
        `damaged` and `backwards`.

    Raises:
        FileError: the film is too damaged.
    """
    faults, start = Faults(), int(options["start_pts"])
    with opened(file, str(options["kind"])) as container:
        stream = film_stream(container, int(options["threads"]))
        allowance = Allowance.of(float(options["seconds"]))
        part = Part(start, int(options["stop_pts"]), stream.time_base, allowance)
        scaler = Scaler((stream.width, stream.height), LONGEST_EDGE)
        for frame in frames(container, stream, faults, None if options["from_start"] else start):
            if not part.take(frame.pts, scaler.picture(frame).astype("int16")):
                break
            if part.frames % REPORT_EVERY == 1:
                report(100 * (frame.pts - start) / (part.stop - start), "looking for scenes")
        return part.end() | {"damaged": faults.damaged, "backwards": faults.backwards}


def scenes_of(parts: Sequence[Mapping[str, Any]], film: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scenes of a film, one after another without a gap.

    Args:
        parts: what `find_boundaries` returned for each, in order, with `first_frame`: the number of the part's first
            frame in the film, or None where that is not known.
        film: `start_s`, `first_pts`, `end_pts` and `time_base`.

    Returns:
        For each scene `n` from 1, `start` and `end` (exclusive) in seconds, `start_pts`, `end_pts`, `time_base`,
        `start_frame`, `start_timecode`, and which `detector` found its start, with a `score` 0 to 1.
    """
    unit = Fraction(*film["time_base"])
    first: dict[str, Any] = {"pts": film["first_pts"], "frame": 0, "detector": "start", "score": None}
    kept = [first, *_apart(_boundaries(parts, film, unit), film, unit)]
    ends: list[int] = [*(one["pts"] for one in kept[1:]), film["end_pts"]]
    scenes: list[dict[str, Any]] = []
    for one, end in zip(kept, ends, strict=True):
        start = float(one["pts"] * unit) - film["start_s"]
        scenes.append(
            {
                "n": len(scenes) + 1,
                "start": round(start, 3),
                "end": round(float(end * unit) - film["start_s"], 3),
                "start_pts": one["pts"],
                "end_pts": end,
                "time_base": f"{unit.numerator}/{unit.denominator}",
                "start_frame": one["frame"],
                "start_timecode": timecode(start),
                "detector": one["detector"],
                "score": one["score"],
            }
        )
    return scenes


def timecode(seconds: float) -> str:
    """Return a time as hours, minutes, seconds and thousandths: 01:02:03.456."""
    minutes, milliseconds = divmod(max(0, round(seconds * 1000)), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


def difference(one: Any, other: Any) -> float:
    """Return how much two pictures differ: the mean over all values, 0 to 255."""
    return float(abs(one - other).mean())


def _boundaries(parts: Sequence[Mapping[str, Any]], film: Mapping[str, Any], unit: Fraction) -> list[dict[str, Any]]:
    """Return all cuts and fades in order; a cut to black or from it is a fade's end, and no scene of its own."""
    cuts = [
        {"pts": cut["pts"], "frame": _number(part, cut["frame"]), "detector": "cut", "score": cut["score"]}
        for part in parts
        for cut in part["cuts"]
    ]
    at = {cut["pts"] for cut in cuts}
    dark = [one for one in _joined(parts) if (one["end_pts"] - one["start_pts"]) * unit >= SHORTEST_DARK_S]
    inside = [one for one in dark if one["start_pts"] > film["first_pts"] and one["end_pts"] < film["end_pts"]]
    fades = [
        {
            "pts": one["end_pts"],
            "frame": one["end_frame"],
            "detector": "cut" if {one["start_pts"], one["end_pts"]} <= at else "fade",
            "score": round(1 - one["level"], 4),
        }
        for one in inside
    ]
    left = [cut for cut in cuts if not any(one["start_pts"] <= cut["pts"] <= one["end_pts"] for one in inside)]
    return sorted(left + fades, key=lambda one: one["pts"])


def _joined(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the black stretches of all parts; one that goes on over the border of two parts is one."""
    joined: list[dict[str, Any]] = []
    for part in parts:
        for one in part["dark"]:
            whole = dict(one) | {"end_frame": _number(part, one["end_frame"])}
            if joined and joined[-1]["end_pts"] == one["start_pts"]:
                begun = joined.pop()
                whole |= {"start_pts": begun["start_pts"], "level": max(begun["level"], one["level"])}
            joined.append(whole)
    return joined


def _number(part: Mapping[str, Any], frame: int) -> int | None:
    return None if part["first_frame"] is None else part["first_frame"] + frame


def _apart(boundaries: Sequence[dict[str, Any]], film: Mapping[str, Any], unit: Fraction) -> list[dict[str, Any]]:
    """Leave out boundaries that make a scene too short: of two near each other the greater change stays."""
    kept: list[dict[str, Any]] = []
    for one in boundaries:
        if (one["pts"] - film["first_pts"]) * unit < SHORTEST_SCENE_S:
            continue
        if kept and (one["pts"] - kept[-1]["pts"]) * unit < SHORTEST_SCENE_S:
            if one["score"] <= kept[-1]["score"]:
                continue
            kept.pop()
        kept.append(one)
    return kept


def _some(pictures: Sequence[Any]) -> Sequence[Any]:
    """Return at most so many of the pictures, evenly, the first always."""
    step = -(-len(pictures) // MOST_AROUND)
    return pictures[::step]
