"""A notification is retried by hand as a new one of the channels that did not deliver alone: nobody is told twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from notification_carriers import FileCarrier, address, carriers_of_service, subscription
from processors.carriers import Notice, Receipt
from processors.errors import InvalidArgument, TaskFailed
from records.task_moves import Failure
from records.task_records import Draft
from services.celery_service import celery_service
from services.notifications import channel_id
from services.retrying import id_of_retry
from services.testing import InlineService
from services.wiring import parts


class MendedCarrier(FileCarrier):
    """Sends to everybody."""

    def send(self, notice: Notice, endpoint: Mapping[str, Any]) -> Receipt:
        return Receipt(remote_id=str(self._note(address(endpoint), notice, "sent")))


@pytest.fixture(autouse=True)
def service(inline_service: InlineService) -> InlineService:
    return inline_service


@pytest.fixture
def carriers(tmp_path: Path, monkeypatch) -> dict[str, FileCarrier]:
    return carriers_of_service(tmp_path, monkeypatch)


def mend(carriers: dict[str, FileCarrier]) -> None:
    for channel, carrier in carriers.items():
        carriers[channel] = MendedCarrier(channel, carrier.path.parent)


def mails(service: InlineService) -> list[str]:
    return [path.read_text() for path in sorted(service.outbox.glob("*.eml"))]


def notify(*channels: str, **more) -> str:
    return celery_service.send_notification("12345", "welcome", "Hello", "Welcome!", channels=list(channels), **more)


def result(task_id: str) -> dict:
    return celery_service.get_task_result(task_id, timeout=0)


def retried(**filters) -> dict:
    return result(celery_service.retry_failed_tasks(**filters))


def status(task_id: str) -> dict:
    return celery_service.get_task_status(task_id)


def test_one_that_reached_nobody_is_retried_with_many_once_there_is_a_contact(service):
    task_id = notify("email")
    celery_service.set_contact("12345", email="ann@example.com")
    told = retried(task_types=["notification"])
    assert told == {"retried": [id_of_retry(task_id)], "skipped": []}
    new = status(told["retried"][0])
    assert (new["status"], new["info"]["status"], new["retry_of"]) == ("SUCCESS", "sent", task_id)
    assert status(task_id)["retried_as"] == new["task_id"]
    assert len(mails(service)) == 1
    assert retried(task_types=["notification"]) == {"retried": [], "skipped": []}


def test_a_partial_one_is_replayed_by_the_channels_that_did_not_deliver_alone(service, carriers):
    celery_service.set_contact("12345", phone="+491701234567", push=[subscription("fine"), subscription("always")])
    task_id = notify("inbox", "email", "push", "sms", url="/a", tags=["one"], priority="high", tenant="acme")
    assert result(task_id)["status"] == "partial"
    celery_service.set_contact("12345", email="ann@example.com")
    mend(carriers)

    new_id = celery_service.replay_task(task_id)

    told = result(new_id)
    assert (told["status"], list(told["channels"])) == ("sent", ["email", "push"])
    assert told["channels"]["push"]["devices"] == {"sent": 2}
    new = status(new_id)
    assert (new["retry_of"], new["tags"], new["priority"], new["tenant"]) == (task_id, ["one"], "high", "acme")
    assert len(mails(service)) == len(carriers["sms"].lines("sent")) == 1
    assert len(celery_service.get_inbox("12345")["items"]) == 1
    sent = sorted(line["where"].rpartition("/")[2] for line in carriers["push"].lines("sent"))
    assert sent == ["always", "fine"]


def test_whoever_replays_it_again_gets_the_same_one_and_other_arguments_are_refused(service):
    task_id = notify("email")
    celery_service.set_contact("12345", email="ann@example.com")
    new_id = celery_service.replay_task(task_id, {"message": "Better."})
    assert celery_service.replay_task(task_id, {"message": "Better."}) == new_id
    with pytest.raises(InvalidArgument, match=f"was replayed already, as {new_id}, with other arguments"):
        celery_service.replay_task(task_id)
    (mail,) = mails(service)
    assert "Better." in mail


def test_what_an_endpoint_refused_is_asked_again_and_a_reader_sees_one_notification(carriers):
    celery_service.set_contact("12345", push=[subscription("refused"), subscription("gone")])
    task_id = notify("push")
    mend(carriers)
    again = celery_service.replay_task(task_id)
    assert result(again)["channels"]["push"]["devices"] == {"sent": 1}
    (line,) = carriers["push"].lines("sent")
    assert (line["where"].rpartition("/")[2], line["id"]) == ("refused", task_id)


def test_an_inbox_whose_task_was_lost_after_it_wrote_is_not_written_again_however_often_it_is_retried(monkeypatch):
    def lost(*_: Any) -> None:
        raise RuntimeError("lost")

    with monkeypatch.context() as broken:
        broken.setattr(type(parts().members), "close_all", lost)
        task_id = notify("inbox")
        second = celery_service.replay_task(task_id)
        assert status(second)["status"] == "FAILURE"
    third = celery_service.replay_task(second)
    (item,) = celery_service.get_inbox("12345")["items"]
    assert result(third)["channels"]["inbox"] == {"status": "stored", "id": item["id"]}


def test_a_mail_that_a_server_has_taken_is_not_sent_again_though_its_task_failed(service, monkeypatch):
    celery_service.set_contact("12345", email="ann@example.com")
    close_all = type(parts().members).close_all

    def lost_but_for_the_inbox(members, parent_id, ends, run) -> None:
        if ends[0].position:
            raise RuntimeError("lost")
        close_all(members, parent_id, ends, run)

    with monkeypatch.context() as broken:
        broken.setattr(type(parts().members), "close_all", lost_but_for_the_inbox)
        task_id = notify("inbox", "email")
    assert len(mails(service)) == 1
    told = result(celery_service.replay_task(task_id))["channels"]
    assert (list(told), told["email"]["status"]) == (["email"], "sent")
    assert len(mails(service)) == 1


def test_what_is_in_doubt_is_not_repeated_until_somebody_has_settled_it(service, carriers):
    celery_service.set_contact("12345", push=[subscription("vanishes")])
    task_id = notify("push")
    service.advance(120)
    with pytest.raises(TaskFailed):
        result(task_id)
    mend(carriers)
    why = "it is in doubt whether its channel push delivered: see get_effects_in_doubt"
    assert retried(task_types=["notification"])["skipped"] == [{"task_id": task_id, "why": why}]
    with pytest.raises(InvalidArgument, match=why):
        celery_service.replay_task(task_id)

    [doubt] = celery_service.get_effects_in_doubt()
    celery_service.settle_effect(doubt["key"], outcome="it arrived")

    assert result(celery_service.replay_task(task_id))["channels"]["push"]["devices"] == {"sent": 1}
    assert carriers["push"].lines("sent") == []


def test_what_was_left_out_as_was_wished_is_not_retried():
    celery_service.set_contact("12345", preferences={"channels": {"sms": False}})
    task_id = notify("email", "sms")
    celery_service.set_contact("12345", email="ann@example.com", phone="+491701234567")
    with pytest.raises(InvalidArgument, match="channels: sms delivered, or was left out as was wished"):
        celery_service.replay_task(task_id, {"channels": ["sms"]})
    assert list(result(celery_service.replay_task(task_id))["channels"]) == ["email"]


def test_another_channel_may_be_named_instead(carriers):
    celery_service.set_contact("12345", phone="+491701234567")
    told = result(celery_service.replay_task(notify("email"), {"channels": ["sms", "email"]}))
    assert (told["status"], told["channels"]["sms"]["status"]) == ("partial", "sent")
    assert len(carriers["sms"].lines("sent")) == 1


def test_what_delivered_before_a_retry_by_other_channels_is_not_named_again(service):
    celery_service.set_contact("12345", email="ann@example.com")
    replay = celery_service.replay_task(notify("email", "sms"), {"channels": ["chat"]})
    assert status(replay)["status"] == "FAILURE"
    with pytest.raises(InvalidArgument, match=r"channels: email delivered"):
        celery_service.replay_task(replay, {"channels": ["email", "chat"]})
    assert len(mails(service)) == 1


def test_whom_a_channel_had_reached_before_a_retry_by_others_is_not_told_again(carriers):
    celery_service.set_contact("12345", push=[subscription("a"), subscription("refused")])
    task_id = notify("push")
    reached = len(carriers["push"].lines("sent"))
    replay = celery_service.replay_task(task_id, {"channels": ["email"]})
    mend(carriers)
    assert result(celery_service.replay_task(replay, {"channels": ["push"]}))["status"] == "sent"
    assert (reached, len(carriers["push"].lines("sent"))) == (1, 2)


def test_a_digest_is_retried_with_all_that_it_had_gathered(service):
    for number in range(2):
        task_id = celery_service.send_notification("12345", "news", f"T {number}", f"Text {number}", digest=604800)
    service.advance(604801)
    celery_service.set_contact("12345", email="ann@example.com")
    assert result(celery_service.replay_task(task_id))["status"] == "sent"
    (mail,) = mails(service)
    assert "2 notifications: news" in mail
    assert "Text 0" in mail
    assert "Text 1" in mail


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"user_id": "9"}, "arguments: of a notification channels, critical, .* got 'user_id'"),
        ({"title": ""}, "title: "),
        ({"channels": []}, "channels: .*an empty list"),
    ],
)
def test_what_cannot_be_replaced_is_said_in_one_sentence(arguments, words):
    task_id = notify("email")
    with pytest.raises(InvalidArgument, match=f"^{words}") as bad:
        celery_service.replay_task(task_id, arguments)
    assert "\n" not in str(bad.value)
    assert status(task_id)["retried_as"] is None


def test_what_a_stranger_sent_by_this_name_is_refused_and_holds_up_no_other():
    mine = notify("email")
    for number, kwargs in enumerate(({}, {"channels": 5}, {"channels": ["email"]}, {"user_id": "x", "channels": []})):
        task_id = f"of-a-stranger-{number}"
        parts().tasks.open(Draft(task_id, "notification.send_notification", "notification", "default", kwargs=kwargs))
        parts().moves.fail_waiting(task_id, Failure("it has no message", "PermanentError"))
        with pytest.raises(InvalidArgument, match="it has no channels"):
            celery_service.replay_task(task_id)
    found = result(celery_service.retry_failed_tasks(task_types=["notification"]))
    assert found["retried"] == [id_of_retry(mine)]
    assert len([one for one in found["skipped"] if "no channels" in one["why"]]) == 4


def test_one_that_was_sent_is_refused():
    task_id = notify("inbox")
    with pytest.raises(InvalidArgument, match="it is SUCCESS, and only what has failed can be"):
        celery_service.replay_task(task_id)


def test_a_cancelled_replay_may_be_replayed(service):
    task_id = notify("email")
    celery_service.set_contact("12345", email="ann@example.com")
    celery_service.pause_queue("default")
    new_id = celery_service.replay_task(task_id)
    assert celery_service.cancel_task(new_id)
    celery_service.resume_queue("default")
    assert result(celery_service.replay_task(new_id))["status"] == "sent"
    assert len(mails(service)) == 1


def test_a_part_that_is_refused_names_what_to_call_instead():
    celery_service.set_contact("12345", push=[subscription("fine")])
    task_id = notify("email")
    part = channel_id(task_id, 0)
    parts().database.write(lambda c: c.exec_driver_sql(f"UPDATE task_records SET state='FAILURE' WHERE id='{part}'"))
    with pytest.raises(InvalidArgument, match=f"it is a channel of notification {task_id}: replay that one"):
        celery_service.replay_task(part)


def test_a_bulk_and_its_batches_name_resend_failed():
    bulk = celery_service.send_bulk_emails([{"to_email": "nobody", "subject": "s", "body": "b"}])
    assert status(bulk)["status"] == "FAILURE"
    with pytest.raises(InvalidArgument, match=f"it is a bulk: see resend_failed\\('{bulk}'\\)"):
        celery_service.replay_task(bulk)


def test_a_parents_failure_has_a_traceback_that_is_text():
    task_id = notify("email")
    told = status(task_id)
    assert told["traceback"] == told["info"]["error"]
    with pytest.raises(TaskFailed) as failed:
        result(task_id)
    assert failed.value.traceback == str(failed.value)
