"""Files in the storage that schedules and replays name: they stay as long as somebody may want them, and no longer."""

import hashlib
from io import BytesIO
from itertools import count

import pytest
from sqlalchemy import func, select, update

from adapters.disk_storage import DiskStorage
from processors import cleanup
from processors.errors import ArtefactGone, InvalidArgument, ServiceUnavailable, TransientError
from records.columns import Now
from records.schedules import SETTINGS, schedules
from records.task_moves import Failure
from records.task_records import Draft
from records.uploads import uploads as table
from services import scheduled_files, submission, uploads
from services.celery_service import celery_service
from services.scheduling import draft_of_schedule
from services.wiring import parts

NUMBERS = count()
TASK = "file_processing.process_document"


@pytest.fixture(autouse=True)
def storage(tmp_path, monkeypatch):
    """An empty storage; what is submitted waits."""
    own = DiskStorage(tmp_path / "storage")
    monkeypatch.setitem(parts().__dict__, "storage", own)
    monkeypatch.setattr(submission, "publish", len)
    monkeypatch.setattr(type(parts().publisher), "check", lambda _: None)
    parts().database.write(lambda c: c.execute(table.delete()))
    return own


@pytest.fixture
def name():
    """A schedule's name; there is none of it when the test has ended."""
    made = f"files-{next(NUMBERS)}"
    yield made
    parts().database.write(lambda c: c.execute(schedules.delete().where(schedules.c.name == made)))


def uploaded(content: bytes) -> str:
    """The place of a file that was uploaded."""
    sha256 = hashlib.sha256(content).hexdigest()
    kept = uploads.keep(BytesIO(content), sha256=sha256, size=len(content), name="a.md", mime="text/plain", tenant=None)
    return kept.file_path


def scheduled(name: str, place: str) -> None:
    celery_service.add_schedule(name, TASK, every=3600.0, kwargs={"file_path": place})


def a_day_later() -> None:
    """Let the time of every upload be over, and clean up."""
    parts().database.write(lambda c: c.execute(update(table).values(expires_at=Now(-1.0), created_at=Now(-100_000))))
    scheduled_files.renew()
    cleanup.clean_uploads(parts().uploads, parts().storage, lambda *_: None)


def is_there(place: str) -> bool:
    try:
        parts().storage.size(place.rpartition("/")[0])
    except ArtefactGone:
        return False
    return True


def rows() -> int:
    return parts().database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar())


def test_a_file_stays_as_long_as_a_schedule_names_it_and_goes_with_it(name):
    place, other = uploaded(b"wanted"), uploaded(b"not wanted")
    scheduled(name, place)
    for _ in range(3):
        a_day_later()
    assert (is_there(place), is_there(other)) == (True, False)
    celery_service.remove_schedule(name)
    a_day_later()
    assert (is_there(place), rows()) == (False, 0)


def test_a_schedule_that_is_changed_keeps_the_new_file_and_no_longer_the_old_one(name):
    first, second = uploaded(b"first"), uploaded(b"second")
    scheduled(name, first)
    celery_service.change_schedule(name, every=60.0)
    a_day_later()
    assert is_there(first)
    second = uploaded(b"second")
    celery_service.change_schedule(name, kwargs={"file_path": second})
    a_day_later()
    assert (is_there(first), is_there(second), rows()) == (False, True, 1)
    celery_service.change_schedule(name, kwargs={"file_path": second})
    a_day_later()
    assert (is_there(second), rows()) == (True, 1)


def test_a_task_that_a_schedule_has_submitted_and_that_waits_keeps_its_file_when_the_schedule_goes(name, storage):
    place = uploaded(b"waits")
    scheduled(name, place)
    by_hand = celery_service.run_schedule_now(name)
    schedule = parts().schedules.read(name)
    parts().tasks.open(draft_of_schedule(schedule, f"{name}-fired", schedule.next_at))
    celery_service.remove_schedule(name)
    a_day_later()
    a_day_later()
    assert (is_there(place), rows()) == (True, 0)
    storage.remove(by_hand)
    assert is_there(place)
    storage.remove(f"{name}-fired")
    assert not is_there(place)


def test_a_task_that_is_run_by_hand_keeps_its_file_from_then_on(name, storage):
    place = uploaded(b"by hand")
    scheduled(name, place)
    task_id = celery_service.run_schedule_now(name)
    celery_service.remove_schedule(name)
    parts().database.write(lambda c: c.execute(update(table).values(expires_at=Now(-1.0))))
    cleanup.clean_uploads(parts().uploads, storage, lambda *_: None)
    assert is_there(place)
    storage.remove(task_id)
    assert not is_there(place)


def test_a_schedule_of_the_settings_keeps_its_file_from_the_next_clean_up_on(name):
    place = uploaded(b"of the settings")
    scheduled(name, "/elsewhere.md")
    kwargs = {"file_path": place}
    change = update(schedules).where(schedules.c.name == name).values(source=SETTINGS, kwargs=kwargs)
    parts().database.write(lambda c: c.execute(change))
    scheduled_files.renew()
    a_day_later()
    assert is_there(place)


def test_a_file_that_is_gone_is_refused_and_nothing_is_scheduled(name, storage, monkeypatch):
    gone = f"store://sha256/{'0' * 64}"
    with pytest.raises(InvalidArgument, match="kwargs: there is no file at store://sha256/000"):
        scheduled(name, gone)
    assert parts().schedules.read(name) is None
    place = uploaded(b"there")
    scheduled(name, place)
    with pytest.raises(InvalidArgument, match="there is no file"):
        celery_service.change_schedule(name, kwargs={"file_path": gone})
    assert parts().schedules.read(name).kwargs["file_path"] == place

    def away(*_arguments):
        raise TransientError("the storage rests")

    monkeypatch.setattr(storage, "size", away)
    with pytest.raises(ServiceUnavailable, match="rests"):
        celery_service.change_schedule(name, kwargs={"file_path": gone})


def test_a_kill_while_a_file_is_kept_leaves_nothing_for_long(name, storage, monkeypatch):
    place, refer = uploaded(b"killed"), storage.refer

    def killed(*given):
        refer(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "refer", killed)
    with pytest.raises(KeyboardInterrupt):
        scheduled(name, place)
    monkeypatch.undo()
    monkeypatch.setitem(parts().__dict__, "storage", storage)
    assert (parts().schedules.read(name), rows()) == (None, 2)
    a_day_later()
    assert (is_there(place), rows()) == (False, 0)


def test_a_storage_that_rests_keeps_no_clean_up_from_the_rest(name, storage, monkeypatch):
    scheduled(name, uploaded(b"rests"))
    task_id = celery_service.run_schedule_now(name)
    parts().database.write(lambda c: c.execute(table.delete().where(table.c.state == "scheduled")))

    def away(*_arguments):
        raise TransientError("the storage rests")

    monkeypatch.setattr(storage, "size", away)
    monkeypatch.setattr(storage, "refer", away)
    scheduled_files.renew()
    assert parts().tasks.read(task_id) is not None


def test_a_replay_that_waits_keeps_the_files_of_its_arguments(storage):
    first, second = uploaded(b"of the first"), uploaded(b"of the second")
    draft = Draft(f"replayed-{next(NUMBERS)}", TASK, "file_processing", "file_processing", kwargs={"file_path": first})
    parts().tasks.open(draft)
    parts().moves.start(draft.id, 0, "w", "w@host", None)
    parts().moves.fail(draft.id, 1, Failure("It broke.", "PermanentError"))
    again = celery_service.replay_task(draft.id)
    storage.remove(draft.id)
    a_day_later()
    assert (is_there(first), is_there(second)) == (True, False)
    parts().moves.start(again, 0, "w", "w@host", None)
    parts().moves.fail(again, 1, Failure("It broke.", "PermanentError"))
    second = uploaded(b"of the second")
    last = celery_service.replay_task(again, {"file_path": second})
    storage.remove(again)
    a_day_later()
    assert (is_there(first), is_there(second)) == (False, True)
    assert storage.remove(last) == len(b"of the second")
