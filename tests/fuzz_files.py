"""Feeds the sandboxed children damaged files, for as long as is said: `make fuzz`, or one by hand.

.venv/bin/python tests/fuzz_files.py document --seconds 600 --seed 1

What must hold for every file: an answer or a typed error within the limits, the worker alive, no file made anywhere.
Where the network is cut, as `make fuzz` does, nothing may have looked for a way out. What breaks it is kept.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from adapters.file_sandbox import ChildSandbox
from config.settings import ensure_folders, settings
from cut_off import counted
from fuzz_corpus import CORPORA, Corpus
from mutations import mutated
from processors.audio import ProcessAudio, process_audio
from processors.document_pictures import OneByOne
from processors.documents import ProcessDocument, process_document
from processors.errors import FileError, TransientError
from processors.files import ProcessFile, process_file
from processors.images import Nobody, ProcessImage, process_image
from processors.video import ProcessVideo, process_video
from services import file_tools

METHODS: dict[str, tuple[Any, Any, Any]] = {
    "document": (ProcessDocument, file_tools.document_tools, process_document),
    "image": (ProcessImage, file_tools.image_tools, process_image),
    "audio": (ProcessAudio, file_tools.audio_tools, process_audio),
    "video": (ProcessVideo, file_tools.video_tools, process_video),
    "file": (ProcessFile, file_tools.route_tools, process_file),
}
LIMITS = {"memory_mb": 2048, "cpu_seconds": 20, "wall_seconds": 40, "output_mb": 64, "max_file_mb": 8}
LONGEST_SECONDS = 120
"""A method opens a file several times, each within the limits, and a child's start and end add to that."""


@dataclass
class Outcome:
    """What became of the files: how many, by which codes, and those that broke a promise."""

    job: str
    seed: int
    files: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    broken: list[str] = field(default_factory=list)

    def line(self, seconds: float) -> str:
        """Say it in one line."""
        codes = ", ".join(f"{code} {number}" for code, number in self.codes.most_common())
        rate = self.files / seconds
        return (
            f"{self.job}, seed {self.seed}: {self.files} files in {seconds:.0f} s ({rate:.1f}/s), slowest "
            f"{self.slowest:.1f} s; {codes}; promises broken: {len(self.broken)}"
        )


def main() -> int:
    """Fuzz one job; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=sorted(CORPORA))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cut-off", action="store_true", help="the network is cut: nothing may look for a way out")
    parser.add_argument("--keep", type=Path, help="the folder that files which broke a promise are kept in")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcome = fuzz(arguments.job, arguments.seconds, arguments.seed, arguments.keep)
    if arguments.cut_off and (
        attempts := counted(*(Path(f"/proc/net/{one}").read_text() for one in ("snmp", "snmp6")))
    ):
        outcome.broken.append(f"{attempts} attempts to reach another machine")
    print(outcome.line(time.monotonic() - began), flush=True)
    for one in outcome.broken:
        print(f"  {one}")
    return 1 if outcome.broken else 0


def fuzz(job: str, seconds: float, seed: int, keep: Path | None = None, most: float = math.inf) -> Outcome:
    """Feed a method damaged files for so many seconds, or until there were so many."""
    ensure_folders(settings)
    outcome, chance = Outcome(job, seed), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, watched_folders(Path(folder)) as watched:
        corpus = CORPORA[job]()
        raws = [raw for _, raw in corpus.files]
        sandbox = ChildSandbox(**LIMITS, loading={"readable": [], "models_dir": folder})
        with contextlib.closing(sandbox):
            until = time.monotonic() + seconds
            while time.monotonic() < until and outcome.files < most:
                name, raw = chance.choice(corpus.files)
                damaged = mutated(chance, raw, raws)
                said = judge(sandbox, corpus, name, damaged, Path(folder), outcome)
                if said is None and (strange := watched.changed()):
                    said = f"files were made or changed: {strange}"
                if said is not None:
                    outcome.broken.append(f"file {outcome.files}, {name}: {said}{kept(keep, job, damaged)}")
    return outcome


def judge(sandbox: ChildSandbox, corpus: Corpus, name: str, raw: bytes, folder: Path, outcome: Outcome) -> str | None:
    """Let a child read one file, count what it said, and return which promise was broken, or None."""
    path = folder / "input"
    path.write_bytes(raw)
    began = time.monotonic()
    try:
        code = answered(sandbox, corpus, path, name)
    except FileError as error:
        code = error.code
    except TransientError as error:
        code = f"TransientError: {error}"
    took = time.monotonic() - began
    outcome.files += 1
    outcome.codes[code.split(":")[0]] += 1
    outcome.slowest = max(outcome.slowest, took)
    if code.startswith("TransientError"):
        return code
    return f"took {took:.1f} s" if took > LONGEST_SECONDS else None


def answered(sandbox: ChildSandbox, corpus: Corpus, path: Path, name: str) -> str:
    """Process a file as a task does, and return its status."""
    request, tools_of, work = METHODS[corpus.method]
    parts: Any = SimpleNamespace(
        sandbox=sandbox, storage=Forgetful(), people=Nobody(), converter=None, side_by_side=OneByOne()
    )
    done = work(request(file_path=name, **corpus.options), tools_of(parts, path, "fuzz"), lambda *_: None)
    json.dumps(done.as_json(), allow_nan=False)
    return done.status


class Forgetful:
    """Keeps no artefact."""

    def put(self, content: bytes, *, mime: str, task_id: str) -> str:
        return f"store://sha256/{hashlib.sha256(content).hexdigest()}"


def kept(folder: Path | None, job: str, raw: bytes) -> str:
    if folder is None:
        return ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{job}-{hashlib.sha256(raw).hexdigest()[:16]}"
    path.write_bytes(raw)
    return f", kept as {path}"


class WatchedFolders:
    """Folders in which nothing may appear: those that a program writes to by habit."""

    def __init__(self, folders: Sequence[Path], mine: Path) -> None:
        self._folders, self._mine = folders, mine
        self._before = self._look()

    def changed(self) -> list[str]:
        """Return what is new or changed."""
        now = self._look()
        return sorted(str(path) for path in now if self._before.get(path) != now[path])

    def _look(self) -> dict[Path, int]:
        found = {}
        for folder in self._folders:
            for path in folder.rglob("*"):
                if not path.is_relative_to(self._mine):
                    with contextlib.suppress(FileNotFoundError):
                        found[path] = path.stat().st_mtime_ns
        return found


@contextlib.contextmanager
def watched_folders(mine: Path):
    """Give this process, and its children, a home and a folder for temporary files of their own, and watch both."""
    with tempfile.TemporaryDirectory() as home:
        folders = [Path(home, name) for name in ("home", "tmp")]
        for folder in folders:
            folder.mkdir()
        os.environ.update(HOME=str(folders[0]), TMPDIR=str(folders[1]), XDG_CACHE_HOME=str(folders[0] / "cache"))
        yield WatchedFolders(folders, mine)


if __name__ == "__main__":
    sys.exit(main())
