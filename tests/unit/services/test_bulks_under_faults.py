"""Bulks of mails while something fails or comes between: their figures add up, and nothing that was said is lost."""

from contextlib import suppress

import pytest

from mail_rows import ScriptedMailer
from processors.bulk_emails import ResendFailed
from processors.errors import InvalidArgument, ServiceUnavailable
from processors.interfaces import MemberEnd, Outcome
from services import bulk
from services.celery_service import celery_service
from services.wiring import Parts, parts

REFUSED = Outcome("refused", 550, "5.7.1", "no")


@pytest.fixture
def mailer(monkeypatch) -> ScriptedMailer:
    mailer = ScriptedMailer()
    monkeypatch.setattr(Parts, "mailer", mailer)
    return mailer


def numbered(count: int) -> list[dict[str, str]]:
    return [{"to_email": f"r{n}@example.com", "subject": "News", "body": "Hello"} for n in range(count)]


def info(task_id: str):
    return celery_service.get_task_status(task_id)["info"]


def test_what_a_server_said_is_kept_though_the_database_fails_while_the_bulk_pauses_itself(
    inline_service, mailer, monkeypatch
):
    mailer.answers |= {f"r{n}": REFUSED for n in range(100, 1000)}
    pause, failed = parts().task_pauses.pause, []

    def fails_once(*given):
        if not failed:
            failed.append(1)
            raise ServiceUnavailable("away for a moment")
        return pause(*given)

    monkeypatch.setattr(parts().task_pauses, "pause", fails_once)
    bulk_id = celery_service.send_bulk_emails(numbered(250), batch_size=250, delay_between_batches=0)
    told = {n: parts().deliveries.outcomes(bulk_id, n) for n in range(250)}
    lost = [n for n, rows in told.items() for row in rows.values() if row.state == "handing"]
    assert lost == [], "the server had answered"


def test_two_who_resend_at_once_with_other_states_do_not_both_hear_yes(inline_service, mailer, monkeypatch):
    mailer.answers |= {"r0": REFUSED, "r1": Outcome("unknown", text="no answer")}
    bulk_id = celery_service.send_bulk_emails(numbered(3), delay_between_batches=0)
    mailer.answers.clear()
    resendable, asked = bulk._resendable, []

    def another_comes_between(former, states):
        if not asked:
            asked.append(1)
            bulk.resend_failed(bulk_id, ResendFailed(states=["refused"]))
        return resendable(former, states)

    monkeypatch.setattr(bulk, "_resendable", another_comes_between)
    with pytest.raises(InvalidArgument, match="resent already"):
        celery_service.resend_failed(bulk_id, ["unknown"])


def test_the_figures_of_a_cancelled_bulk_add_up_while_a_batch_of_it_ends(inline_service, mailer, monkeypatch):
    bulk_id = celery_service.send_bulk_emails(numbered(4), batch_size=2, delay_between_batches=100)
    celery_service.cancel_task(bulk_id)
    left = parts().members.left

    def one_ends_between(parent_id):
        parts().members.close_all(parent_id, [MemberEnd(2, "sent", {}), MemberEnd(3, "sent", {})])
        return left(parent_id)

    monkeypatch.setattr(parts().members, "left", one_ends_between)
    assert info(bulk_id)["total"] == 4


def test_the_list_of_failures_of_a_cancelled_bulk_is_not_called_cut_off(inline_service, mailer):
    bulk_id = celery_service.send_bulk_emails(numbered(4), batch_size=2, delay_between_batches=100)
    celery_service.cancel_task(bulk_id)
    assert (info(bulk_id)["failures"], info(bulk_id)["failures_truncated"]) == ([], False)


def test_mails_in_doubt_of_a_cancelled_bulk_are_listed(inline_service, monkeypatch):
    class Dies(ScriptedMailer):
        def send(self, queue):
            letter = queue.take()
            queue.turn([], [(letter, letter.recipients)])
            celery_service.cancel_task(letter.id.rpartition("-")[0])
            raise SystemExit  # as a kill: nothing more is written

    monkeypatch.setattr(Parts, "mailer", Dies())
    celery_service.pause_queue("email")
    bulk_id = celery_service.send_bulk_emails(numbered(2), delay_between_batches=0)
    celery_service.resume_queue("email")
    with suppress(BaseException):
        inline_service.run_due()
    told = info(bulk_id)
    assert told["unknown"] == 1
    assert [one["state"] for one in told["failures"]] == ["unknown"]


def test_a_mail_that_somebody_got_is_not_counted_as_invalid(inline_service, mailer, monkeypatch, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("x")
    mailer.answers["c"] = Outcome("deferred", 450, "4.2.0", "later")
    item = {**numbered(1)[0], "cc": ["c@example.com"], "attachments": [{"path": str(file)}]}
    bulk_id = celery_service.send_bulk_emails([item], delay_between_batches=0)
    assert mailer.sent == [["r0@example.com", "c@example.com"]]
    file.unlink()
    inline_service.advance(10_000)
    told = info(bulk_id)
    assert (told["sent"], told["invalid"]) == (1, 0), told
