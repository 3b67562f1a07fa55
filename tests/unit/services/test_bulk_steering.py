"""Steering a bulk of mails: pause, resume, cancel, expire, send again; and what is told of it meanwhile."""

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from sqlalchemy import or_, select

from mail_rows import ScriptedMailer
from processors.errors import InvalidArgument, TransportFault, UnknownTask
from processors.interfaces import Outcome
from records.task_moves import Failure
from records.task_records import Draft, columns
from services.celery_service import celery_service
from services.wiring import Parts, parts

REFUSED = Outcome("refused", 550, "5.7.1", "no")


@pytest.fixture
def mailer(monkeypatch) -> ScriptedMailer:
    mailer = ScriptedMailer()
    monkeypatch.setattr(Parts, "mailer", mailer)
    return mailer


def mails_to(*names: str) -> list[dict[str, str]]:
    return [{"to_email": f"{name}@example.com", "subject": "News", "body": "Hello"} for name in names]


def numbered(count: int, first: int = 0) -> list[dict[str, str]]:
    return mails_to(*(f"r{number}" for number in range(first, first + count)))


def info(task_id: str):
    return celery_service.get_task_status(task_id)["info"]


def tasks_of(bulk_id: str):
    ids = select(columns.id).where(columns.parent_id == bulk_id, columns.finished_at.is_(None))
    records = [parts().tasks.read(one) for one in parts().database.read(lambda c: c.execute(ids).scalars().all())]
    return sorted(records, key=lambda one: one.kwargs["first"])


def whom(mailer: ScriptedMailer) -> list[str]:
    return [address.split("@")[0] for recipients in mailer.sent for address in recipients]


# --- Pausing ----------------------------------------------------------------------------------------------------


def test_a_paused_bulk_sends_nothing_and_goes_on_in_its_old_distances(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(6), batch_size=2, delay_between_batches=100)
    assert whom(mailer) == ["r0", "r1"]
    inline_service.advance(40)
    due = {one.kwargs["first"]: one.due_at for one in tasks_of(bulk_id)}

    assert celery_service.pause_task(bulk_id)
    assert not celery_service.pause_task(bulk_id), "it is paused"
    inline_service.advance(500)
    assert whom(mailer) == ["r0", "r1"]
    told = info(bulk_id)
    assert (told["status"], told["waits_for"], told["done"], told["total"]) == ("paused", "pause", 2, 6)
    assert {info(one.id)["waits_for"] for one in tasks_of(bulk_id)} == {"pause"}

    assert celery_service.resume_task(bulk_id)
    assert not celery_service.resume_task(bulk_id), "it is not paused any more"
    assert inline_service.run_due() == 0
    gaps = [one.due_at - due[one.kwargs["first"]] for one in tasks_of(bulk_id)]
    assert max(gaps) - min(gaps) < timedelta(seconds=0.01), "all are as much later"
    inline_service.advance(61)
    assert whom(mailer) == ["r0", "r1", "r2", "r3"]
    inline_service.advance(101)
    assert celery_service.get_task_result(bulk_id)["sent"] == 6


def test_what_was_due_before_the_pause_and_had_not_begun_goes_at_once_after_it(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(2), batch_size=1, delay_between_batches=10)
    parts().limits.pause("email")
    inline_service.advance(20)
    celery_service.pause_task(bulk_id)
    parts().limits.resume("email")
    inline_service.advance(1)
    assert whom(mailer) == ["r0"]
    celery_service.resume_task(bulk_id)
    inline_service.advance(1)
    assert whom(mailer) == ["r0", "r1"]


def test_another_bulk_and_single_mails_are_not_held_up_by_a_pause(inline_service, mailer):
    paused = celery_service.send_bulk_emails(numbered(4), batch_size=2, delay_between_batches=10)
    celery_service.pause_task(paused)
    other = celery_service.send_bulk_emails(mails_to("a", "b"), batch_size=1, delay_between_batches=10)
    single = celery_service.send_email("c@example.com", "s", "b")
    inline_service.advance(30)
    assert celery_service.get_task_result(other)["sent"] == 2
    assert celery_service.get_task_result(single)["accepted"] == ["c@example.com"]
    assert info(paused)["done"] == 2


def test_who_was_put_off_when_the_bulk_was_paused_is_tried_again_after_it(inline_service, mailer):
    mailer.answers["r1"] = Outcome("deferred", 450, "4.2.0", "later")
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    assert (info(bulk_id)["done"], info(bulk_id)["deferred"], info(bulk_id)["failed"]) == (1, 1, 0)
    celery_service.pause_task(bulk_id)
    del mailer.answers["r1"]
    inline_service.advance(1000)
    assert whom(mailer) == ["r0", "r1"]
    celery_service.resume_task(bulk_id)
    inline_service.run_due()
    assert celery_service.get_task_result(bulk_id)["sent"] == 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda _: celery_service.pause_task("nobody"), UnknownTask, "nobody"),
        (lambda _: celery_service.resume_task("nobody"), UnknownTask, "nobody"),
        (celery_service.pause_task, InvalidArgument, "has no parts to be paused"),
        (celery_service.resend_failed, InvalidArgument, "is no bulk of mails"),
        (lambda _: celery_service.resend_failed("nobody"), UnknownTask, "nobody"),
        (lambda single: celery_service.resend_failed(single, ["sent"]), InvalidArgument, "states"),
        (lambda single: celery_service.resend_failed(single, []), InvalidArgument, "states"),
        (lambda _: celery_service.send_bulk_emails(numbered(1), max_failure_rate=1.5), InvalidArgument, "max_failure"),
        (lambda _: celery_service.send_bulk_emails(numbered(1), max_failure_rate="x"), InvalidArgument, "max_failure"),
    ],
    ids=range(9),
)
def test_what_cannot_be_steered_is_refused_in_a_sentence(inline_service, mailer, call, error, words):
    with pytest.raises(error, match=words):
        call(celery_service.send_email("one@example.com", "s", "b"))


def test_what_a_stranger_sent_by_a_bulks_name_has_no_mails_to_be_sent_again(inline_service, mailer):
    task_id = "bulk-of-a-stranger"
    parts().tasks.open(Draft(task_id, "email.send_bulk_emails", "email", "email", kwargs={"emails": 3}))
    run = parts().moves.start(task_id, 0, "worker-of-strangers", "w@h", None).run
    assert parts().moves.fail(task_id, run, Failure("it has no message", "PermanentError"))
    celery_service.replay_task(task_id)
    with pytest.raises(InvalidArgument, match="is no bulk of mails"):
        celery_service.resend_failed(task_id)


def test_an_ended_bulk_is_neither_paused_nor_resumed(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(1))
    assert not celery_service.pause_task(bulk_id)
    assert not celery_service.resume_task(bulk_id)


# --- Too many failures ------------------------------------------------------------------------------------------


def test_a_bulk_pauses_itself_where_too_many_of_the_last_200_mails_are_refused_and_says_so(inline_service, mailer):
    mailer.answers |= {f"r{number}": REFUSED for number in range(100, 1000)}
    bulk_id = celery_service.send_bulk_emails(numbered(1000), batch_size=50, delay_between_batches=1)
    inline_service.advance(60)
    told = info(bulk_id)
    assert told["status"] == "paused: 100 of the last 200 mails were refused or are unknown; max_failure_rate is 0.2."
    assert (told["failed"], len(mailer.sent)) == (100, 200), "it looks at 200 mails"


def test_a_bulk_that_was_resumed_by_hand_pauses_again_only_for_what_came_after(inline_service, mailer):
    mailer.answers |= {f"r{number}": REFUSED for number in range(200)}
    bulk_id = celery_service.send_bulk_emails(numbered(500), batch_size=100, delay_between_batches=1)
    inline_service.advance(20)
    assert len(mailer.sent) == 200
    celery_service.resume_task(bulk_id)
    inline_service.advance(20)
    assert celery_service.get_task_result(bulk_id)["sent"] == 300


def test_a_bulk_that_may_fail_throughout_does(inline_service, mailer):
    mailer.answers |= {f"r{number}": REFUSED for number in range(1, 300)}
    bulk_id = celery_service.send_bulk_emails(numbered(300), delay_between_batches=0, max_failure_rate=1)
    inline_service.run_due()
    assert celery_service.get_task_result(bulk_id)["refused"] == 299


def test_bad_addresses_alone_do_not_pause_a_bulk(inline_service, mailer):
    mails = [*numbered(1), *({"to_email": f"none {n}", "subject": "s", "body": "b"} for n in range(300))]
    bulk_id = celery_service.send_bulk_emails(mails, delay_between_batches=0)
    inline_service.run_due()
    assert celery_service.get_task_result(bulk_id)["invalid"] == 300


# --- Progress ---------------------------------------------------------------------------------------------------


def test_the_progress_of_a_bulk_is_read_from_its_rows(inline_service, mailer):
    mailer.answers |= {"r1": REFUSED, "r2": Outcome("deferred", 450, None, "later")}
    bulk_id = celery_service.send_bulk_emails(numbered(8), batch_size=4, delay_between_batches=30)
    told = info(bulk_id)
    figures = ("done", "total", "sent", "failed", "deferred")
    assert [told[name] for name in figures] == [3, 8, 2, 1, 1]
    assert told["progress"] == 37.5
    assert told["per_second"] == 2.0
    assert told["eta_s"] == 3
    inline_service.advance(25)
    told = info(bulk_id)
    assert told["per_second"] in {0.0, 0.1}
    assert told["eta_s"] >= 63, "2 in 25 s, or a little more where this machine is slow; 5 are left"


# --- Cancelling and expiring ------------------------------------------------------------------------------------


def test_a_cancelled_bulk_tells_what_went_out_and_what_did_not(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(6), batch_size=2, delay_between_batches=10)
    inline_service.advance(11)
    assert celery_service.cancel_task(bulk_id)
    inline_service.advance(60)
    told = info(bulk_id)
    assert (told["status"], told["sent"], told["cancelled"], told["total"]) == ("cancelled", 4, 2, 6)
    assert told["error_type"] == "TaskCancelled"


def test_the_mails_of_a_bulk_that_expires_are_counted_as_expired(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(
        numbered(4), batch_size=2, delay_between_batches=600, expires_at="2999-01-01T00:00:00Z"
    )
    other = celery_service.send_bulk_emails(
        mails_to("a", "b"), batch_size=1, delay_between_batches=60, expires_at=in_seconds(30)
    )
    inline_service.advance(61)
    result = celery_service.get_task_result(other)
    assert (result["status"], result["sent"], result["expired"]) == ("completed_with_failures", 1, 1)
    assert result["total"] == sum(result[name] for name in SUM_OF)
    assert info(bulk_id)["done"] == 2


def test_the_mails_of_one_cancelled_batch_are_counted_as_cancelled(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(4), batch_size=2, delay_between_batches=60)
    (batch,) = tasks_of(bulk_id)
    celery_service.cancel_task(batch.id)
    inline_service.run_due()
    result = celery_service.get_task_result(bulk_id)
    assert (result["sent"], result["cancelled"], result["total"]) == (2, 2, 4)


SUM_OF = (
    "sent", "deferred", "refused", "invalid", "duplicate", "suppressed", "skipped", "expired", "cancelled", "unknown",
    "pending",
)  # fmt: skip


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(("given", "expected"), [({}, "low"), ({"priority": "normal"}, "normal")])
def test_a_bulk_waits_behind_single_mails_unless_told(inline_service, mailer, given, expected):
    bulk_id = celery_service.send_bulk_emails(numbered(3), batch_size=2, **given)
    query = select(columns.priority).where(or_(columns.id == bulk_id, columns.parent_id == bulk_id))
    assert parts().database.read(lambda c: c.execute(query).scalars().all()) == [expected] * 3


# --- Sending again ----------------------------------------------------------------------------------------------


def test_the_failed_ones_of_a_bulk_are_sent_again_once_as_a_new_bulk(inline_service, mailer):
    mailer.answers |= {"r1": REFUSED, "r3": REFUSED}
    bulk_id = celery_service.send_bulk_emails(
        [*numbered(4), {**numbered(4)[3]}], tags=["news"], delay_between_batches=0
    )
    del mailer.answers["r1"]

    new_id = celery_service.resend_failed(bulk_id)

    assert celery_service.resend_failed(bulk_id) == new_id, "a double click"
    result = celery_service.get_task_result(new_id)
    assert (result["total"], result["sent"], result["refused"]) == (2, 1, 1)
    status = celery_service.get_task_status(new_id)
    assert (status["retry_of"], status["tags"]) == (bulk_id, ["news"])
    assert celery_service.get_task_status(bulk_id)["retried_as"] == new_id
    assert sorted(whom(mailer)) == ["r0", "r1", "r1", "r2", "r3", "r3"]
    with pytest.raises(InvalidArgument, match=f"was resent already, as {new_id}"):
        celery_service.resend_failed(bulk_id, ["refused", "unknown"])
    mailer.answers.clear()
    last = celery_service.get_task_result(celery_service.resend_failed(new_id))
    assert (last["total"], last["sent"]) == (1, 1)


def test_nobody_who_may_have_got_it_is_mailed_again_without_being_asked_for(inline_service, mailer):
    mailer.answers |= {"r0": Outcome("unknown", text="no answer"), "r1": REFUSED}
    bulk_id = celery_service.send_bulk_emails(numbered(3), delay_between_batches=0)
    mailer.answers.clear()
    assert celery_service.get_task_result(celery_service.resend_failed(bulk_id))["total"] == 1
    assert whom(mailer) == ["r0", "r1", "r2", "r1"]


def test_those_in_doubt_are_sent_again_where_somebody_says_so(inline_service, mailer):
    mailer.answers |= {"r0": Outcome("unknown", text="no answer")}
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    mailer.answers.clear()
    celery_service.resend_failed(bulk_id, ["unknown"])
    assert whom(mailer) == ["r0", "r1", "r0"]


def test_those_in_doubt_of_whom_a_person_found_out_that_they_got_it_are_not_sent_again(inline_service, mailer):
    mailer.answers |= {"r0": Outcome("unknown", text="no answer"), "r1": Outcome("unknown", text="no answer")}
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    mailer.answers.clear()
    celery_service.settle_effect(f"mail:{bulk_id}:0:r0@example.com", "it is in the server's log")
    celery_service.resend_failed(bulk_id, ["unknown"])
    assert whom(mailer) == ["r0", "r1", "r1"]


def test_a_bulk_of_which_nothing_is_left_to_send_is_not_sent_again(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    with pytest.raises(InvalidArgument, match=f"bulk {bulk_id} has no mail that is cancelled or deferred or expired"):
        celery_service.resend_failed(bulk_id)


def test_a_bulk_under_way_is_not_sent_again(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(2), batch_size=1, delay_between_batches=60)
    with pytest.raises(InvalidArgument, match="has not ended; wait for it, or cancel it first"):
        celery_service.resend_failed(bulk_id)


def test_the_rest_of_a_cancelled_bulk_is_sent_by_sending_it_again(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(6), batch_size=2, delay_between_batches=60)
    celery_service.cancel_task(bulk_id)
    new_id = celery_service.resend_failed(bulk_id)
    inline_service.advance(200)
    assert celery_service.get_task_result(new_id)["sent"] == 4
    assert whom(mailer) == ["r0", "r1", "r2", "r3", "r4", "r5"]


def test_files_that_came_as_bytes_go_with_a_mail_that_is_sent_again_though_the_first_bulk_is_gone(
    inline_service, monkeypatch
):
    mailer = ScriptedMailer(r0=REFUSED)
    monkeypatch.setattr(Parts, "mailer", mailer)
    file = {"content": b"id,amount\n", "name": "a.csv"}
    bulk_id = celery_service.send_bulk_emails([{**numbered(1)[0], "attachments": [file]}, *mails_to("b")])
    mailer.answers["r0"] = Outcome("accepted", 250)
    celery_service.pause_queue("email")
    new_id = celery_service.resend_failed(bulk_id)
    parts().moves.remove([bulk_id])
    parts().storage.remove(bulk_id)
    celery_service.resume_queue("email")
    inline_service.run_due()
    assert celery_service.get_task_result(new_id)["sent"] == 1
    mail = message_from_bytes(mailer.contents[-1], policy=default)
    assert [part.get_content() for part in mail.iter_attachments()] == ["id,amount\n"]


def test_what_the_transport_kept_back_is_sent_again(inline_service, monkeypatch):
    class Away(ScriptedMailer):
        def send(self, queue):
            queue.give_back(queue.take())
            raise TransportFault("no connection")

    monkeypatch.setattr(Parts, "mailer", Away())
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    inline_service.advance(4000)
    assert info(bulk_id)["deferred"] == 2
    mailer = ScriptedMailer()
    monkeypatch.setattr(Parts, "mailer", mailer)
    assert celery_service.get_task_result(celery_service.resend_failed(bulk_id))["sent"] == 2
