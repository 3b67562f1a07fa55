"""The fuzzer finds what it looks for, and a short run of it finds nothing."""

import os
import random
import zlib

import pytest

import fuzz_files
from fuzz_corpus import CORPORA
from mutations import mutated, png_sums_mended
from processors.errors import TransientError

FILES = 60


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, os.environ.get(name, "/"))  # as it was, afterwards


@pytest.mark.parametrize("job", sorted(CORPORA))
def test_no_damaged_file_breaks_a_promise(job):
    seed = random.randrange(2**32)
    outcome = fuzz_files.fuzz(job, 60, seed, most=FILES)
    assert outcome.broken == [], outcome.line(1)
    assert outcome.files > 0


def test_the_same_seed_damages_the_same_way():
    files = [b"one file" * 30, b"another" * 40]
    first, second = ([mutated(random.Random(seed), files[0], files) for seed in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 40


def test_a_damaged_png_passes_the_check_of_its_sums():
    chunk = b"\0\0\0\x02tEXtab"
    mended = png_sums_mended(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0")
    assert mended.endswith(zlib.crc32(b"tEXtab").to_bytes(4, "big"))


class Sandbox:
    """Stands for one whose child was killed, or whose child made a file."""

    def __init__(self, act):
        self.act = act

    def run(self, *_):
        return self.act()

    def close(self):
        """Nothing is open."""


def killed():
    raise TransientError("The child was killed.")


def leaves_a_file():
    with open(os.path.join(os.environ["TMPDIR"], "left"), "w") as file:  # noqa: PTH118, PTH123 - as a parser would
        file.write("x")


@pytest.mark.parametrize(("act", "words"), [(killed, "TransientError"), (leaves_a_file, "made or changed")])
def test_the_fuzzer_tells_a_broken_promise_and_keeps_the_file(monkeypatch, tmp_path, act, words):
    monkeypatch.setattr(fuzz_files, "ChildSandbox", lambda **_: Sandbox(act))
    monkeypatch.setattr(fuzz_files, "answered", lambda sandbox, *_: sandbox.run() or "ok")
    outcome = fuzz_files.fuzz("document", 60, 1, tmp_path / "kept", most=1)
    assert words in outcome.broken[0]
    assert len(list((tmp_path / "kept").iterdir())) == 1
