"""Small good files of every kind, which the fuzzer damages, and the method that each goes to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import drawn
import films
import sounds
from examples.celery_example import SAMPLES
from reading import archive
from unpacking import PACKERS, tar

CONTAINERS = ("wav", "flac", "mp3", "m4a", "ogg", "aiff", "voc")
PICTURES = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "HEIF")


@dataclass(frozen=True)
class Corpus:
    """What one method is fed: its files with their names, and its options."""

    method: str
    files: list[tuple[str, bytes]]
    options: Mapping[str, Any] = field(default_factory=dict)


def documents() -> Corpus:
    """Documents of every kind; reading them as pictures would take most of the time."""
    kinds = {".pdf", ".docx", ".xlsx", ".pptx", ".eml", ".txt"}
    files = [(path.name, path.read_bytes()) for path in sorted(SAMPLES.iterdir()) if path.suffix in kinds]
    texts = [
        ("page.html", b"<!doctype html><title>t</title><h1>One</h1><p>It <a href='http://example.com'>works</a></p>"),
        ("note.rtf", rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\b Head\b0\par It works \'e9.{\*\bkmkstart a}\par}"),
        ("table.csv", b"a;b\n1;2\n3;4\n"),
        ("read.md", b"# One\n\n- a\n- b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"),
    ]
    return Corpus("document", files + texts, {"ocr_enabled": False})


def images() -> Corpus:
    """Pictures of every kind, among them one with a face."""
    files = [(f"x.{kind.lower()}", drawn.saved(drawn.quarters(), kind)) for kind in PICTURES]
    files.append(("face.png", drawn.saved(drawn.face(), "PNG")))
    return Corpus("image", files, {"extract_text": False, "face_recognition": True})


def audio() -> Corpus:
    """Sounds in every container."""
    tone = sounds.tone(0.6)
    files = [(f"x.{kind}", sounds.written(tone, kind)) for kind in CONTAINERS]
    return Corpus("audio", files, {"transcribe": False})


def video() -> Corpus:
    """Short films in several containers."""
    shots = films.timed([films.picture(seed) for seed in (1, 1, 1, 2, 2, 2)])
    files = [(f"x.{kind}", films.film(shots, kind)) for kind in ("mp4", "matroska", "avi", "mpegts")]
    files += [(f"x.{kind}", films.film(shots, kind, "mpeg2video")) for kind in ("mxf", "mpeg2video")]
    return Corpus("video", files, {"process_audio": False})


def archives() -> Corpus:
    """Archives, one of them inside another."""
    members = {"a.txt": b"It works. " * 30, "b/c.csv": b"a,b\n1,2\n"}
    zipped, tarred = archive(members), tar(members)
    packed = [(f"x.tar.{kind}", pack(tarred)) for kind, pack in PACKERS.items()]
    nested = archive({"inner.zip": zipped, "d.txt": b"more"})
    return Corpus("file", [("x.zip", zipped), ("x.tar", tarred), ("nested.zip", nested), *packed], {})


CORPORA: dict[str, Callable[[], Corpus]] = {
    "document": documents,
    "image": images,
    "audio": audio,
    "video": video,
    "archive": archives,
}
"""By the name of what is fuzzed."""
