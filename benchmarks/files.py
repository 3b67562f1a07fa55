"""Measure the methods for files against what they are made of: ratios in one run, interleaved, medians with spread.

.venv/bin/python benchmarks/files.py              # all of it; writes docs/file-benchmarks.md
.venv/bin/python benchmarks/files.py --only text ocr --rounds 5    # the other figures of the page stay
"""

import statistics
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import clips
import figures
import file_peers
import psutil
from environments import Environment
from figures import CORES, Figure, pinned, timed
from PIL import Image
from pypdfium2 import PdfDocument
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from adapters.disk_storage import DiskStorage
from adapters.file_sandbox import ChildSandbox
from adapters.side_by_side import SideBySideThreads
from config.settings import PROJECT_ROOT, settings
from processors.audio import ProcessAudio, process_audio
from processors.document_pictures import OneByOne
from processors.documents import ProcessDocument, process_document
from processors.images import Nobody, ProcessImage, process_image
from processors.video import ProcessVideo, process_video
from services import file_tools

PAGES, LINES, SCANNED = 200, 45, 6
SMALL, PLAIN, MIXED = 1000, 20, 2000
LOOKS = 20
DOCUMENTS = ("report.pdf", "report.docx", "hours.xlsx", "slides.pptx", "mail.eml")
SOUND_SECONDS, FILM_SECONDS = 600, 40
THREADS = 2
SCRATCH = settings.data_dir / "bench"


class Workbench:
    """Files, a sandbox and a storage for the measurements of one run."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.sandbox = ChildSandbox(
            memory_mb=2048,
            cpu_seconds=300,
            wall_seconds=600,
            output_mb=64,
            max_file_mb=500,
            loading={"readable": [], "models_dir": str(folder), "threads": THREADS},
        )
        self.parts: Any = SimpleNamespace(
            sandbox=self.sandbox,
            storage=DiskStorage(folder / "storage"),
            people=Nobody(),
            converter=None,
            side_by_side=OneByOne(),
        )
        self.threads = SideBySideThreads(len(CORES))

    def close(self) -> None:
        """End the children."""
        self.threads.close()
        self.sandbox.close()

    def process(self, method: str, path: Path, **options: Any) -> dict[str, Any]:
        """Let ours do its work on a file, as a task does."""
        request_type, tools_of, work = METHODS[method]
        tools = tools_of(self.parts, path, f"bench-{method}")
        return work(request_type(file_path=str(path), **options), tools, silent).as_json()


METHODS: dict[str, tuple[Any, Any, Any]] = {
    "document": (ProcessDocument, file_tools.document_tools, process_document),
    "image": (ProcessImage, file_tools.image_tools, process_image),
    "audio": (ProcessAudio, file_tools.audio_tools, process_audio),
    "video": (ProcessVideo, file_tools.video_tools, process_video),
}


def silent(_percent: float, _text: str) -> None:
    """Report to nobody."""


# --- Measurements ---------------------------------------------------------------------------------------------------


def text(bench: Workbench) -> list[Figure]:
    """The text layer of a PDF through the warm child, against pypdfium2 by itself."""
    path = bench.folder / "text.pdf"
    canvas = Canvas(str(path))
    for page in range(PAGES):
        for line in range(LINES):
            words = f"Page {page}, line {line}: the pump moved water all night, as it should."
            canvas.drawString(50, 800 - 16 * line, words)
        canvas.showPage()
    canvas.save()
    options = {"name": "x.pdf", "max_pages": 2000, "max_characters": 10**7, "extract_metadata": False, "password": None}

    def ours() -> None:
        bench.sandbox.run("document", path, options, silent)

    def alone() -> None:
        with closing(PdfDocument(path)) as pdf:
            for page in pdf:
                page.get_textpage().get_text_range()

    ours()
    pairs = [(timed(ours), timed(alone)) for _ in range(bench.rounds * 3)]
    return [_speed("text layer of a PDF", "pypdfium2 alone", 0.8, pairs, PAGES, "pages/s")]


def ocr(bench: Workbench) -> list[Figure]:
    """Pages that are pictures, through process_document, against the reader by itself on one core."""
    path = bench.folder / "scans.pdf"
    canvas = Canvas(str(path))
    for number in range(SCANNED):
        picture = clips.page([f"Page {number}. {line}" for line in clips.SENTENCES], size=28)
        canvas.drawImage(ImageReader(picture), 30, 300, width=530, height=530 * picture.height / picture.width)
        canvas.showPage()
    canvas.save()
    rendered = bench.folder / "rendered"
    rendered.mkdir()
    with closing(PdfDocument(path)) as pdf:
        for number, page in enumerate(pdf):
            page.render(scale=200 / 72).to_pil().save(rendered / f"{number:02}.png")

    def ours() -> None:
        done = bench.process("document", path, generate_summary=False)
        if {page["source"] for page in done["result"]["pages"]} != {"ocr"}:
            raise RuntimeError("a page was not read as a picture")

    def side_by_side() -> None:
        alone, bench.parts.side_by_side = bench.parts.side_by_side, bench.threads
        ours()
        bench.parts.side_by_side = alone

    with file_peers.Reader(rendered) as reader:
        ours()
        side_by_side()
        reader.read()
        one, two = [], []
        for _ in range(bench.rounds):
            alone = pinned(CORES[:1], lambda: timed(reader.read))
            one.append((pinned(CORES[:1], lambda: timed(ours)), alone))
            two.append((timed(side_by_side), alone))
    return [
        _speed("text in pictures, one core", "rapidocr alone, one core", 0.9, one, SCANNED, "pages/s"),
        _speed("text in pictures, two cores", "rapidocr alone, one core", 1.7, two, SCANNED, "pages/s"),
    ]


def sound(bench: Workbench) -> list[Figure]:
    """Decoding and features of ten minutes of sound, against the time that they play."""
    path = bench.folder / "sound.mp3"
    clips.write_sound(path, clips.tone_of(SOUND_SECONDS), codec="libmp3lame")

    def ours() -> None:
        bench.process("audio", path, transcribe=False, detect_speakers=False)

    ours()
    taken = [timed(ours) for _ in range(bench.rounds)]
    ratios = [SOUND_SECONDS / seconds for seconds in taken]
    return [
        Figure(
            "decoding and features of sound",
            "real time",
            100,
            ratios,
            f"{statistics.median(taken):.2f} s",
            f"{SOUND_SECONDS} s",
        )
    ]


def scenes(bench: Workbench) -> list[Figure]:
    """Cuts of films, against PySceneDetect with its PyAV backend: speed at 720p, and F1."""
    environment = Environment("scenedetect", SCRATCH)
    environment.make()
    folder = bench.folder / "films"
    folder.mkdir()
    made = clips.films(folder)
    large = bench.folder / "large.mp4"
    pixels = clips.scene(5, 2560, 720)
    frames = [pixels[:, at % 1280 : at % 1280 + 1280] for at in range(FILM_SECONDS * clips.FPS)]
    clips.write_film(large, frames, 1280, 720)

    def ours(path: Path) -> list[float]:
        options = {"extract_frames": False, "process_audio": False, "generate_thumbnail": False}
        found = bench.process("video", path, **options)["result"]["scenes"]
        return [scene["start"] for scene in found[1:]]

    with file_peers.SceneDetect(environment.programs / "python") as peer:
        ours(large)
        peer.cuts(large)
        pairs = [(timed(lambda: ours(large)), timed(lambda: peer.cuts(large))) for _ in range(bench.rounds)]
        mine = _score([(ours(clip.path), clip) for clip in made])
        theirs = _score([(peer.cuts(clip.path), clip) for clip in made])
    count = len(frames)
    absolute = [count / seconds / 150 for seconds, _ in pairs]
    per_second = f"{count / statistics.median(seconds for seconds, _ in pairs):.0f} frames/s"
    return [
        _speed("cuts of a film, 720p", "PySceneDetect", 1.0, pairs, count, "frames/s"),
        Figure("cuts of a film, 720p", "150 frames/s", 1.0, absolute, per_second, "150 frames/s"),
        Figure("cuts of a film, F1", "PySceneDetect", 1.0, [mine / theirs], f"{mine:.3f}", f"{theirs:.3f}"),
    ]


def small(bench: Workbench) -> list[Figure]:
    """A thousand small pictures, against a plain task that opens each and loads its detectors each time."""
    folder = bench.folder / "small"
    folder.mkdir()
    for number in range(SMALL):
        Image.fromarray(clips.scene(number, 320, 240)).save(folder / f"{number:04}.jpg", quality=85)
    paths = sorted(folder.iterdir())
    return [
        _pictures(bench, "1 000 small pictures: hashes and thumbnails", 3.0, paths, look=False),
        _pictures(bench, f"{PLAIN} of them with text and objects, too", 0.9, paths[:PLAIN], look=True),
    ]


def _pictures(bench: Workbench, name: str, must: float, paths: list[Path], *, look: bool) -> Figure:
    """Let a few of the pictures be done by the plain task, which takes longer, before ours does all."""
    flags = {"extract_text": look, "detect_objects": look}
    bench.process("image", paths[0], **flags)
    pairs: list[tuple[float, float]] = []
    for _ in range(bench.rounds):
        theirs = timed(lambda: [file_peers.plain_picture(path, look=look) for path in paths[:PLAIN]]) / PLAIN
        ours = timed(lambda: [bench.process("image", path, **flags) for path in paths]) / len(paths)
        pairs.append((ours, theirs))
    return _speed(name, "a plain task that loads its detectors each time", must, pairs, 1, "pictures/s")


def memory(bench: Workbench) -> list[Figure]:
    """What this process and its children hold while 2 000 mixed files go through them."""
    files = mixed(bench.folder)
    held = []
    for number in range(MIXED):
        method, path, options = files[number % len(files)]
        bench.process(method, path, **options)
        if (number + 1) % (MIXED // LOOKS) == 0:
            held.append(_held())
    early, late = held[LOOKS // 4 : LOOKS // 2], held[-LOOKS // 4 :]
    ratio = statistics.median(late) / statistics.median(early)
    series = ", ".join(f"{one:.0f}" for one in held)
    return [
        Figure(
            "memory over 2 000 mixed files: last quarter",
            "second quarter",
            1.1,
            [ratio],
            f"MiB: {series}",
            "",
            at_most=True,
        )
    ]


def mixed(folder: Path) -> list[tuple[str, Path, dict[str, Any]]]:
    """Make the files of a heavy worker, with what is asked for."""
    where = folder / "mixed"
    where.mkdir()
    Image.fromarray(clips.scene(1, 640, 480)).save(where / "picture.jpg")
    clips.page(clips.SENTENCES[:3], size=24, width=900).save(where / "text.png")
    clips.write_sound(where / "sound.wav", clips.tone_of(5))
    clips.write_film(where / "film.mp4", [clips.scene(2, 160, 90)] * 30, 160, 90, sound=True)
    samples = PROJECT_ROOT / "src" / "examples" / "samples"
    quick = [
        *(("document", samples / name, {}) for name in DOCUMENTS),
        ("image", where / "picture.jpg", {"extract_text": False}),
        ("audio", where / "sound.wav", {"transcribe": False}),
        ("video", where / "film.mp4", {"process_audio": False}),
    ]
    slow: list[tuple[str, Path, dict[str, Any]]] = [
        ("document", samples / "scan.pdf", {}),
        ("image", where / "text.png", {}),
    ]
    return [*quick, *quick, *slow]


MEASUREMENTS: dict[str, Callable[[Workbench], list[Figure]]] = {
    one.__name__: one for one in (text, ocr, sound, scenes, small, memory)
}


def _speed(name: str, other: str, must: float, pairs: list[tuple[float, float]], units: int, unit: str) -> Figure:
    """Return a figure of pairs of seconds, ours and theirs."""
    mine, theirs = (f"{units / statistics.median(one):.1f} {unit}" for one in zip(*pairs, strict=True))
    return Figure(name, other, must, [theirs_s / ours_s for ours_s, theirs_s in pairs], mine, theirs)


def _score(found: list[tuple[list[float], clips.Clip]]) -> float:
    counts = [clips.f1(cuts, clip.cuts) for cuts, clip in found]
    right, wrong, missed = (sum(one) for one in zip(*counts, strict=True))
    return 2 * right / (2 * right + wrong + missed)


def _held() -> float:
    """Return the MiB that this process and its children hold, what they share counted once."""
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(one.memory_full_info().pss for one in mine) / 1024**2


# --- The run --------------------------------------------------------------------------------------------------------

HOW = """\
A ratio is the median of the rounds' ratios, in which ours and the other take turns. Ours goes through the warm
sandboxed child with its limits, as in a task; the other is the library by itself, in a process of its own, warm too.
The films, sounds and pictures are drawn and synthesised by `benchmarks/clips.py`. The plain task opens a picture with
Pillow, makes the same hashes and thumbnails, and loads RapidOCR and OpenCV's cascades each time, as a task does that
keeps nothing; it is measured without a broker, which is in its favour, and does twenty of the pictures a round. For
hashes and thumbnails nobody looks with them; where both look for text, too, that takes most of the time of both.
PySceneDetect runs in an environment and with a lock of its own (`benchmarks/peers/scenedetect`), with its PyAV
backend and its adaptive detector.
"""


def main() -> int:
    """Measure; 1 where a figure is not reached."""
    arguments = figures.parser(__doc__, MEASUREMENTS).parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    page = figures.Page("file-benchmarks", "Files: speed and memory", "make bench-files", HOW)
    measurements = {name: partial(_on_a_workbench, work, arguments.rounds) for name, work in MEASUREMENTS.items()}
    return figures.run(page, measurements, arguments.only, arguments.rounds)


def _on_a_workbench(work: Callable[[Workbench], list[Figure]], rounds: int) -> list[Figure]:
    with TemporaryDirectory() as folder, closing(Workbench(Path(folder), rounds)) as bench:
        return work(bench)


if __name__ == "__main__":
    sys.exit(main())
