"""Uploads in the service: kept or nothing, gone ones named, and those of a task kept for it."""

from io import BytesIO
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update

from adapters.disk_storage import DiskStorage
from adapters.s3_storage import S3Storage
from processors.errors import ArtefactGone, InvalidArgument, ServiceUnavailable, TransientError
from records.columns import Now
from records.task_records import FINAL, TaskState
from records.uploads import Uploads
from records.uploads import uploads as table
from s3_server import BUCKET, S3Server
from services import uploads
from services.celery_service import celery_service
from services.wiring import parts, parts_replaced

CONTENT = b"content"
SHA256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
URI = f"store://sha256/{SHA256}"


@pytest.fixture(params=["disk", "s3"])
def storage(request, tmp_path):
    if request.param == "disk":
        yield DiskStorage(tmp_path / "storage")
        return
    with S3Server() as server:
        yield S3Storage(server.client(), BUCKET)


@pytest.fixture
def records():
    """What is known of tasks: their states by their ids."""
    return {}


@pytest.fixture
def kept(emptied_database, storage, records):
    def is_final(task_id: str):
        return records[task_id] in FINAL if task_id in records else None

    own = SimpleNamespace(uploads=Uploads(emptied_database), storage=storage, tasks=SimpleNamespace(is_final=is_final))
    with parts_replaced(own):
        yield own


def keep(name: str = "a.txt"):
    return uploads.keep(BytesIO(CONTENT), sha256=SHA256, size=7, name=name, mime="text/plain", tenant=None)


def rows(kept) -> int:
    return kept.uploads.database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar())


def test_an_upload_is_kept_and_has_a_place(kept):
    done = keep("Größe 1.txt")
    assert done.file_path == f"{URI}/Gr%C3%B6%C3%9Fe%201.txt"
    assert kept.storage.get(URI) == CONTENT
    assert kept.storage.remove(f"upload-{done.upload.id}") == len(CONTENT)


def test_the_same_file_twice_is_two_uploads_of_the_same_bytes(kept):
    first, second = keep(), keep()
    assert first.upload.id != second.upload.id
    assert kept.storage.remove(f"upload-{first.upload.id}") == 0
    assert kept.storage.get(URI) == CONTENT


@pytest.mark.parametrize("fault", [TransientError("S3 rests"), OSError(28, "No space left on device")])
def test_what_the_storage_does_not_take_leaves_nothing(kept, fault, monkeypatch):
    stored = kept.storage.put_file

    def broken(*arguments, **options):
        stored(*arguments, **options)
        raise fault

    monkeypatch.setattr(kept.storage, "put_file", broken)
    with pytest.raises(ServiceUnavailable if isinstance(fault, TransientError) else OSError):
        keep()
    assert rows(kept) == 0
    with pytest.raises(ArtefactGone):
        kept.storage.get(URI)


def test_what_took_too_long_to_be_stored_is_refused_and_not_kept(kept, monkeypatch):
    monkeypatch.setattr(kept.uploads, "kept", lambda _id, _seconds: None)
    with pytest.raises(ServiceUnavailable, match="send it again"):
        keep()
    with pytest.raises(ArtefactGone):
        kept.storage.get(URI)


def test_arguments_that_name_a_file_that_is_gone_are_refused_by_their_name(kept):
    arguments = {"file_path": f"{URI}/a.txt", "items": [{"files": ["x", URI]}]}
    with pytest.raises(InvalidArgument, match=f"^file_path: there is no file at {URI}: .* upload it again"):
        uploads.check_stored(arguments)
    with pytest.raises(InvalidArgument, match=r"^items\.0\.files\.1: there is no file"):
        uploads.check_stored(arguments | {"file_path": "/a"})
    keep()
    uploads.check_stored(arguments)


@pytest.mark.parametrize("text", ["/a", "store://", f"{URI}0", f"see {URI}", f"{URI}/a/b", ""])
def test_what_only_looks_like_a_file_in_the_storage_is_none(text):
    assert list(uploads.stored_in({"text": text, "more": [text, 1, None, 0.5, True]})) == []


def test_a_task_that_waits_keeps_its_files_longer_than_their_upload(kept, records):
    records["t"] = TaskState.PENDING
    done = keep()
    uploads.keep_for("t", {"file_path": done.file_path, "again": URI})
    assert kept.storage.remove(f"upload-{done.upload.id}") == 0
    assert kept.storage.get(URI) == CONTENT
    assert kept.storage.remove("t") == len(CONTENT)


@pytest.mark.parametrize("state", [None, TaskState.SUCCESS])
def test_a_task_that_has_ended_or_was_removed_keeps_nothing(kept, records, state):
    if state:
        records["t"] = state
    done = keep()
    uploads.keep_for("t", {"file_path": URI})
    assert kept.storage.remove(f"upload-{done.upload.id}") == len(CONTENT)


def test_a_task_that_is_removed_meanwhile_keeps_nothing(kept, records, monkeypatch):
    records["t"] = TaskState.PENDING
    done, refer = keep(), kept.storage.refer
    monkeypatch.setattr(kept.storage, "refer", lambda *given: refer(*given) or records.clear())
    uploads.keep_for("t", {"file_path": URI})
    assert kept.storage.remove(f"upload-{done.upload.id}") == len(CONTENT)


def test_a_file_that_goes_between_the_look_and_the_submit_is_left_to_the_task(kept, records, caplog):
    records["t"] = TaskState.PENDING
    uploads.keep_for("t", {"file_path": URI})
    assert "The task t cannot keep its file yet: There is no artefact" in caplog.text


def test_a_database_that_goes_after_the_submit_leaves_the_files_to_the_task(kept, monkeypatch, caplog):
    def away(_task_id):
        raise ServiceUnavailable("the database rests")

    monkeypatch.setattr(kept.tasks, "is_final", away)
    uploads.keep_for("t", {"file_path": URI})
    assert "The task t may not keep its files yet: the database rests" in caplog.text


def test_a_storage_that_does_not_answer_is_told_as_that(kept, monkeypatch):
    def away(_address):
        raise TransientError("S3 rests")

    monkeypatch.setattr(kept.storage, "size", away)
    with pytest.raises(ServiceUnavailable, match="S3 rests"):
        uploads.check_stored({"file_path": URI})


@pytest.mark.parametrize("scheduled", [True, False])
def test_the_clean_up_leaves_an_upload_alone_that_a_schedule_names(inline_service, scheduled):
    done = keep()
    if scheduled:
        kwargs = {"file_path": done.file_path}
        celery_service.add_schedule("of-a-file", "file_processing.process_document", every=3600.0, kwargs=kwargs)
    parts().database.write(lambda c: c.execute(update(table).values(expires_at=Now(-1.0))))
    result = celery_service.get_task_result(celery_service.cleanup_old_tasks())
    assert result["items"] == [f"upload-{done.upload.id}"]
    if scheduled:
        assert parts().storage.get(URI) == CONTENT
    else:
        with pytest.raises(ArtefactGone):
            parts().storage.get(URI)
