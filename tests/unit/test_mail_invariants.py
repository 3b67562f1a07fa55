"""What always holds of mail and notifications, whatever is asked for and in whatever order; each against a model."""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, product

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from adapters.outbox_mailer import OutboxMailer
from api.app import create_app
from config.settings import PROJECT_ROOT
from config.settings import settings as service_settings
from mail_rows import ScriptedMailer
from notification_carriers import carriers_in, subscription
from processors import email_delivery
from processors.composition import Composer
from processors.errors import IdempotencyConflict, PermanentError, TaskFailed, TransientError, TransportFault
from processors.interfaces import Outcome
from processors.suppression import REASONS
from records.columns import Now
from records.deliveries import OPEN_STATES, deliveries
from records.leadership import Lead
from records.task_records import columns, task_records
from services import mail_intake
from services.celery_service import celery_service
from services.relay import follow
from services.testing import WORKER, InlineService
from services.wiring import Parts, parts
from smtp_server import SmtpServer

EXAMPLES = count()
"""Each example has people of its own: one service serves them all."""

many = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def taken_from(service: InlineService, mark: int) -> Counter[str]:
    """Count what was mailed to each address of an example since somebody asked, and forget it."""
    found: Counter[str] = Counter()
    for path in service.outbox.glob("*.json"):
        to = json.loads(path.read_text())["to"]
        if re.search(rf"\D{mark}@", to[0]):  # an example that failed has left others
            found.update(to)
            path.unlink()
            path.with_suffix(".eml").unlink()
    return found


# --- 1: nobody is left without an outcome, however the mail's task ends --------------------------------------------

ANSWERS = {
    "fine": Outcome("accepted", 250),
    "grey": Outcome("deferred", 450, "4.2.0", "come again", 300.0),
    "gone": Outcome("refused", 550, "5.1.1", "no such user"),
    "lost": Outcome("unknown", text="no answer"),
}
MADE = {"never": PermanentError("It has no template."), "away": TransientError("Its file is away.")}
MAILS = st.lists(
    st.tuples(
        st.sampled_from(["made", "made", *MADE]),
        st.lists(st.sampled_from(list(ANSWERS)), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)
METHODS = ("send_email", "send_bulk_emails", "send_notification")


class Moody(ScriptedMailer):
    """Takes mails by the names of their recipients, or is itself at fault: always, or once it has a mail in hand."""

    def __init__(self, mood: str) -> None:
        super().__init__()
        self.mood = mood

    def send(self, queue):
        while (letter := queue.take()) is not None:
            if self.mood == "away":
                queue.give_back(letter)
                raise TransportFault("no connection")
            if self.mood == "wrong":
                raise RuntimeError("a bug")
            if self.mood == "late":
                raise SoftTimeLimitExceeded
            queue.turn([], [(letter, letter.recipients)])
            if self.mood == "dying":
                self.mood = "there"
                raise RuntimeError("a bug, with a mail in hand")
            queue.turn([(letter, {one: ANSWERS[one.partition(".")[0]] for one in letter.recipients})], [])


@many
@example("send_email", [("made", ["fine"])], "dying", "cancelled")
@given(
    st.sampled_from(METHODS),
    MAILS,
    st.sampled_from(["there", "there", "away", "wrong", "late", "dying"]),
    st.sampled_from(["of itself", "cancelled", "cancelled with all", "expired"]),
)
def test_nobody_is_left_without_an_outcome_however_the_task_of_a_mail_ends(inline_service, method, mails, mood, end):
    mark, mailer = next(EXAMPLES), Moody(mood)
    expires = {"expires_at": datetime.now(UTC) + timedelta(seconds=60)} if end == "expired" else {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Parts, "mailer", mailer)
        patched.setattr(Composer, "compose", composed_unless_told)
        patched.setattr(service_settings, "celery_task_max_retries", 1)
        patched.setattr(email_delivery, "MOST_TRIES", 2)
        task_id = submit_mails(method, mark, mails, **expires)
        if end == "cancelled":
            celery_service.cancel_task(task_id)
        elif end == "cancelled with all":
            parts().moves.revoke_all()
        inline_service.advance(3_600)
        follow_up()
        inline_service.run_due()
        parts().deliveries.prune(30)  # what was in hand when its task was cancelled is in doubt after some minutes
        assert celery_service.get_task_status(task_id)["status"] in {"SUCCESS", "FAILURE", "REVOKED"}

    d = deliveries.c
    query = select(d.address, d.state, d.text, d.code, d.closed_at, d.next_attempt_at).where(d.task_id == task_id)
    rows = parts().database.read(lambda c: c.execute(query).all())
    assert [row for row in rows if row.state in OPEN_STATES or row.closed_at is None or row.next_attempt_at] == []
    assert all(row.text or row.code for row in rows), "each has a reason"


def composed_unless_told(_composer, request, *_given, **_more) -> bytes:
    """Compose a mail whose subject does not tell why it cannot be."""
    if request.subject in MADE:
        raise MADE[request.subject]
    return b"Subject: s\r\n\r\nb\r\n"


def submit_mails(method: str, mark: int, mails, **more) -> str:
    items = [
        {
            "to_email": [f"{name}.{at}-{n}.{mark}@example.com" for n, name in enumerate(people)],
            "subject": made,
            "body": "b",
        }
        for at, (made, people) in enumerate(mails)
    ]
    if method == "send_bulk_emails":
        return celery_service.send_bulk_emails(items, batch_size=2, delay_between_batches=10, **more)
    if method == "send_email":
        return celery_service.send_email(**items[0], **more)
    [address, *_] = items[0]["to_email"]
    celery_service.set_contact(address, email=address)
    return celery_service.send_notification(address, "news", items[0]["subject"], "b", channels=["email"], **more)


def follow_up() -> None:
    """Do what the leader does some seconds after a cancellation."""
    late = update(task_records).where(columns.relay_at.is_not(None)).values(relay_at=Now())
    parts().database.write(lambda c: c.execute(late))
    follow(100, Lead(WORKER, parts().leadership.take(WORKER, WORKER, 1) or 0), lambda: True)


# --- 4: the same key twice is one mail, equal outcome; another payload is an error --------------------------------

SUBMITS = st.lists(
    st.tuples(
        st.sampled_from(["send_email", "send_bulk_emails", "send_notification"]),
        st.sampled_from("ab"),  # the key
        st.sampled_from([0, 1]),  # which of two payloads
        st.booleans(),  # the order in which a dict of it is written
        st.sampled_from([0, 0, 30]),  # seconds of delay, which is no payload
    ),
    min_size=2,
    max_size=12,
)
WORDS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=30)


@many
@given(SUBMITS, st.lists(WORDS, min_size=2, max_size=2, unique=True))
def test_a_key_is_one_mail_with_one_outcome_whatever_is_submitted_under_it(inline_service, submits, payloads):
    mark, first, ids = next(EXAMPLES), {}, dict[str, str]()
    for method, name, which, turned, delay in submits:
        key, address, payload = f"{name}-{mark}", f"{name}.{mark}@example.com", payloads[which]
        given_ = arguments_of(method, address, payload, turned=turned)
        if first.setdefault(key, (method, payload)) == (method, payload):
            told = getattr(celery_service, method)(**given_, idempotency_key=key, delay_seconds=delay)
            assert ids.setdefault(key, told) == told
        else:
            with pytest.raises(IdempotencyConflict, match=ids[key]):
                getattr(celery_service, method)(**given_, idempotency_key=key, delay_seconds=delay)
    inline_service.advance(31)

    assert taken_from(inline_service, mark) == {f"{key.replace('-', '.')}@example.com": 1 for key in first}
    for key, (method, payload) in first.items():
        address, result = f"{key.replace('-', '.')}@example.com", celery_service.get_task_result(ids[key])
        again = getattr(celery_service, method)(**arguments_of(method, address, payload), idempotency_key=key)
        inline_service.run_due()
        assert (again, celery_service.get_task_result(again)) == (ids[key], result)
    assert taken_from(inline_service, mark) == {}


def arguments_of(method: str, address: str, payload: str, *, turned: bool = False) -> dict:
    """Return what is submitted; what a payload says in a dict may stand there in either order."""
    pairs = [("X-Order", payload), ("X-Shop", "7")]
    mail = {"to_email": address, "subject": payload, "body": "text", "headers": dict(pairs[::-1] if turned else pairs)}
    if method == "send_email":
        return mail
    if method == "send_bulk_emails":
        return {"emails": [mail], "delay_between_batches": 0}
    celery_service.set_contact(address, email=address)
    return {"user_id": address, "notification_type": "news", "title": payload, "message": "text"}


# --- 10: who is suppressed or opted out when a mail goes out does not get it, but for what is critical -------------

PEOPLE, LISTS, TYPES = "ab", (None, "news"), ("bill", "welcome")
SHORT, ROUND, LONG = 1_800, 3_600, 5_400
"""Seconds: what ends before the next mails go out, when these go out, and what ends in the round after."""

people, lists, switch = st.sampled_from(PEOPLE), st.sampled_from(LISTS), st.booleans()
by_mail = st.fixed_dictionaries({"email": switch})
PREFERENCES = st.fixed_dictionaries(
    {},
    optional={
        "channels": by_mail,
        "types": st.dictionaries(st.sampled_from(TYPES), switch, min_size=1),
        "type_channels": st.dictionaries(st.sampled_from(TYPES), by_mail, min_size=1),
    },
)
SAID = st.one_of(
    st.tuples(st.just("suppress"), people, lists, st.sampled_from(REASONS), st.sampled_from([None, SHORT, LONG])),
    st.tuples(st.just("unsuppress"), people, lists),
    st.tuples(st.just("click"), people, lists),
    st.tuples(st.just("prefer"), people, PREFERENCES),
)
ROUNDS = st.lists(
    st.tuples(st.lists(SAID, min_size=1, max_size=4), st.sampled_from([0, ROUND, ROUND]), st.lists(SAID, max_size=3)),
    min_size=1,
    max_size=3,
)
"""What is said, after how many seconds all kinds of mail to everybody are due, and what is said meanwhile."""


@dataclass
class Model:
    """Who must be mailed, by the rules as docs/mail.md tells them.

    Attributes:
        suppressed: by person, list and reason: the second at which it ends, or None.
        now: seconds since the example began.
    """

    suppressed: dict[tuple[str, str | None, str], float | None] = field(default_factory=dict)
    preferences: dict[str, dict] = field(default_factory=dict)
    now: float = 0

    def suppress(self, person, list_name, reason, seconds):
        self.suppressed[person, list_name, reason] = None if seconds is None else self.now + seconds

    def unsuppress(self, person, list_name):
        self.suppressed = {key: end for key, end in self.suppressed.items() if key[:2] != (person, list_name)}

    def reason(self, person, list_name, *, critical) -> str | None:
        """Tell why this person gets no mail of this list now, by the strongest reason; None where it is to go out."""
        found = {
            reason
            for (who, scope, reason), end in self.suppressed.items()
            if who == person and scope in {None, list_name} and (end is None or end > self.now)
        }
        binding = found & {"complaint", "hard_bounce"} if critical else found
        return min(binding, key=REASONS.index, default=None)

    def wants(self, person, kind) -> bool:
        told = self.preferences.get(person, {})
        own = told.get("type_channels", {}).get(kind, {}).get("email")
        both = told.get("channels", {}).get("email", True) and told.get("types", {}).get(kind, True)
        return both if own is None else own


@dataclass
class World:
    """The service and its model, side by side.

    Attributes:
        queued: what waits for its due time: the task's id, and what it is.
        mailed: how many mails each address must have.
    """

    service: InlineService
    model: Model = field(default_factory=Model)
    mark: int = field(default_factory=lambda: next(EXAMPLES))
    queued: list[tuple[str, tuple]] = field(default_factory=list)
    mailed: Counter[str] = field(default_factory=Counter)

    def address(self, person: str) -> str:
        return f"{person}.{self.mark}@example.com"

    def take(self, said: tuple) -> None:
        """Say something of a person to the service and to the model."""
        getattr(self, f"_{said[0]}")(*said[1:])

    def _suppress(self, person, list_name, reason, seconds):
        until = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        celery_service.suppress_email(self.address(person), reason=reason, list_name=list_name, until=until)
        self.model.suppress(person, list_name, reason, seconds)

    def _unsuppress(self, person, list_name):
        celery_service.unsuppress_email(self.address(person), list_name=list_name)
        self.model.unsuppress(person, list_name)

    def _click(self, person, list_name):
        token = celery_service.unsubscribe_url(self.address(person), list_name).rpartition("/")[2]
        mail_intake.unsubscribe(parts().unsubscribing.read(token))
        self.model.suppress(person, list_name, "unsubscribe", None)

    def _prefer(self, person, preferences):
        celery_service.set_contact(self.address(person), email=self.address(person), preferences=preferences)
        self.model.preferences[person] = preferences

    def mail_everybody(self, delay: float) -> None:
        """Submit each kind of mail and notification to each person, and a mail to all of them."""
        kinds = list(product(LISTS, (False, True)))
        later = {"delay_seconds": delay}
        mails = [
            {"to_email": self.address(one), "subject": "s", "body": "b", "list_name": list_name, "critical": critical}
            for one, (list_name, critical) in product(PEOPLE, kinds)
        ]
        bulk_id = celery_service.send_bulk_emails(mails, delay_between_batches=0, **later)
        self._submitted(bulk_id, ("bulk", list(product(PEOPLE, kinds))), delay)
        to, *bcc = map(self.address, PEOPLE)
        for list_name, critical in kinds[:2]:
            more = {"list_name": list_name, "critical": critical} | later
            task_id = celery_service.send_email(to, "s", "b", bcc=bcc, **more)
            self._submitted(task_id, ("mail", list_name, critical), delay)
        for person, kind, critical in [*product(PEOPLE, TYPES, (False,)), (PEOPLE[0], TYPES[0], True)]:
            user = self.address(person)
            celery_service.set_contact(user, email=user)
            more = {"critical": critical} | later
            task_id = celery_service.send_notification(user, kind, "title", "message", ["email"], **more)
            self._submitted(task_id, ("notification", person, kind, critical), delay)

    def _submitted(self, task_id: str, what: tuple, delay: float) -> None:
        if delay:
            self.queued.append((task_id, what))
        else:
            self._check(task_id, what)

    def wait(self) -> None:
        """Let what is queued go out, and compare what became of it."""
        self.service.advance(ROUND + 1)
        self.model.now += ROUND
        for task_id, what in self.queued:
            self._check(task_id, what)
        self.queued = []
        self.model.now += 1

    def _check(self, task_id: str, what: tuple) -> None:
        """Compare what became of a task that has just run with what must have."""
        getattr(self, f"_check_{what[0]}")(celery_service.get_task_result(task_id), *what[1:])

    def _check_bulk(self, result, mails):
        mailed = [
            self.address(one) for one, (on, critical) in mails if not self.model.reason(one, on, critical=critical)
        ]
        assert (result["sent"], result["suppressed"]) == (len(mailed), len(mails) - len(mailed))
        self.mailed.update(mailed)

    def _check_mail(self, result, list_name, critical):
        whys = {self.address(one): self.model.reason(one, list_name, critical=critical) for one in PEOPLE}
        mailed = [address for address, why in whys.items() if why is None]
        assert result["suppressed"] == {address: why for address, why in whys.items() if why is not None}
        assert result["accepted"] == mailed
        self.mailed.update(mailed)

    def _check_notification(self, result, person, kind, critical):
        outcome = result["channels"]["email"]
        if not (critical or self.model.wants(person, kind)):
            assert (outcome["status"], outcome["reason"]) == ("skipped", "preference")
        elif why := self.model.reason(person, None, critical=critical):
            assert (outcome["status"], outcome["reason"]) == ("skipped", "suppressed")
            assert outcome["suppressed"] == {self.address(person): why}
        else:
            assert outcome["accepted"] == [self.address(person)]
            self.mailed[self.address(person)] += 1


@settings(many, max_examples=20)
@given(ROUNDS)
def test_who_is_mailed_is_decided_when_a_mail_goes_out_by_all_that_was_said_until_then(inline_service, rounds):
    world = World(inline_service)
    for before, delay, meanwhile in rounds:
        for one in before:
            world.take(one)
        world.mail_everybody(delay)
        for one in meanwhile:
            world.take(one)
        world.wait()
    assert taken_from(inline_service, world.mark) == world.mailed


# --- 15: a preview and null:// open no socket ---------------------------------------------------------------------


def sockets_of(url: str, what: str) -> tuple[int, list[str]]:
    """Return how many mails of random arguments were made, and which sockets were opened for them."""
    seed = os.environ.get("SEED") or str(random.randrange(10**6))
    print("seed", seed)  # noqa: T201 - a failing run shows it
    command = [sys.executable, "-m", "quiet_mail", seed, url, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    told = json.loads(done.stdout)
    return told["made"], told["opened"]


@pytest.mark.parametrize(("url", "what"), [("smtp://192.0.2.1", "preview"), ("null://", "send")])
def test_a_preview_and_mail_to_nowhere_open_no_socket_whatever_the_mail(url, what):
    made, opened = sockets_of(url, what)
    assert made >= 20, "most of the arguments are good"
    assert opened == []


def test_a_socket_that_is_opened_for_a_mail_is_seen():
    with SmtpServer() as server:
        _, opened = sockets_of(f"smtp://127.0.0.1:{server.port}?tls=none", "send")
    assert opened


# --- 16: one failing channel does not repeat another --------------------------------------------------------------

CARRIED = st.lists(st.sampled_from(["fine", "twice", "always", "gone", "refused", "vanishes"]), max_size=3, unique=True)
TRIES = 4
"""Of a task, as CELERY_TASK_MAX_RETRIES has it."""


class Failing(OutboxMailer):
    """Cannot be reached so many times, then writes into the outbox."""

    def __init__(self, times: int) -> None:
        super().__init__(service_settings.outbox_dir)
        self.times = times

    def send(self, queue):
        self.times -= 1
        if self.times >= 0:
            raise TransportFault("The mail server is away.")
        super().send(queue)


@many
@given(
    push=CARRIED,
    chat=CARRIED,
    sms=st.booleans(),
    faults=st.none() | st.integers(0, TRIES + 1),
    inbox=st.booleans(),
)
def test_whatever_fails_every_other_channel_and_endpoint_is_told_once_over_all_retries(
    inline_service, tmp_path, push, chat, sms, faults, inbox
):
    mark = next(EXAMPLES)
    folder = tmp_path / str(mark)
    folder.mkdir()
    vars(parts())["carriers"] = carriers = carriers_in(folder)
    vars(parts())["mailer"] = Failing(faults or 0)
    user = f"user-{mark}"
    ends = {
        "push": {subscription(f"{one}-{mark}")["endpoint"]: one for one in push},
        "chat": {f"slack://{one}-{mark}/b/c": one for one in chat},
        "sms": {"+491701234567": "fine"} if sms else {},
    }
    celery_service.set_contact(
        user,
        email=f"{user}@example.com",
        phone="+491701234567" if sms else None,
        push=[subscription(f"{one}-{mark}") for one in push] or None,
        chat=list(ends["chat"]) or None,
    )
    channels = ["push", "chat", "sms", *(["email"] if faults is not None else []), *(["inbox"] if inbox else [])]
    task_id = celery_service.send_notification(user, "news", "title", "message", channels)
    inline_service.advance(120)  # what vanished is in doubt for a while

    told = outcome_of(task_id)["channels"]
    for channel, endpoints in ends.items():
        sent = Counter(line["where"] for line in carriers[channel].lines("sent"))
        tried = Counter(line["where"] for line in carriers[channel].lines("tried"))
        assert sent == {where: 1 for where, word in endpoints.items() if word in {"fine", "twice"}}
        again = "vanishes" in endpoints.values()  # what is in doubt lets the last attempt look again
        asked = ASKED | {"always": TRIES + again}
        assert tried == {where: asked[word] for where, word in endpoints.items()}
    mailed = faults is not None and faults < TRIES
    assert taken_from(inline_service, mark) == ({f"{user}@example.com": 1} if mailed else {})
    assert (told.get("email", {}).get("status") == "sent") == mailed
    assert [one["title"] for one in celery_service.get_inbox(user)["items"]] == ["title"] * inbox


ASKED = {"fine": 1, "twice": 3, "always": TRIES, "gone": 1, "refused": 1, "vanishes": 1}
"""How often each endpoint is asked."""


def outcome_of(task_id: str) -> dict:
    try:
        return celery_service.get_task_result(task_id)
    except TaskFailed as failed:
        return failed.result


# --- 17: unsubscribing by POST is idempotent and counts for what is queued; GET changes nothing --------------------

WHERE = st.tuples(people, lists)
VISITS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["GET", "HEAD", "POST", "POST"]), WHERE),
        st.tuples(st.just("mail"), WHERE),
        st.tuples(st.just("send")),
    ),
    min_size=3,
    max_size=14,
)


@many
@given(VISITS)
def test_a_post_unsubscribes_from_what_is_queued_already_however_often_and_a_look_changes_nothing(
    inline_service, visits
):
    mark, gone, queued = next(EXAMPLES), set(), []
    answers = dict[tuple, str]()
    with TestClient(create_app(service_settings), base_url="http://localhost") as client:
        for what, *where in [*visits, ("send",)]:
            if what == "send":
                inline_service.advance(61)
                for (person, list_name), task_id in queued:
                    left = bool({(person, None), (person, list_name)} & gone)
                    status = celery_service.get_task_result(task_id)["status"]
                    assert status == ("suppressed" if left else "sent")
                expected = Counter(
                    f"{who}.{mark}@example.com" for (who, on), _ in queued if not {(who, None), (who, on)} & gone
                )
                assert taken_from(inline_service, mark) == expected
                queued = []
                continue
            [(person, list_name)] = where
            address = f"{person}.{mark}@example.com"
            if what == "mail":
                more = {"list_name": list_name, "delay_seconds": 60}
                queued.append(((person, list_name), celery_service.send_email(address, "s", "b", **more)))
                continue
            url = celery_service.unsubscribe_url(address, list_name)
            form = {"List-Unsubscribe": "One-Click"} if what == "POST" else None
            answer = client.request(what, url.removeprefix(service_settings.webhook_base_url), data=form)
            assert answer.status_code == 200
            if what == "POST":
                gone.add((person, list_name))
                assert answers.setdefault((person, list_name), answer.text) == answer.text
            known = {
                (who, one["list_name"])
                for who in PEOPLE
                for one in celery_service.get_suppressions(f"{who}.{mark}@example.com")
            }
            assert known == gone


@pytest.mark.parametrize("page", ["0006-tests.md", "0029-calls.md"])
def test_the_tests_that_the_decision_names_for_each_promise_are_there(page: str):
    named = set(re.findall(r"`(test_\w+)`", (PROJECT_ROOT / "docs" / "decisions" / page).read_text()))
    tests = "".join(path.read_text() for path in (PROJECT_ROOT / "tests").glob("*/**/test_*.py"))
    assert len(named) > 30
    assert {name for name in named if f"def {name}(" not in tests} == set()
