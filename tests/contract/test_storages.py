"""Every storage keeps the same bytes once, for as long as a task refers to them, whoever puts and removes meanwhile."""

import hashlib
import os
import random
import threading
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from adapters import disk_storage, s3_bucket
from adapters.disk_storage import DiskStorage
from adapters.s3_storage import S3Storage
from processors.errors import PermanentError, TransientError
from s3_server import BUCKET, S3Server

ADDRESS = f"store://sha256/{hashlib.sha256(b'content').hexdigest()}"
OBJECT = f"p/objects/{ADDRESS[-64:-62]}/{ADDRESS[-64:]}"


def put(storage, task_id: str, content: bytes = b"content") -> str:
    return storage.put(content, mime="text/plain", task_id=task_id)


class OnDisk:
    """A disk storage, and how to look at what it keeps."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.storage, self.folder = DiskStorage(folder, **limits), folder

    def objects(self) -> int:
        return sum(path.is_file() for path in (self.folder / "objects").rglob("*"))

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.folder.rglob("*") if path.is_file() and path.name != "lock"]

    def damage(self) -> None:
        next(path for path in (self.folder / "objects").rglob("*") if path.is_file()).write_bytes(b"other")


class OnS3:
    """An S3 storage, and how to look at what it keeps."""

    def __init__(self, server: S3Server) -> None:
        self.storage, self.server = S3Storage(server.client(), BUCKET, "p"), server

    def objects(self) -> int:
        return sum(key.startswith("p/objects/") for key in self.server.objects)

    def leftovers(self) -> list[str]:
        return list(self.server.objects)

    def damage(self) -> None:
        self.server.objects[OBJECT] = b"other"


@pytest.fixture(scope="module")
def running():
    with S3Server() as server:
        yield server


@pytest.fixture
def server(running):
    """An empty service without faults; one for all tests, because a client takes a while to be made."""
    running.reset()
    return running


@pytest.fixture(params=[OnDisk, OnS3])
def kept(request, tmp_path, server):
    return request.param(tmp_path / "storage" if request.param is OnDisk else server)


# --- What all promise ------------------------------------------------------------------------------------------


def test_the_same_bytes_are_kept_once_and_go_with_their_last_task(kept):
    assert put(kept.storage, "a") == put(kept.storage, "b") == ADDRESS
    assert kept.objects() == 1

    assert kept.storage.remove("a") == 0
    assert kept.storage.get(ADDRESS) == b"content"
    assert kept.storage.remove("b") == len(b"content")

    with pytest.raises(PermanentError, match="was removed with its task"):
        kept.storage.get(ADDRESS)
    assert kept.storage.remove("b") == 0
    assert kept.leftovers() == []


def test_a_task_keeps_all_that_it_made_and_nothing_of_others_goes_with_it(kept):
    addresses = [put(kept.storage, "a", bytes([number])) for number in range(5)]
    other = put(kept.storage, "ab", b"other")
    assert [kept.storage.get(address) for address in addresses] == [bytes([number]) for number in range(5)]
    assert kept.storage.remove("a") == 5
    assert kept.storage.get(other) == b"other"


def test_bytes_put_twice_by_a_task_are_one_reference(kept):
    put(kept.storage, "a")
    put(kept.storage, "a")
    assert kept.storage.remove("a") == len(b"content")


def test_the_size_of_an_artefact_is_known_without_reading_it(kept):
    assert kept.storage.size(put(kept.storage, "a")) == len(b"content")
    kept.storage.remove("a")
    with pytest.raises(PermanentError, match="was removed with its task"):
        kept.storage.size(ADDRESS)


def test_nothing_is_an_artefact_too(kept):
    address = put(kept.storage, "a", b"")
    assert kept.storage.get(address) == b""


def test_what_another_task_refers_to_stays_for_it(kept):
    put(kept.storage, "a")
    kept.storage.refer(ADDRESS, "b")
    kept.storage.refer(ADDRESS, "b")
    assert kept.storage.remove("a") == 0
    assert kept.storage.get(ADDRESS) == b"content"
    assert kept.storage.remove("b") == len(b"content")
    assert kept.leftovers() == []


def test_what_is_gone_cannot_be_referred_to_and_leaves_nothing(kept):
    put(kept.storage, "a")
    kept.storage.remove("a")
    with pytest.raises(PermanentError, match="was removed with its task"):
        kept.storage.refer(ADDRESS, "b")
    assert kept.leftovers() == []


@pytest.mark.parametrize("address", ["store://sha256/../../etc/passwd", "file:///etc/passwd", ""])
def test_an_address_that_is_none_reads_and_refers_to_nothing(kept, address):
    with pytest.raises(PermanentError, match="64 hex digits"):
        kept.storage.get(address)
    with pytest.raises(PermanentError, match="64 hex digits"):
        kept.storage.refer(address, "a")


@pytest.mark.parametrize("task_id", ["../x", "..", ".", "a/b", ""])
def test_a_task_id_that_is_a_path_names_no_folder(kept, task_id):
    with pytest.raises(PermanentError, match="to name a folder"):
        put(kept.storage, task_id)
    assert kept.storage.remove(task_id) == 0


def test_a_damaged_artefact_is_told_and_never_returned(kept):
    put(kept.storage, "a")
    kept.damage()
    with pytest.raises(PermanentError, match="damaged"):
        kept.storage.get(ADDRESS)


def test_two_who_remove_the_same_task_at_once_disturb_nobody(tmp_path):
    one, other = DiskStorage(tmp_path), DiskStorage(tmp_path)
    put(one, "a")
    locked = one._locked

    @contextmanager
    def late():
        assert other.remove("a") == len(b"content")
        with locked():
            yield

    one._locked = late
    assert one.remove("a") == 0


@pytest.mark.parametrize("seed", range(5))
def test_more_tasks_share_an_artefact_than_a_file_may_have_links_until_the_last_one_goes(tmp_path, seed):
    kept, chance = OnDisk(tmp_path, most_links=3), random.Random(seed)
    sharing: set[str] = set()
    for number in range(200):
        task_id = f"t{chance.randrange(12)}"
        if task_id in sharing:
            kept.storage.remove(task_id)
            sharing.remove(task_id)
        elif sharing and number % 2:
            kept.storage.refer(ADDRESS, task_id)
            sharing.add(task_id)
        else:
            put(kept.storage, task_id)
            sharing.add(task_id)
        assert kept.objects() >= len(sharing) / 2, f"seed {seed}, step {number}"
        assert not sharing or kept.storage.get(ADDRESS) == b"content", f"seed {seed}, step {number}"
    for task_id in sharing:
        kept.storage.remove(task_id)
    assert kept.leftovers() == []


def test_what_a_kill_left_half_written_is_written_over(tmp_path, monkeypatch):
    kept = OnDisk(tmp_path)

    def killed(_descriptor):
        raise KeyboardInterrupt

    for content in (b"first", b"second"):
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(disk_storage.os, "fsync", killed)
            put(kept.storage, "a", content)
    assert (kept.objects(), len(kept.leftovers())) == (0, 1)
    address = put(kept.storage, "a")
    assert (kept.storage.get(address), kept.storage.remove("a"), kept.leftovers()) == (b"content", 7, [])


def test_putting_and_removing_at_once_loses_nothing_that_is_referred_to(kept):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    lost: list[str] = []

    def churn(name: str) -> None:
        chance = random.Random(f"{seed}{name}")
        for number in range(8):
            task_id = f"{name}{number}"
            put(kept.storage, task_id)
            if chance.random() < 0.5 and kept.storage.get(ADDRESS) != b"content":
                lost.append(task_id)
            kept.storage.remove(task_id)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    put(kept.storage, "keeper")
    for thread in threads:
        thread.join()
    assert lost == []
    assert kept.storage.get(ADDRESS) == b"content"
    kept.storage.remove("keeper")
    assert kept.leftovers() == []


# --- Files, and parts of them -----------------------------------------------------------------------------------


def put_file(storage, task_id: str, content: bytes = b"content") -> str:
    with TemporaryFile() as file:
        file.write(content)
        address = storage.put_file(file, sha256=hashlib.sha256(content).hexdigest(), mime="text/plain", task_id=task_id)
        assert not file.closed
    return address


def test_a_file_is_kept_as_its_bytes_are_and_once(kept):
    assert put_file(kept.storage, "a") == put(kept.storage, "b") == put_file(kept.storage, "c") == ADDRESS
    assert (kept.objects(), kept.storage.get(ADDRESS)) == (1, b"content")
    assert [kept.storage.remove(task_id) for task_id in "abc"] == [0, 0, len(b"content")]
    assert kept.leftovers() == []


@pytest.fixture
def small_parts(monkeypatch):
    """Parts that a real service would refuse as too small."""
    monkeypatch.setattr(s3_bucket, "PART_BYTES", 100_000)


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 4096], ids=["empty", "large"])
def test_a_file_of_any_size_is_kept_whole(kept, content, small_parts):
    address = put_file(kept.storage, "a", content)
    assert kept.storage.size(address) == len(content)
    assert b"".join(kept.storage.chunks(address)) == content
    assert all(0 < len(piece) <= 1024**2 for piece in kept.storage.chunks(address))
    kept.storage.remove("a")
    assert kept.leftovers() == []


@pytest.mark.parametrize("content", [b"", b"content"])
def test_any_part_is_what_a_slice_is(kept, content):
    address = put(kept.storage, "a", content)
    for first, count in product([0, 1, 6, 7, 8, 10**12], [None, 0, 1, 6, 7, 8, 10**12]):
        part = content[first:] if count is None else content[first : first + count]
        assert b"".join(kept.storage.chunks(address, first, count)) == part, (first, count)


@pytest.mark.parametrize(("first", "count"), [(0, None), (3, None), (0, 0), (3, 2)])
def test_no_part_of_what_is_gone_is_read_and_that_is_told_at_once(kept, first, count):
    put(kept.storage, "a")
    kept.storage.remove("a")
    with pytest.raises(PermanentError, match="was removed with its task"):
        kept.storage.chunks(ADDRESS, first, count)
    with pytest.raises(PermanentError, match="64 hex digits"):
        kept.storage.chunks("store://sha256/../../etc/passwd", first, count)


@pytest.mark.parametrize("task_id", ["../x", "..", "a/b", ""])
def test_a_file_for_a_task_id_that_is_a_path_leaves_nothing(kept, task_id):
    with pytest.raises(PermanentError, match="to name a folder"):
        put_file(kept.storage, task_id)
    assert kept.leftovers() == []


def test_what_is_being_read_on_a_disk_is_read_to_its_end_though_it_is_removed(tmp_path):
    storage, content = DiskStorage(tmp_path), bytes(10**6)
    pieces = storage.chunks(put(storage, "a", content))
    begin = next(pieces)
    storage.remove("a")
    assert begin + b"".join(pieces) == content


def test_a_large_file_that_a_kill_left_half_copied_goes_with_the_next_one_or_a_removal(tmp_path):
    kept = OnDisk(tmp_path)
    for clear in (lambda: put_file(kept.storage, "a"), lambda: kept.storage.remove("nobody")):
        left = tmp_path / "arriving-1"
        left.write_bytes(b"half")
        clear()
        assert not left.exists()


def test_a_large_file_that_is_being_copied_is_left_alone_and_keeps_nobody_waiting(tmp_path):
    kept, content = OnDisk(tmp_path), b"content"

    class Slow(BytesIO):
        def readinto(self, _buffer):
            raise AssertionError("copied by read")

        def read(self, size=-1):
            piece = super().read(size)
            if piece:
                kept.storage.remove("nobody")
                assert put_file(kept.storage, "b", b"other") == put(kept.storage, "c", b"other")
            return piece

    digest = hashlib.sha256(content).hexdigest()
    assert kept.storage.put_file(Slow(content), sha256=digest, mime="text/plain", task_id="a") == ADDRESS
    assert kept.storage.get(ADDRESS) == content
    for task_id in "abc":
        kept.storage.remove(task_id)
    assert kept.leftovers() == []


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files that never had a name")
def test_a_file_without_a_name_becomes_the_object_and_one_with_a_name_never_does(tmp_path):
    kept, content = OnDisk(tmp_path / "kept"), b"content"
    named = tmp_path / "named"
    with named.open("w+b") as file:
        file.write(content)
        kept.storage.put_file(file, sha256=ADDRESS[-64:], mime="text/plain", task_id="a")
        file.write(b" is changed by its owner")
    assert kept.storage.get(ADDRESS) == content
    kept.storage.remove("a")
    with os.fdopen(os.open(tmp_path, os.O_RDWR | os.O_TMPFILE), "w+b") as file:
        file.write(content)
        for task_id in "bc":
            kept.storage.put_file(file, sha256=ADDRESS[-64:], mime="text/plain", task_id=task_id)
        assert os.fstat(file.fileno()).st_nlink == 3, "the object, and two who refer to it"
    assert (kept.objects(), kept.storage.get(ADDRESS)) == (1, content)
    assert [kept.storage.remove(task_id) for task_id in "bc"] == [0, len(content)]
    assert kept.leftovers() == []


def test_a_file_whose_copy_fails_leaves_nothing_on_a_disk(tmp_path):
    kept = OnDisk(tmp_path)

    class Broken(BytesIO):
        def read(self, size=-1):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        kept.storage.put_file(Broken(b"content"), sha256=ADDRESS[-64:], mime="text/plain", task_id="a")
    assert kept.leftovers() == []


def test_a_file_that_more_tasks_share_than_a_file_may_have_links_is_copied(tmp_path):
    kept = OnDisk(tmp_path, most_links=3)
    for number in range(5):
        put_file(kept.storage, f"t{number}")
    assert kept.objects() == 3
    for number in range(5):
        kept.storage.remove(f"t{number}")
    assert kept.leftovers() == []


LARGE = bytes(200_001)


def test_a_large_file_goes_to_s3_part_by_part(server, small_parts):
    storage = S3Storage(server.client(), BUCKET, "p")
    address = put_file(storage, "a", LARGE)
    assert storage.size(address) == len(LARGE)
    sent = [method for method, key in server.requests if "/objects/" in key]
    assert sent == ["HEAD", "POST", "PUT", "PUT", "PUT", "POST", "HEAD"]
    assert server.uploads == {}


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("fault", [503, "cut"])
def test_a_large_file_that_fails_at_any_step_is_aborted_and_leaves_nothing_once_its_task_is_removed(
    server, small_parts, number, fault
):
    storage = S3Storage(server.client(), BUCKET, "p")
    at_request(server, number, lambda: fault)
    with pytest.raises(TransientError):
        put_file(storage, "a", LARGE)
    server.fault = lambda _method, _key: None
    assert server.uploads == {}
    storage.remove("a")
    assert list(server.objects) == []


def test_a_part_that_is_cut_off_is_told(server):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")
    server.fault = lambda method, _key: "cut" if method == "GET" else None
    with pytest.raises(TransientError, match="cut off"):
        list(storage.chunks(ADDRESS, 1, 5))


@pytest.mark.parametrize("number", range(1, 10))
def test_a_part_that_is_read_in_the_middle_of_a_removal_is_whole(server, number):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")

    def come() -> None:
        put(storage, "b")
        assert b"".join(storage.chunks(ADDRESS, 1, 3)) == b"ont"

    at_request(server, number, come)
    storage.remove("a")


# --- S3: at every step -----------------------------------------------------------------------------------------


def at_request(server: S3Server, number: int, do) -> None:
    """Let something happen just before the request of this number is answered, once."""
    server.requests.clear()

    def fault(_method: str, _key: str):
        if len(server.requests) == number:
            server.fault = lambda _method, _key: None
            return do()
        return None

    server.fault = fault


REMOVAL_REQUESTS = 9
"""list tasks, drop the reference, list, copy, delete, list, size, drop aside, drop the entry."""


@pytest.mark.parametrize("number", range(1, REMOVAL_REQUESTS + 1))
@pytest.mark.parametrize("way", ["put", "refer"])
def test_who_comes_at_any_step_of_a_removal_keeps_the_bytes_or_is_told(server, number, way):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")
    came: list[str] = []

    def come() -> None:
        if way == "put":
            came.append(put(storage, "b"))
            return
        try:
            storage.refer(ADDRESS, "b")
            came.append(ADDRESS)
        except PermanentError:
            came.append("gone")

    at_request(server, number, come)
    storage.remove("a")

    assert len(came) == 1
    if came == [ADDRESS]:
        assert storage.get(ADDRESS) == b"content"
        storage.remove("b")
    assert list(server.objects) == []


@pytest.mark.parametrize("number", range(1, REMOVAL_REQUESTS + 1))
def test_what_is_read_in_the_middle_of_a_removal_is_whole(server, number):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")

    def come() -> None:
        put(storage, "b")
        assert storage.get(ADDRESS) == b"content"

    at_request(server, number, come)
    storage.remove("a")


@pytest.mark.parametrize("number", range(1, REMOVAL_REQUESTS + 1))
@pytest.mark.parametrize("referred", [False, True])
def test_a_removal_that_died_at_any_step_is_ended_by_the_next(server, number, referred):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")

    def die() -> int:
        if referred:
            put(storage, "b")
        return 503

    at_request(server, number, die)
    with pytest.raises(TransientError, match=r"503|SlowDown"):
        storage.remove("a")
    if referred:
        assert storage.get(ADDRESS) == b"content", "also before anybody ended it"
    storage.remove("a")

    if referred:
        assert OBJECT in server.objects
        storage.remove("b")
    assert [key for key in server.objects if not key.startswith("p/removed/")] == []


@pytest.mark.parametrize("number", range(1, 5))
def test_a_put_that_died_at_any_step_leaves_nothing_once_its_task_is_removed(server, number):
    storage = S3Storage(server.client(), BUCKET, "p")
    at_request(server, number, lambda: "cut")
    with pytest.raises(TransientError):
        put(storage, "a")
    storage.remove("a")
    assert list(server.objects) == []


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("way", ["put", "refer"])
def test_a_removal_that_comes_at_any_step_of_a_put_or_refer_takes_nothing_from_it(server, number, way):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")

    def remove() -> None:
        storage.remove("a")

    at_request(server, number, remove)
    try:
        put(storage, "b") if way == "put" else storage.refer(ADDRESS, "b")
    except PermanentError:
        assert way == "refer"
        storage.remove("a")
        assert list(server.objects) == []
    else:
        assert storage.get(ADDRESS) == b"content"


def test_bytes_that_come_back_while_they_are_looked_for_are_found(server):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "b")
    aside = f"p/removed/{ADDRESS[-64:]}/a/1"
    server.objects[aside] = server.objects.pop(OBJECT)

    def come_back() -> None:
        server.objects[OBJECT] = server.objects.pop(aside)

    at_request(server, 2, come_back)
    assert storage.get(ADDRESS) == b"content"


@pytest.mark.parametrize("number", range(1, REMOVAL_REQUESTS + 1))
def test_two_removals_of_the_same_task_at_once_take_nothing_from_others(server, number):
    storage = S3Storage(server.client(), BUCKET, "p")
    put(storage, "a")

    def both() -> None:
        storage.remove("a")
        put(storage, "b")

    at_request(server, number, both)
    storage.remove("a")
    assert storage.get(ADDRESS) == b"content"


# --- S3: faults ------------------------------------------------------------------------------------------------


def test_a_task_with_more_artefacts_than_a_page_shows_is_removed_whole(server):
    server.page = 2
    storage = S3Storage(server.client(), BUCKET)
    for number in range(5):
        put(storage, "a", bytes([number]))
    assert storage.remove("a") == 5
    assert list(server.objects) == []


@pytest.mark.parametrize("fault", [503, 500, 429, "cut"])
def test_a_service_that_does_not_answer_now_is_asked_once_and_the_task_tried_again(server, fault):
    storage = S3Storage(server.client(), BUCKET)
    put(storage, "a")
    server.requests.clear()
    server.fault = lambda _method, _key: fault
    with pytest.raises(TransientError):
        storage.get(ADDRESS)
    assert len(server.requests) == 1


def test_a_bucket_that_does_not_exist_is_named_and_a_refusal_tells_no_secret(server):
    with pytest.raises(PermanentError, match=r"nothing-here.*NoSuchBucket.*S3_"):
        put(S3Storage(server.client(), "nothing-here"), "a")
    server.fault = lambda _method, _key: 403
    with pytest.raises(PermanentError) as refused:
        put(S3Storage(server.client(), BUCKET), "a")
    assert "planted-secret" not in str(refused.value)
