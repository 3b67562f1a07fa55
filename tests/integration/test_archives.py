"""Archives in the real child: what is good comes out whole, and no bomb costs more than its own failure."""

import gzip
import io
import random
import zipfile

import psutil
import pytest

from adapters.file_sandbox import ChildSandbox
from examples.celery_example import SAMPLES
from processors.errors import FileError
from processors.file_types import MIME, named_by_ending
from processors.interfaces import Room
from reading import silent
from unpacking import overlapping_zip, process, tar, tar_member, zip_of

TEXT = b"The pump runs again, and the harbour master is content."
LIMITS = {"memory_mb": 2048, "cpu_seconds": 60, "wall_seconds": 60, "output_mb": 8, "max_file_mb": 64}


@pytest.fixture
def sandbox():
    made = ChildSandbox(**LIMITS)
    yield made
    made.close()


def test_the_members_come_out_of_the_child_whole_and_are_read_by_it(sandbox, tmp_path):
    noise = random.Random(2).randbytes(5_000_000)
    raw = zip_of(("a.txt", TEXT), ("inner.tar.gz", gzip.compress(tar({"b.txt": TEXT, "c.bin": noise}))))
    done = process(tmp_path, raw, sandbox=sandbox)
    text, inner = done.as_json()["detail"]["result"]["members"]
    assert (done.status, text["detail"]["result"]["text"].strip()) == ("ok", TEXT.decode())
    assert {"seccomp", "no_new_privs"} <= set(done.detail.provenance[0]["sandbox"])
    assert [one["status"] for one in inner["detail"]["result"]["members"]] == ["ok", "skipped"]
    options = {"name": "x", "max_members": 9, "max_bytes": 10**7, "password": None, "hand_over": True}
    (tmp_path / "room").mkdir()
    (tmp_path / "x").write_bytes(tar({"noise": noise}))
    sandbox.run("archive", tmp_path / "x", options, silent, Room(tmp_path / "room", 9, 10**7))
    assert (tmp_path / "room" / "0").read_bytes() == noise


@pytest.mark.parametrize(
    "room",
    [None, {"max_files": 1, "max_bytes": 10**6}, {"max_files": 9, "max_bytes": 60}],
    ids=["no room", "too many", "too large"],
)
def test_a_child_can_make_no_more_files_than_there_is_room_for(sandbox, tmp_path, room):
    (tmp_path / "x").write_bytes(tar({"a": TEXT, "b": TEXT}))
    (tmp_path / "room").mkdir()
    options = {"name": "x", "max_members": 9, "max_bytes": 10**7, "password": None, "hand_over": True}
    with pytest.raises(FileError, match="more than was asked for") as error:
        sandbox.run("archive", tmp_path / "x", options, silent, room and Room(tmp_path / "room", **room))
    assert error.value.code == "too_large"
    assert sum(path.stat().st_size for path in (tmp_path / "room").iterdir()) <= 60


def billion_laughs() -> bytes:
    """Ten times the same archive in each of nine layers: a thousand million texts."""
    raw = zip_of(("a.txt", TEXT))
    for layer in range(9):
        raw = zip_of(*((f"{layer}-{number}.zip", raw) for number in range(10)), (f"{layer}.txt", TEXT))
    return raw


BOMBS = {
    "10 GB of shared bytes": lambda: overlapping_zip(250, 40 * 1024**2),
    "zeros": lambda: gzip.compress(bytes(200 * 1024**2)),
    "zeros in zeros": lambda: gzip.compress(gzip.compress(bytes(200 * 1024**2))),
    "links": lambda: tar({}, tar_member("a", b"2", linkname="/etc/passwd"), tar_member("/dev/sda", b"4")),
    "a thousand million texts": billion_laughs,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_costs_no_more_than_its_own_failure(sandbox, tmp_path, bomb):
    raw = BOMBS[bomb]()
    assert len(raw) < 1024**2
    try:
        done = process(tmp_path, zip_of(("bomb", raw), ("good.txt", TEXT)), sandbox=sandbox)
    except FileError as error:
        pytest.fail(f"the good member went with the bomb: {error}")
    bad, good = done.as_json()["detail"]["result"]["members"]
    assert good["status"] == "ok"
    assert bad["status"] in {"failed", "partial"} or bomb == "links"
    child = psutil.Process(sandbox._children["documents"].process.pid)
    assert child.memory_info().rss < 600 * 1024**2


def test_an_archive_with_tens_of_thousands_of_names_is_listed_within_bounds(sandbox, tmp_path):
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as made:
        for number in range(30_000):
            made.writestr(str(number), b"")
    done = process(tmp_path, stored.getvalue(), sandbox=sandbox)
    assert len(done.detail.result.members) == 1000
    assert (done.status, done.detail.limits.hit) == ("partial", ["max_archive_members"])


def test_members_that_nothing_reads_cost_no_child(sandbox, tmp_path):
    process(tmp_path, zip_of(("a.txt", TEXT)), sandbox=sandbox)
    pid = sandbox._children["documents"].process.pid
    done = process(tmp_path, zip_of(*((f"{n}.bin", bytes([0, 1, 2, n])) for n in range(20))), sandbox=sandbox)
    assert {one.status for one in done.detail.result.members} == {"skipped"}
    assert sandbox._children["documents"].process.pid == pid


@pytest.mark.parametrize(
    ("name", "streams"), [("film.mp4", ["audio", "video"]), ("tones.mp3", None), ("sign.png", None)]
)
def test_the_child_tells_what_a_file_is(sandbox, name, streams):
    found = sandbox.run("identify", SAMPLES / name, {"name": name}, silent)
    assert (found["mime"], found["streams"]) == (MIME[named_by_ending(name)], streams)
