"""Groups and chords with real workers: seen as a whole, and ended exactly once whatever happens to a member.

`LIVES=long` runs a chord of ten thousand.
"""

from pathlib import Path

import pytest
from celery import chord, group
from sqlalchemy import update

from lives import figures, lasting
from processors.errors import UnknownGroup
from records.chords import chords
from records.columns import Now
from records.task_records import TaskState, columns, task_records
from service_tasks import add, keep, mark_body, member, refuse, total, work_until
from services.celery_service import celery_service
from services.groups import sweep
from services.wiring import parts
from waiting import until

pytestmark = pytest.mark.usefixtures("installation")

MEMBERS = int(lasting(300, 10_000))
PER_FATE = MEMBERS // 100
"""One of a hundred."""


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def ended(task_id: str):
    return until(
        lambda: (record := parts().tasks.read(task_id)) and record.final and record,
        lasting(120, 1_800),
        what=f"{task_id} is final",
    )


def test_a_chord_whose_members_crash_fail_once_and_come_twice_has_its_body_exactly_once(tmp_path):
    fates = dict.fromkeys(range(PER_FATE), "crash") | dict.fromkeys(range(PER_FATE, 2 * PER_FATE), "retry")
    body = tmp_path / "body"
    header = [member.s(str(tmp_path), number, fates.get(number, "none")) for number in range(MEMBERS)]

    result = chord(header, mark_body.s(str(body))).apply_async()
    twice = [part.id for part in result.parent.results[-PER_FATE:]]
    assert len(parts().publisher.publish([parts().tasks.read(task_id) for task_id in twice])) == PER_FATE

    record = ended(result.id)
    assert (record.state, record.result) == ("SUCCESS", MEMBERS)
    told = celery_service.get_group(result.parent.id)
    figures(
        f"a chord of {MEMBERS}, {PER_FATE} each crash, fail once and come twice",
        done=told["done"],
        failed=told["failed"],
        bodies=lines(body),
        seconds=(record.finished_at - parts().tasks.read(twice[0]).created_at).total_seconds(),
    )
    assert (told["total"], told["done"], told["failed"], told["progress"]) == (MEMBERS, MEMBERS, 0, 100.0)
    assert [parts().tasks.read(task_id).run for task_id in twice] == [1] * PER_FATE, "a second message starts nothing"
    assert sweep(older_than=0) == 0
    assert lines(body) == 1


def test_a_chords_results_come_in_the_order_of_its_header():
    result = chord([add.s(number, 0) for number in range(12)], keep.s()).apply_async()
    assert ended(result.id).result == list(range(12))


def test_how_far_a_group_is_is_seen_while_it_runs(tmp_path):
    release = tmp_path / "release"
    running = work_until.s(str(release), str(tmp_path / "marks"))
    grouped = group(add.s(1, 1), refuse.si("/dev/null"), running).apply_async()

    def half_done() -> dict:
        seen = celery_service.get_group(grouped.id)
        return seen if (seen["done"], seen["progress"]) == (2, pytest.approx(83.3)) else {}

    seen = until(half_done, what="two have ended and one is half done")
    assert (seen["group_id"], seen["total"], seen["failed"], seen["body"]) == (grouped.id, 3, 1, None)
    assert {one["task_id"]: one["status"] for one in seen["members"]} == dict(
        zip([part.id for part in grouped.results], ["SUCCESS", "FAILURE", "PROGRESS"], strict=True)
    )
    release.touch()
    until(lambda: celery_service.get_group(grouped.id)["done"] == 3, what="all have ended")


def test_a_group_that_never_was_is_unknown():
    with pytest.raises(UnknownGroup, match="No group has the id 'never'"):
        celery_service.get_group("never")


def forgotten(header: list, body, states: list[TaskState]):
    """A chord whose members have ended a minute ago, and whose process died before it did anything more."""
    result = chord(header, body).apply_async(countdown=3600)
    members = [part.id for part in result.parent.results]
    assert celery_service.get_group(result.parent.id)["body"]["status"] == "PENDING"

    def work(connection) -> None:
        for number, (task_id, state) in enumerate(zip(members, states, strict=True)):
            error = {"error": "it broke"} if state is TaskState.FAILURE else {"result": number}
            values = {"state": state.value, "finished_at": Now(-60), "relay_at": None, **error}
            connection.execute(update(task_records).where(columns.id == task_id).values(values))
        old = chords.c.group_id == result.parent.id
        connection.execute(update(chords).where(old).values(created_at=Now(-60)))

    parts().database.write(work)
    return result


def test_a_chord_that_was_forgotten_is_finished_by_the_leader_once(tmp_path):
    body = tmp_path / "body"
    counted = forgotten([add.s(0, 0) for _ in range(3)], mark_body.s(str(body)), [TaskState.SUCCESS] * 3)
    failed = forgotten([add.s(0, 0), add.s(0, 0)], total.s(), [TaskState.SUCCESS, TaskState.FAILURE])

    assert (ended(counted.id).state, ended(counted.id).result) == ("SUCCESS", 3)
    assert ended(failed.id).state == "FAILURE"
    assert "it broke" in ended(failed.id).error
    assert sweep(older_than=0) == 0
    assert lines(body) == 1
