"""Webhooks through the service: an end is told, signed, again and again until it is taken, and by then given up."""

import logging
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from config.settings import settings
from csai_client import WebhookNotAuthentic, verify_webhook
from documentation import examples
from processors.carriers import AnswerLost
from processors.errors import InvalidArgument, PermanentError, UnknownTaskName, UnknownWebhook
from processors.limits import DefaultLimits, rate_of, webhooks_at_once
from processors.webhooks import CATEGORY, DELAYS, TASK, Answered, headers_of, new_secret, webhook_id
from records import webhook_endpoints as rows
from records.audit import WantedActs
from records.columns import Now, metadata
from records.leadership import Lead
from records.task_moves import Failure, Started, TaskMoves
from records.task_records import Draft, TaskState, task_records
from records.webhook_following import WebhookFollowing
from services import audit, webhooks
from services.access import Caller, reach
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.celery_tasks.webhook_tasks import RETRIES, send_webhook
from services.testing import InlineService
from services.webhook_follower import WebhookFollower
from services.webhooks import ChangedWebhook, NewSecret, NewWebhook
from services.wiring import parts

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
URL = "https://shop.example.com/hooks/p4th-s3cret?token=qu3ry-s3cret"


class Shop:
    """An endpoint that answers what a test says, and checks what it gets."""

    def __init__(self):
        self.answers, self.got, self.secret = [], [], ""

    def check(self, url):
        if not url.startswith("https://"):
            raise ValueError("only https:// addresses with a host are asked")

    def post(self, url, headers, body):
        self.got.append((headers["webhook-id"], verify_webhook(self.secret, headers, body)))
        answer = self.answers.pop(0) if self.answers else Answered(204)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(autouse=True)
def service(inline_service: InlineService, shop, monkeypatch) -> InlineService:
    monkeypatch.setitem(vars(parts()), "webhook_door", shop)
    # what is inline waits for no retry otherwise
    monkeypatch.setattr(type(parts().moves), "try_again", TaskMoves.try_again)
    return inline_service


@pytest.fixture
def endpoint(shop) -> str:
    made = webhooks.add(ANN, NewWebhook(url=URL))
    shop.secret = made["secret"]
    return made["id"]


def follow() -> None:
    following = WebhookFollowing(parts().database, webhooks.draft_of_end)
    while following.turn(100):
        pass


@celery_app.task(name="test.told")
def greet():
    return {"greeting": "hello"}


def an_end() -> str:
    return celery_service.submit("test.told")


def of_task(endpoint_id: str, task_id: str):
    record = parts().tasks.read(task_id)
    return parts().tasks.read(webhook_id(endpoint_id, task_id, record.run))


def test_an_end_is_told_once_with_a_signature_that_the_client_verifies(service, shop, endpoint):
    task_id = an_end()
    follow()
    follow()
    assert service.run_due() == 1
    [(message_id, told)] = shop.got
    record = parts().tasks.read(task_id)
    assert message_id == webhook_id(endpoint, task_id, record.run)
    assert (told["type"], told["data"]["task_id"], told["data"]["attempts"]) == ("task.succeeded", task_id, 1)
    assert (told["timestamp"], told["data"]["result"]) == (record.finished_at.isoformat(), record.result)
    sent = of_task(endpoint, task_id)
    assert (sent.name, sent.category, sent.state) == (TASK, CATEGORY, TaskState.SUCCESS)
    assert sent.result == {"webhook_id": message_id, "status": 204}
    assert sent.kwargs == {"endpoint_id": endpoint, "task_id": task_id, "run": record.run}
    follow()
    assert service.run_due() == 0


def test_a_failure_and_a_cancelled_one_are_told_too(service, shop, endpoint):
    parts().tasks.open(Draft("w-failed", "ai_processing.extract_text", "ai_processing", "ai_processing", delay=3600))
    parts().moves.fail_waiting("w-failed", Failure("it <b>broke</b>", "PermanentError"))
    parts().tasks.open(Draft("w-revoked", "ai_processing.extract_text", "ai_processing", "ai_processing", delay=3600))
    parts().moves.revoke("w-revoked")
    follow()
    assert service.run_due() == 2
    told = {one["data"]["task_id"]: one for _, one in shop.got}
    assert {one: found["type"] for one, found in told.items()} == {
        "w-failed": "task.failed", "w-revoked": "task.cancelled",
    }  # fmt: skip
    assert (told["w-failed"]["data"]["error"], told["w-failed"]["data"]["attempts"]) == ("it <b>broke</b>", 0)


def test_what_is_not_taken_is_sent_again_at_the_promised_times_and_given_up_after_the_tenth(service, shop, endpoint):
    assert len(DELAYS) == RETRIES == send_webhook.max_retries
    shop.answers = [Answered(500), AnswerLost("nobody knows"), Answered(404), *[Answered(503)] * 7]
    task_id = an_end()
    follow()
    service.run_due()
    for number, delay in enumerate(DELAYS, 1):
        assert len(shop.got) == number
        assert of_task(endpoint, task_id).state == TaskState.RETRY
        service.advance(delay * 0.5)
        assert len(shop.got) == number
        service.advance(delay * 0.6 + 3)
    assert len(shop.got) == 10
    assert len({message_id for message_id, _ in shop.got}) == 1
    sent = of_task(endpoint, task_id)
    assert (sent.state, sent.attempt) == (TaskState.FAILURE, 9)
    assert sent.error == "The endpoint at shop.example.com answers 503 Service Unavailable."
    service.advance(7 * 86_400)
    assert len(shop.got) == 10
    new = celery_service.replay_task(sent.id)
    assert parts().tasks.read(new).state == TaskState.SUCCESS
    assert shop.got[-1][0] == sent.id, "to the endpoint it is the same one"


def test_what_was_not_taken_is_sent_again_as_it_was_although_the_tasks_record_is_gone(service, shop, endpoint):
    shop.answers = [Answered(503)] * 3
    task_id = an_end()
    run = parts().tasks.read(task_id).run
    follow()
    service.run_due()
    assert parts().moves.remove([task_id]) == 1
    service.advance(3 * 3600)
    sent = webhook_id(endpoint, task_id, run)
    assert parts().tasks.read(sent).state == TaskState.SUCCESS
    assert [told for _, told in shop.got] == [shop.got[0][1]] * 4
    assert {message_id for message_id, _ in shop.got} == {sent}
    assert parts().webhook_bodies.read(sent) is not None
    assert parts().moves.remove([sent]) == 1
    assert parts().webhook_bodies.read(sent) is None


def test_what_a_removed_endpoint_took_first_is_sent_again_to_nobody(service, shop, endpoint):
    shop.answers = [Answered(503)]
    task_id = an_end()
    sent = webhook_id(endpoint, task_id, parts().tasks.read(task_id).run)
    follow()
    service.run_due()
    parts().moves.remove([task_id])
    webhooks.remove(ANN, endpoint)
    service.advance(6)
    assert (len(shop.got), parts().tasks.read(sent).error_type) == (1, "PermanentError")


def test_an_endpoint_that_asks_for_a_wait_gets_it(service, shop, endpoint):
    shop.answers = [Answered(429, 3_000.0)]
    an_end()
    follow()
    service.run_due()
    service.advance(2_990)
    assert len(shop.got) == 1
    service.advance(11)
    assert len(shop.got) == 2


def test_a_new_secret_signs_at_once_and_the_one_before_for_as_long_as_it_is_kept(service, shop, endpoint):
    first, now = shop.secret, datetime.now(UTC)
    made = webhooks.renew_secret(ANN, endpoint, NewSecret())
    assert made["secret"] not in (first, webhooks.listed()[0].get("secret"))
    kept_until = datetime.fromisoformat(made["old_secret_until"])
    assert timedelta(hours=23.9) < kept_until - now < timedelta(hours=24.1)
    for shop.secret in (first, made["secret"]):  # each of them verifies
        assert webhooks.test(ANN, endpoint)["delivered"]
    past = update(rows.webhook_endpoints).values(old_until=Now(-1))
    parts().database.write(lambda c: c.execute(past))
    shop.secret = made["secret"]
    assert webhooks.test(ANN, endpoint)["delivered"]
    shop.secret = first
    with pytest.raises(WebhookNotAuthentic):
        webhooks.test(ANN, endpoint)


def test_a_secret_that_is_known_to_others_signs_no_more_at_once(shop, endpoint):
    webhooks.renew_secret(ANN, endpoint, NewSecret())
    made = webhooks.renew_secret(ANN, endpoint, NewSecret(keep_hours=0))
    assert made["old_secret_until"] is None
    with pytest.raises(WebhookNotAuthentic):
        webhooks.test(ANN, endpoint)
    shop.secret = made["secret"]
    assert webhooks.test(ANN, endpoint)["delivered"]
    with pytest.raises(UnknownWebhook):
        webhooks.renew_secret(ANN, "never", NewSecret())


def test_410_disables_the_endpoint_and_its_reason_is_told(service, shop, endpoint, caplog):
    shop.answers = [Answered(410)]
    task_id = an_end()
    follow()
    with caplog.at_level(logging.WARNING):
        service.run_due()
    assert of_task(endpoint, task_id).state == TaskState.FAILURE
    [found] = webhooks.listed()
    assert (found["disabled_at"] is None, found["disabled_why"]) == (False, "It answered 410 (Gone).")
    assert "webhook_disabled" in caplog.text
    an_end()
    follow()
    service.run_due()
    assert len(shop.got) == 1


def test_five_days_of_failures_disable_it_and_what_waited_says_so(service, shop, endpoint, caplog):
    shop.answers = [Answered(500)] * 40
    first = an_end()
    follow()
    service.run_due()
    service.advance(100 * 3600)
    assert webhooks.listed()[0]["failing_since"] is not None
    waiting = an_end()
    follow()
    service.run_due()
    service.advance(20 * 3600 - 1)
    assert webhooks.listed()[0]["disabled_at"] is None
    with caplog.at_level(logging.WARNING):
        service.advance(20 * 3600)
    assert webhooks.listed()[0]["disabled_why"] == rows.FAILED_WHY
    assert "webhook_disabled" in caplog.text
    service.advance(86_400)
    assert of_task(endpoint, first).state == TaskState.FAILURE
    sent = of_task(endpoint, waiting)
    assert (sent.state, "is disabled: Nothing" in sent.error) == (TaskState.FAILURE, True)


def test_one_that_is_taken_ends_a_row_of_failures(service, shop, endpoint):
    shop.answers = [Answered(500)]
    an_end()
    follow()
    service.run_due()
    assert webhooks.listed()[0]["failing_since"] is not None
    service.advance(6)
    assert webhooks.listed()[0]["failing_since"] is None


@pytest.mark.parametrize("what", ["gone", "not ended", "another run", "removed", "filtered"])
def test_what_is_not_to_be_told_is_not_sent(shop, endpoint, what):
    task_id, run = an_end(), 1
    if what == "gone":
        task_id = "never"
    elif what == "not ended":
        parts().tasks.open(Draft("w-waits", "x.y", "x", "default", delay=3600))
        task_id, run = "w-waits", 0
    elif what == "another run":
        run = 2
    elif what == "removed":
        webhooks.remove(ANN, endpoint)
    else:
        webhooks.change(ANN, endpoint, ChangedWebhook(category="email"))
    sent = celery_service.submit(TASK, {"endpoint_id": endpoint, "task_id": task_id, "run": run})
    record = parts().tasks.read(sent)
    assert (record.state, record.error_type, record.error.startswith("Nothing was sent")) == (
        TaskState.FAILURE, "PermanentError", True,
    )  # fmt: skip
    assert shop.got == []


def test_the_secret_and_the_address_are_in_no_log_no_audit_and_no_task(service, shop, endpoint, caplog):
    shop.answers = [Answered(500), Answered(410)]
    with caplog.at_level(logging.DEBUG):
        an_end()
        follow()
        service.run_due()
        service.advance(6)
        webhooks.change(ANN, endpoint, ChangedWebhook(url=URL + "2", enabled=True))
        webhooks.test(ANN, endpoint)
        renewed = webhooks.renew_secret(ANN, endpoint, NewSecret())["secret"].removeprefix("whsec_")
        listed = repr(webhooks.listed())
    acts = [audit.shown(one) for one in audit.acts(WantedActs(target_kind="webhook", target_id=endpoint), 10)]
    assert [one["act"] for one in acts] == [
        "webhook.renew_secret", "webhook.test", "webhook.change", "webhook.add",
    ]  # fmt: skip
    assert acts[-1]["details"]["url"] == "shop.example.com"
    others = [table for table in metadata.sorted_tables if table is not rows.webhook_endpoints]
    stored = parts().database.read(lambda c: repr([c.execute(select(table)).all() for table in others]))
    assert parts().database.read(lambda c: len(c.execute(select(task_records)).all())) == 2
    key = shop.secret.removeprefix("whsec_")
    for place in (caplog.text, repr(acts), stored):
        for hidden in (key, renewed, "p4th-s3cret", "qu3ry-s3cret"):
            assert hidden not in place
    assert key not in listed
    assert renewed not in listed


def test_a_test_is_sent_at_once_and_tells_the_status(shop, endpoint):
    assert webhooks.test(ANN, endpoint) == {"delivered": True, "status": 204, "error": None}
    shop.answers = [Answered(500), AnswerLost("No answer came."), Answered(410)]
    failed = webhooks.test(ANN, endpoint)
    assert failed == {
        "delivered": False, "status": None,
        "error": "The endpoint at shop.example.com answers 500 Internal Server Error.",
    }  # fmt: skip
    assert webhooks.test(ANN, endpoint)["error"] == "No answer came."
    assert "410" in webhooks.test(ANN, endpoint)["error"]
    assert {told["type"] for _, told in shop.got} == {"webhook.test"}
    assert webhooks.listed()[0]["disabled_at"] is None
    with pytest.raises(UnknownWebhook):
        webhooks.test(ANN, "never")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"url": "http://shop.example.com/"}, InvalidArgument),
        ({"category": "emial"}, InvalidArgument),
        ({"name": "email.send_emial"}, UnknownTaskName),
        ({"category": "webhook"}, InvalidArgument),
        ({"name": TASK}, InvalidArgument),
    ],
)
def test_one_that_could_be_told_nothing_is_refused(endpoint, wrong, error):
    with pytest.raises(error):
        webhooks.add(ANN, NewWebhook(**{"url": URL} | wrong))
    with pytest.raises(error):
        webhooks.change(ANN, endpoint, ChangedWebhook(**wrong))
    assert len(webhooks.listed()) == 1


def test_no_rate_of_the_settings_binds_them_and_each_names_its_endpoint_to_limits():
    usual = DefaultLimits(rate_of("100/m"), rate_of("50/m"), {})
    assert usual.binding(send_webhook.category, "default") == {}
    drafted = webhooks.draft_of_end("w1", webhooks._ended(parts().tasks.read(an_end())))
    assert (drafted.category, drafted.limit_keys, drafted.relay_now) == (CATEGORY, ["webhook:w1"], True)


def begun(*endpoint_ids: str) -> list[str]:
    """Begin to tell an end of its own to each of these endpoints, in this order; returns to whom one is being told."""
    parts().workers.start(worker := str(uuid4()), "io@host", "host", 1, 0)
    sent = []
    for endpoint_id in endpoint_ids:
        draft = webhooks.draft_of_end(endpoint_id, webhooks._ended(parts().tasks.read(an_end())))
        parts().tasks.open(draft)
        if isinstance(parts().moves.start(draft.id, 0, worker, "io@host", 60), Started):
            sent.append(endpoint_id)
    return sent


def test_an_endpoint_that_never_answers_holds_two_slots_and_all_of_them_leave_a_worker_one(service):
    assert settings.celery_worker_concurrency == 4
    assert begun("w1", "w1", "w1", "w1", "w2", "w2", "w3") == ["w1", "w1", "w2"]
    held = {
        one["scope"]: one["running"]
        for one in celery_service.get_limits()
        if one["scope"] == "task:notification.send_webhook"
    }
    assert held == {"task:notification.send_webhook": 3}
    celery_service.set_limit("task:notification.send_webhook", concurrency="none")
    celery_service.set_limit("webhook:w1", concurrency=3)
    assert begun("w1", "w1", "w2", "w2", "w3") == ["w2", "w3"], "who waits for a slot is not overtaken"
    shown = {one["scope"]: (one["concurrency"], one["source"]) for one in celery_service.get_limits()}
    assert (shown["webhook:*"], shown["webhook:w1"]) == ((2, "settings"), (3, "database"))


@pytest.mark.parametrize(
    ("slots", "most", "to_one"), [(1, 1, 1), (2, 1, 1), (3, 2, 1), (4, 3, 2), (7, 6, 5), (64, 10, 5)]
)
def test_how_many_are_sent_at_once_leaves_a_worker_a_slot_where_it_has_one_to_leave(slots, most, to_one):
    assert webhooks_at_once(slots) == {"task:notification.send_webhook": most, "webhook:*": to_one}


def test_what_waits_for_a_slot_is_sent_when_there_is_one(service, shop, endpoint):
    assert begun(endpoint, endpoint) == [endpoint, endpoint]
    an_end()
    follow()
    service.run_due()
    assert shop.got == []
    running = select(task_records.c.id).where(task_records.c.state == "STARTED")
    one, _ = parts().database.read(lambda c: c.execute(running).scalars().all())
    parts().moves.succeed(one, 1, {})
    service.run_due()
    assert len(shop.got) == 1


def test_a_turn_of_the_leaders_thread_opens_them_while_it_leads(shop, endpoint):
    task_id = an_end()
    lead = Lead("here", parts().leadership.take("here", "here", 1))
    thread = WebhookFollower(WebhookFollowing(parts().database, webhooks.draft_of_end), lambda: lead, None)
    assert thread.turn(lead) == 1.0
    assert of_task(endpoint, task_id).state == TaskState.PENDING
    assert thread._guarded(Lead("another", 99)) == 1.0


def test_who_replays_a_disabled_ones_message_is_told_why(shop, endpoint):
    webhooks.change(ANN, endpoint, ChangedWebhook(enabled=False))
    with pytest.raises(PermanentError, match="is disabled: An admin disabled it"):
        webhooks.send(webhooks.SendWebhook(endpoint_id=endpoint, task_id=an_end(), run=1), 0)


def test_the_receiver_of_the_page_takes_what_is_signed_once_and_refuses_all_else():
    seen, taken, secret = set(), [], new_secret()
    first_time = lambda one: one not in seen and not seen.add(one)  # noqa: E731
    known = {"SECRET": secret, "first_time": first_time, "enqueue": taken.append}
    exec(examples("webhooks.md")[0], known)
    body = b'{"type":"task.succeeded"}'
    headers = headers_of([secret], "m1", int(time.time()), body)
    assert [known["receive"](headers, body) for _ in range(2)] == [204, 204]
    assert known["receive"](headers, body + b" ") == 401
    assert taken == [{"type": "task.succeeded"}]


def test_the_limits_of_the_page_are_some():
    exec(examples("webhooks.md")[1], {"celery_service": celery_service})
    shown = {one["scope"]: one["concurrency"] for one in celery_service.get_limits()}
    assert (shown["webhook:*"], shown["task:notification.send_webhook"]) == (5, 20)
