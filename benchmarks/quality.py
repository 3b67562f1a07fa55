"""Measure how good the engines are on files with known truth, and write docs/quality.md.

.venv/bin/python benchmarks/quality.py        # needs espeak-ng, which speaks the sentences
"""

import re
import statistics
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clips
import file_peers
import numpy as np
from environments import Environment
from files import SCRATCH, Workbench
from PIL import Image, ImageEnhance

import drawn
from config.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "quality.md"
CONDITIONS = ("clean", "upside down", "turned by 2°", "blurred", "noise", "low contrast", "small letters")
VOICES = {
    "one voice": ("en-us",),
    "two voices": ("en-us", "en-us+f3"),
    "three voices": ("en-us", "en-us+f3", "en-gb+m7"),
}
PAUSE_SECONDS = 0.6
STEP_SECONDS = 0.05
PERSONS = (
    ((224, 180, 150), (60, 40, 30), 0.0),
    ((150, 105, 80), (20, 15, 10), 6.0),
    ((240, 205, 180), (200, 170, 90), -6.0),
    ((200, 150, 120), (120, 60, 30), 10.0),
)
"""Of each drawn person the colours of skin and hair, and how much broader the face is, in pixels."""

PICTURES = 3


def main() -> int:
    """Measure all and write the page."""
    with tempfile.TemporaryDirectory() as folder, closing(Workbench(Path(folder), 1)) as bench:
        parts = [part(bench) for part in (reading, speech, speakers, cuts, faces, documents)]
    made = datetime.now(UTC).date().isoformat()
    PAGE.write_text(f"{HEAD.format(made=made)}\n\n" + "\n\n".join(parts) + "\n")
    print(PAGE.read_text())
    return 0


HEAD = """\
# How good the engines are

Written by `make quality` on {made}. Every file is made for this: text, faces and films are drawn, speech is spoken by
espeak-ng. No real person is seen or heard, so the figures tell one engine from another and one release from the next;
on real letters, voices and faces they will differ."""


def reading(bench: Workbench) -> str:
    """Text in pictures."""
    rows = []
    for condition in CONDITIONS:
        rates, confidences = [], []
        for at, line in enumerate(clips.SENTENCES):
            size = 13 if condition == "small letters" else 32
            picture = clips.worsened(clips.page([line], size=size), condition)
            path = bench.folder / f"{at}.png"
            picture.save(path)
            found = bench.process("image", path, detect_objects=False, generate_tags=False)["result"]["ocr"]
            rates.append(clips.error_rate(_letters(found["text"]), _letters(line)))
            confidences += [one["confidence"] for one in found["lines"]]
        confidence = statistics.fmean(confidences) if confidences else 0.0
        rows.append((condition, f"{statistics.fmean(rates):.3f}", f"{max(rates):.3f}", f"{confidence:.2f}"))
    return _table(
        "Text in pictures: rapidocr",
        f"Character error rate (edits / letters, without blanks) over {len(clips.SENTENCES)} lines, black on white.",
        ("picture", "mean", "worst line", "its confidence"),
        rows,
    )


def speech(bench: Workbench) -> str:
    """Words in speech."""
    rows = []
    for voice in ("en-us", "en-us+f3", "en-gb"):
        rates = []
        for at, sentence in enumerate(clips.SPOKEN):
            path = clips.spoken(sentence, bench.folder / f"{at}.wav", voice)
            done = bench.process("audio", path, detect_speakers=False, extract_features=False, language="en")
            rates.append(clips.error_rate(_words(done["result"]["transcript"]["text"]), _words(sentence)))
        rows.append((voice, f"{statistics.fmean(rates):.2f}", f"{max(rates):.2f}"))
    silence = bench.folder / "silence.wav"
    clips.write_sound(silence, np.zeros(16_000 * 20))
    text = bench.process("audio", silence, detect_speakers=False, extract_features=False)["result"]["transcript"][
        "text"
    ]
    rows.append(("20 s of silence", f"{len(_words(text))} words", ""))
    return _table(
        "Speech: pocketsphinx, the engine without a model file",
        f"Word error rate (edits / words) over {len(clips.SPOKEN)} sentences. It is rough, and its result "
        "says so; faster-whisper with a model folder, or an endpoint, serves by setting and is not "
        "measured: no model comes along.",
        ("voice of espeak-ng", "mean", "worst sentence"),
        rows,
    )


def speakers(bench: Workbench) -> str:
    """Who speaks when."""
    rows = []
    for name, voices in VOICES.items():
        path, truth = _conversation(bench.folder, voices)
        done = bench.process("audio", path, transcribe=False, extract_features=False)["result"]
        if done["speakers"] is None:
            return "## Speakers\n\nNot measured: the voices' model is not installed."
        rows.append((name, str(len(voices)), str(len(done["speakers"])), f"{_confusion(done['turns'], truth):.3f}"))
    return _table(
        "Speakers: Resemblyzer's vectors, clustered",
        "Voices of espeak-ng take turns, a sentence each. The error is the share of spoken time that is given to the "
        "wrong voice, or to none, with the best assignment of voices.",
        ("conversation", "voices", "found", "error"),
        rows,
    )


def cuts(bench: Workbench) -> str:
    """Where scenes change."""
    environment = Environment("scenedetect", SCRATCH)
    environment.make()
    made = clips.films(bench.folder)
    options = {"extract_frames": False, "process_audio": False, "generate_thumbnail": False}
    found = {"ours": {}, "PySceneDetect, adaptive": {}, "PySceneDetect, content": {}}
    for clip in made:
        scenes = bench.process("video", clip.path, **options)["result"]["scenes"]
        found["ours"][clip.name] = [scene["start"] for scene in scenes[1:]]
    for kind in ("adaptive", "content"):
        with file_peers.SceneDetect(environment.programs / "python", kind) as peer:
            found[f"PySceneDetect, {kind}"] = {clip.name: peer.cuts(clip.path) for clip in made}
    rows = [
        (clip.name, str(len(clip.cuts)), *(_f1([clips.f1(one[clip.name], clip.cuts)]) for one in found.values()))
        for clip in made
    ]
    whole = [_f1([clips.f1(one[clip.name], clip.cuts) for clip in made]) for one in found.values()]
    rows.append(("all", str(sum(len(clip.cuts) for clip in made)), *whole))
    return _table(
        "Cuts of films",
        "F1 of the moments at which scenes change, within 0.12 s; flashes and motion are no change.",
        ("film", "changes", *found),
        rows,
    )


def faces(bench: Workbench) -> str:
    """Faces found and told apart."""
    vectors: list[tuple[int, np.ndarray]] = []
    seen = 0
    for person in range(len(PERSONS)):
        for picture in range(PICTURES):
            path = bench.folder / "face.png"
            brightened(drawn.face(*PERSONS[person]), 0.85 + 0.15 * picture).save(path)
            options = {"extract_text": False, "detect_objects": False, "generate_tags": False}
            done = bench.process("image", path, face_recognition=True, **options)
            seen += len(done["result"]["faces"]) == 1
            raw = [bench.parts.storage.get(one["uri"]) for one in done["artefacts"] if one["kind"] == "encodings"]
            vectors += [(person, np.frombuffer(one, "<f4")) for one in raw if len(one) == 4 * 128]
    whole = len(PERSONS) * PICTURES
    found = f"dlib's detector finds one face in {seen} of {whole} drawn faces."
    if not vectors:
        return (
            f"## Faces: dlib\n\n{found} Encodings are not measured: the model is not installed, or nothing was found."
        )
    same, other = [], []
    for at, (person, one) in enumerate(vectors):
        for name, two in vectors[at + 1 :]:
            (same if name == person else other).append(float(np.linalg.norm(one - two)))
    rows = [
        (name, f"{min(group):.2f}", f"{statistics.median(group):.2f}", f"{max(group):.2f}")
        for name, group in (("the same drawn person", same), ("two drawn persons", other))
        if group
    ]
    return _table(
        "Faces: dlib",
        f"{found} Distance of two encodings; below 0.5 they are said to be one person. Drawn faces resemble each other "
        "more than persons do: photographs measured 0.22 to 0.44 for the same person and 0.70 to 0.88 for others.",
        ("pictures of", "least", "median", "greatest"),
        rows,
    )


def brightened(image: Image.Image, share: float) -> Image.Image:
    """Return a picture in other light."""
    return ImageEnhance.Brightness(image).enhance(share)


def documents(bench: Workbench) -> str:
    """Text and tables of documents."""
    rows = []
    samples = PROJECT_ROOT / "src" / "examples" / "samples"
    wanted = "Harbour pumps, first quarter The north pump ran for 812 hours and moved 41 000 cubic metres of water."
    for name in ("report.pdf", "report.docx"):
        text = bench.process("document", samples / name)["result"]["text"]
        head = _letters(text)[: len(_letters(wanted))]
        rows.append((name, f"{clips.error_rate(head, _letters(wanted)):.3f}"))
    scan = bench.process("document", samples / "scan.pdf")["result"]["text"]
    truth = "DELIVERY NOTE 4711 Two bearings, one seal, forty metres of hose. Received at the harbour on 3 March."
    rows.append(("scan.pdf, by rapidocr", f"{clips.error_rate(_letters(scan), _letters(truth)):.3f}"))
    return _table("Documents", "Character error rate of the example's files.", ("file", "error rate"), rows)


def _conversation(folder: Path, voices: tuple[str, ...]) -> tuple[Path, list[tuple[float, float, int]]]:
    """Let voices take turns; returns the sound and who speaks from when to when."""
    samples: list[np.ndarray] = []
    truth, at = [], 0.0
    for turn in range(6):
        voice = turn % len(voices)
        path = clips.spoken(clips.SPOKEN[turn % len(clips.SPOKEN)], folder / "turn.wav", voices[voice])
        one = clips.read_sound(path)
        truth.append((at, at + len(one) / 16_000, voice))
        samples += [one, np.zeros(round(PAUSE_SECONDS * 16_000))]
        at += len(one) / 16_000 + PAUSE_SECONDS
    whole = folder / "conversation.wav"
    clips.write_sound(whole, np.concatenate(samples))
    return whole, truth


def _confusion(turns: list[dict[str, Any]], truth: list[tuple[float, float, int]]) -> float:
    """Return the share of spoken time that is not given to its voice, with the best assignment of voices."""
    moments = [
        (start + step * STEP_SECONDS, voice)
        for start, end, voice in truth
        for step in range(round((end - start) / STEP_SECONDS))
    ]
    said = [next((turn["speaker"] for turn in turns if turn["start"] <= at < turn["end"]), None) for at, _ in moments]
    pairs: dict[tuple[Any, int], int] = {}
    for speaker, (_, voice) in zip(said, moments, strict=True):
        if speaker is not None:
            pairs[speaker, voice] = pairs.get((speaker, voice), 0) + 1
    right, used = 0, set()
    for (speaker, voice), count in sorted(pairs.items(), key=lambda pair: -pair[1]):
        if speaker not in used and ("voice", voice) not in used:
            used |= {speaker, ("voice", voice)}
            right += count
    return 1 - right / len(moments)


def _f1(counts: list[tuple[int, int, int]]) -> str:
    right, wrong, missed = (sum(one) for one in zip(*counts, strict=True))
    return f"{2 * right / max(1, 2 * right + wrong + missed):.3f}"


def _letters(text: str) -> str:
    return "".join(text.split())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def _table(title: str, words: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return f"## {title}\n\n{words}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
