"""Uploads: whatever is killed between the row and the storage, the clean-ups leave neither bytes nor rows."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from adapters.disk_storage import DiskStorage
from adapters.s3_storage import S3Storage
from processors.cleanup import clean_uploads
from reading import silent
from records.uploads import ARRIVING_SECONDS, LINGER_SECONDS, Upload, Uploads, reference
from records.uploads import uploads as table
from s3_server import BUCKET, S3Server

CONTENT = b"content"


@pytest.fixture
def uploads(emptied_database) -> Uploads:
    return Uploads(emptied_database)


@pytest.fixture(params=["disk", "s3"])
def storage(request, tmp_path):
    if request.param == "disk":
        yield DiskStorage(tmp_path / "storage")
        return
    with S3Server() as server:
        yield S3Storage(server.client(), BUCKET)


def upload(upload_id: str = "", name: str = "a.txt") -> Upload:
    return Upload(id=upload_id or uuid4().hex, address="store://sha256/x", name=name, type="text/plain", bytes=7)


def put(storage, task_id: str) -> str:
    return storage.put(CONTENT, mime="text/plain", task_id=task_id)


def aged(uploads: Uploads, seconds: float) -> None:
    """Let time pass for all uploads that there are."""

    def work(connection) -> None:
        for row in connection.execute(select(table)).all():
            moved = {"created_at": row.created_at - timedelta(seconds=seconds)}
            moved["expires_at"] = row.expires_at - timedelta(seconds=seconds)
            connection.execute(update(table).where(table.c.id == row.id).values(**moved))

    uploads.database.write(work)


def rows(uploads: Uploads) -> int:
    return len(uploads.database.read(lambda c: c.execute(select(table.c.id)).all()))


def test_an_upload_is_kept_for_its_time_and_no_longer(uploads, storage):
    one = upload(name="Größe \U0001f600.txt")
    uploads.arriving(one)
    address = put(storage, reference(one.id))
    until = uploads.kept(one.id, 7200)
    assert abs(until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)

    aged(uploads, 7100)
    assert clean_uploads(uploads, storage, silent).deleted_count == 0
    assert storage.get(address) == CONTENT
    aged(uploads, 100)
    done = clean_uploads(uploads, storage, silent)
    assert (done.deleted_count, done.bytes, done.items) == (1, len(CONTENT), [reference(one.id)])
    assert rows(uploads) == 0
    with pytest.raises(Exception, match="There is no artefact"):
        storage.get(address)


def test_what_a_task_has_stays_when_its_upload_expires(uploads, storage):
    one = upload()
    uploads.arriving(one)
    address = put(storage, reference(one.id))
    uploads.kept(one.id, 1)
    storage.refer(address, "task")
    aged(uploads, 2)
    assert (clean_uploads(uploads, storage, silent).bytes, rows(uploads)) == (0, 0)
    assert storage.get(address) == CONTENT


@pytest.mark.parametrize("stored", [False, True])
def test_an_upload_that_was_killed_before_it_was_kept_leaves_nothing(uploads, storage, stored):
    one = upload()
    uploads.arriving(one)
    if stored:
        put(storage, reference(one.id))
    assert clean_uploads(uploads, storage, silent).bytes == 0, "it may be going on"
    aged(uploads, ARRIVING_SECONDS)
    assert clean_uploads(uploads, storage, silent).bytes == stored * len(CONTENT)
    assert storage.remove(reference(one.id)) == 0
    assert rows(uploads) == 1, "who was frozen may still store it"
    aged(uploads, LINGER_SECONDS)
    assert clean_uploads(uploads, storage, silent).deleted_count == 1
    assert rows(uploads) == 0


def test_what_was_stored_after_it_was_given_up_is_told_to_who_did_and_goes_with_a_later_clean_up(uploads, storage):
    one = upload()
    uploads.arriving(one)
    aged(uploads, ARRIVING_SECONDS)
    clean_uploads(uploads, storage, silent)
    put(storage, reference(one.id))
    assert uploads.kept(one.id, 7200) is None
    assert clean_uploads(uploads, storage, silent).bytes == len(CONTENT)


@pytest.mark.parametrize("kill_at", ["remove", "forget"])
def test_a_clean_up_that_is_killed_between_bytes_and_row_is_ended_by_the_next(uploads, storage, kill_at):
    one = upload()
    uploads.arriving(one)
    put(storage, reference(one.id))
    uploads.kept(one.id, 1)
    aged(uploads, 2)

    class Killed(Uploads):
        def remove(self, ids):
            if kill_at == "forget":
                super().remove(ids)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean_uploads(Killed(uploads.database), storage, silent)
    assert storage.remove(reference(one.id)) == 0
    clean_uploads(uploads, storage, silent)
    assert rows(uploads) == 0


def test_one_whose_bytes_cannot_be_removed_is_told_and_stays_and_the_others_go(uploads):
    for _ in range(3):
        one = upload()
        uploads.arriving(one)
        uploads.kept(one.id, 1)
    aged(uploads, 2)

    class Storage:
        def remove(self, task_id: str) -> int:
            if task_id == reference(one.id):
                raise PermissionError(13, "Permission denied")
            return 1

    done = clean_uploads(uploads, Storage(), silent)
    assert (done.deleted_count, done.bytes, rows(uploads)) == (2, 2, 1)
    assert done.errors == [f"the bytes of {reference(one.id)}: Permission denied"]


def test_more_than_a_batch_of_uploads_goes_at_once_also_beside_some_that_stay(uploads, monkeypatch):
    monkeypatch.setattr("processors.cleanup.BATCH", 3)
    removed: list[str] = []

    class Storage:
        def remove(self, task_id: str) -> int:
            removed.append(task_id)
            return 0

    ids = [upload().id for _ in range(10)]
    for number, upload_id in enumerate(ids):
        uploads.arriving(upload(upload_id))
        if number % 2:
            uploads.kept(upload_id, 1)
    aged(uploads, ARRIVING_SECONDS)
    assert clean_uploads(uploads, Storage(), silent).deleted_count == 5
    assert sorted(removed) == sorted(map(reference, ids))
    assert rows(uploads) == 5


def test_an_upload_is_given_up_only_while_it_is_not_kept(uploads):
    one, other = upload(), upload()
    uploads.arriving(one)
    uploads.arriving(other)
    uploads.kept(other.id, 60)
    uploads.give_up(one.id)
    uploads.give_up(other.id)
    assert rows(uploads) == 1
    assert uploads.kept(one.id, 60) is None
    assert uploads.kept(other.id, 60) is None, "once"
