"""The simulated exchange by a clock that moves when it is told to: what calls go through, and what they tell."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random

import pytest

from adapters.phone_simulator import measures
from adapters.phone_simulator.callees import MAGIC, MAGIC_HELP, Callee
from adapters.phone_simulator.clock import ManualClock
from adapters.phone_simulator.exchange import Exchange, Lines
from adapters.phone_simulator.faults import Faults
from adapters.phone_simulator.measures import Measures
from adapters.phone_simulator.orders import CallPlan, Webhook
from adapters.phone_simulator.refusals import Refusal
from adapters.phone_simulator.timetable import Timetable
from adapters.phone_simulator.webhooks import Message, Reply, Then

OURS = "+15005550006"
PERSON = "+491701234599"
EVENTS = ("initiated", "ringing", "answered", "completed")
HELLO = b"<Response><Say>Hello</Say></Response>"
FAST = Lines((OURS,), calls_per_second=1000)


@dataclass
class Web:
    """Answers the exchange's messages at once, or keeps them until `answer_all`."""

    documents: dict[str, bytes | Reply] = field(default_factory=dict)
    told: list[dict[str, str]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    waiting: list[tuple[Message, Then]] = field(default_factory=list)
    slow: bool = False

    def send(self, message: Message, then: Then, line: str) -> None:
        fields = dict(message.fields)
        if line:
            self.told.append(fields | {"at": message.webhook.url})
            then(Reply(204))
        else:
            self.asked.append((message.webhook.url, fields))
            self.waiting.append((message, then))

    def answer_all(self) -> None:
        waiting, self.waiting = self.waiting, []
        for message, then in waiting:
            found = self.documents.get(message.webhook.url, HELLO)
            then(found if isinstance(found, Reply) else Reply(200, "text/xml", found))

    def statuses(self, url: str = "http://localhost/status") -> list[str]:
        return [one["CallStatus"] for one in self.told if one["at"] == url]


@dataclass
class Floor:
    """An exchange with its clock and its web."""

    lines: Lines = FAST
    web: Web = field(default_factory=Web)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.timetable = Timetable(self.clock)
        self.exchange = Exchange("AC1", self.lines, self.timetable, self.web.send, Random(1))

    def pass_(self, seconds: float) -> None:
        """Let time pass, and answer what is asked on the way, unless the web is slow."""
        until = self.clock.seconds + seconds
        while True:
            while self.web.waiting and not self.web.slow:
                self.web.answer_all()
            upcoming = self.timetable.next_moment()
            if upcoming is None or upcoming > until:
                break
            self.clock.seconds = max(self.clock.seconds, upcoming)
            self.timetable.run_due()
        self.clock.seconds = until

    def create(self, to: str = PERSON, **more: str):
        form = {
            "To": to,
            "From": OURS,
            "Url": "http://localhost/answer?attempt=7",
            "StatusCallback": "http://localhost/status",
        }
        events = [("StatusCallbackEvent", event) for event in EVENTS]
        return self.exchange.create([*(form | more).items(), *events])


def steps(call) -> list[str]:
    return [what for _, what in call.history]


def moment(call, step: str) -> float:
    """Return how long after its creation a call came to a step."""
    return next(date - call.created for date, what in call.history if what == step) / timedelta(seconds=1)


def test_a_person_answers_hears_the_message_and_each_step_is_told_once_in_order():
    floor = Floor()
    call = floor.create()
    assert (call.status, call.sid[:2], len(call.sid)) == ("queued", "CA", 34)
    floor.pass_(60)
    assert steps(call) == ["queued", "initiated", "ringing", "in-progress", "hears Say", "completed"]
    assert floor.web.statuses() == ["initiated", "ringing", "in-progress", "completed"]
    assert [one["SequenceNumber"] for one in floor.web.told] == ["0", "1", "2", "3"]
    assert 2 <= moment(call, "in-progress") - moment(call, "ringing") <= 6
    last = floor.web.told[-1]
    assert (last["CallDuration"], last["Duration"], last["SipResponseCode"]) == ("1", "1", "200")
    assert last["Timestamp"].endswith("+0000")
    assert last["FromCity"] == ""
    assert floor.timetable.next_moment() is None


@pytest.mark.parametrize(
    ("digits", "told", "sip"),
    [
        ("0001", ["initiated", "busy"], "486"),
        ("0002", ["initiated", "ringing", "no-answer"], "487"),
        ("0003", ["initiated", "failed"], "404"),
        ("0004", ["initiated", "ringing", "in-progress", "completed"], "200"),
        ("0006", ["initiated", "ringing", "in-progress", "completed"], "200"),
    ],
)
def test_the_last_digits_of_a_number_decide_how_a_call_ends(digits, told, sip):
    floor = Floor()
    call = floor.create(f"+155500{digits}")
    floor.pass_(120)
    assert floor.web.statuses() == told
    assert floor.web.told[-1]["SipResponseCode"] == sip
    assert call.resource(floor.clock.now())["status"] == told[-1]


def test_magic_can_be_left_out_so_that_any_number_is_a_person():
    floor = Floor(Lines((OURS,), calls_per_second=1000, magic=False))
    for number in ("+1555000001", "+15550021211"):
        floor.create(number)
    floor.pass_(60)
    assert floor.exchange.measures.ended == {"completed": 2}


@pytest.mark.parametrize(("ring", "status", "seconds"), [(20, "no-answer", 20), (30, "in-progress", 25)])
def test_a_slow_callee_is_reached_only_where_it_rings_long_enough(ring, status, seconds):
    floor = Floor()
    call = floor.create("+1555000005", Timeout=str(ring))
    floor.pass_(60)
    assert moment(call, status) - moment(call, "ringing") == pytest.approx(seconds)


def test_who_hangs_up_at_once_does_so_while_the_document_is_still_asked_for():
    floor = Floor()
    floor.web.slow = True
    call = floor.create("+1555000006")
    floor.pass_(60)
    assert moment(call, "completed") - moment(call, "in-progress") == pytest.approx(0.5)
    floor.web.answer_all()
    assert steps(call)[-1] == "completed"


def test_an_endless_message_ends_at_the_time_limit():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Say loop='0'>Hello</Say></Response>"
    call = floor.create(TimeLimit="100")
    floor.pass_(200)
    assert call.duration == 100


def test_calls_beyond_the_pace_wait_in_the_queue_and_are_dialled_later():
    floor = Floor(Lines((OURS,), calls_per_second=2))
    calls = [floor.create(f"+4917012345{number}") for number in range(20, 24)]
    floor.pass_(0)
    assert [call.status for call in calls] == ["initiated", "queued", "queued", "queued"]
    assert [call.resource(0)["queue_time"] for call in calls] == ["0", "500", "1000", "1500"]
    assert floor.exchange.measures.queued_most == 4  # the first one too, for no time at all
    floor.pass_(60)
    assert [moment(call, "initiated") for call in calls] == pytest.approx([0, 0.5, 1.0, 1.5])
    assert floor.exchange.measures.queued_now == 0


def test_what_would_wait_longer_than_a_day_is_cancelled_after_a_day():
    floor = Floor(Lines((OURS,), calls_per_second=1 / 50_000))
    calls = [floor.create(f"+4917012345{number}") for number in range(20, 23)]
    floor.pass_(2 * 86_400)
    assert [call.status for call in calls] == ["completed", "completed", "canceled"]
    assert moment(calls[2], "canceled") == 86_400
    assert floor.exchange.measures.queued_now == 0


def test_there_are_never_more_live_calls_than_allowed_and_an_end_makes_room():
    floor = Floor(Lines((OURS,), calls_per_second=1000, live_calls=2))
    first = floor.create("+491701234520")
    floor.create("+491701234521")
    with pytest.raises(Refusal) as refused:
        floor.create("+491701234522")
    assert refused.value.code == 10004
    with pytest.raises(Refusal):
        floor.exchange.incoming(CallPlan(OURS, PERSON, Webhook("http://localhost/in", "POST")), Callee())
    floor.exchange.change(first.sid, [("Status", "completed")])
    floor.create("+491701234522")
    assert (floor.exchange.measures.live_now, floor.exchange.measures.live_most) == (2, 2)


@pytest.mark.parametrize(
    ("to", "mode", "answered_by", "seconds"),
    [
        (PERSON, "Enable", "human", 4),
        ("+1555000004", "Enable", "machine_start", 4),
        ("+1555000004", "DetectMessageEnd", "machine_end_beep", 12),
    ],
)
def test_a_machine_is_told_from_a_person_before_anything_is_said(to, mode, answered_by, seconds):
    floor = Floor()
    call = floor.create(to, MachineDetection=mode)
    floor.pass_(120)
    (_, fields) = floor.web.asked[0]
    assert fields["AnsweredBy"] == answered_by
    assert moment(call, "hears Say") - moment(call, "in-progress") == pytest.approx(seconds)
    assert floor.web.told[-1]["AnsweredBy"] == answered_by
    assert call.resource(0)["answered_by"] == answered_by


def test_a_machine_is_told_while_the_message_is_heard_where_that_is_asked_for():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Pause length='30'/></Response>"
    call = floor.create(
        "+1555000004", MachineDetection="Enable", AsyncAmd="true", AsyncAmdStatusCallback="http://localhost/amd"
    )
    floor.pass_(120)
    told = [one for one in floor.web.told if one["at"] == "http://localhost/amd"]
    assert [(one["AnsweredBy"], one["MachineDetectionDuration"]) for one in told] == [("machine_start", "4000")]
    assert moment(call, "hears Pause") == moment(call, "in-progress")


def test_detection_that_takes_too_long_knows_nothing():
    floor = Floor()
    floor.create("+1555000004", MachineDetection="DetectMessageEnd", MachineDetectionTimeout="10")
    floor.pass_(120)
    assert floor.web.told[-1]["AnsweredBy"] == "unknown"


GATHER = "<Response><Gather {0} action='/keys'><Say>Press nine to stop</Say></Gather><Say>Goodbye</Say></Response>"


@pytest.mark.parametrize(
    ("to", "options", "fields", "verbs"),
    [
        ("+1555000007", "numDigits='1'", {"Digits": "9"}, ["hears Gather", "hears Say"]),
        ("+1555000008", "", {"Digits": "1"}, ["hears Gather", "hears Say"]),
        ("+1555000007", "input='speech'", None, ["hears Gather Say"]),
        ("+1555000009", "input='dtmf speech'", {"SpeechResult": "yes"}, ["hears Gather", "hears Say"]),
        (PERSON, "numDigits='1'", None, ["hears Gather Say"]),
        (PERSON, "numDigits='1' actionOnEmptyResult='true'", {"Digits": ""}, ["hears Gather", "hears Say"]),
    ],
)
def test_what_a_callee_presses_or_says_is_posted_to_the_action_and_silence_goes_on(to, options, fields, verbs):
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = GATHER.format(options).encode()
    call = floor.create(to)
    floor.pass_(120)
    posted = [asked for url, asked in floor.web.asked if url == "http://localhost/keys"]
    if fields is None:
        assert posted == []
    else:
        assert [{name: one[name] for name in fields} for one in posted] == [fields]
    assert [step for step in steps(call) if step.startswith("hears")] == verbs


@pytest.mark.parametrize(
    ("options", "digits", "finished", "seconds"),
    [
        ("timeout='4'", "12", "#", 2.5),
        ("numDigits='1' timeout='4'", "1", "", 2.0),
        ("finishOnKey='' timeout='4'", "12#3", "", 7.5),
        ("finishOnKey='*' numDigits='9' timeout='4'", "12#3", "", 7.5),
    ],
)
def test_a_gather_ends_at_its_last_digit_its_last_key_or_after_its_time_out(options, digits, finished, seconds):
    floor = Floor(Lines((OURS,), calls_per_second=1000, callees=lambda _number: Callee(keys="12#3")))
    floor.web.documents["http://localhost/answer?attempt=7"] = GATHER.format(options).encode()
    call = floor.create()
    floor.pass_(120)
    (posted,) = [asked for url, asked in floor.web.asked if url == "http://localhost/keys"]
    assert (posted["Digits"], posted["FinishedOnKey"]) == (digits, finished)
    assert moment(call, "hears Say") - moment(call, "hears Gather") == pytest.approx(seconds)


def test_keys_are_pressed_once_so_that_a_gather_without_an_action_of_its_own_comes_to_an_end():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Gather numDigits='1'/></Response>"
    call = floor.create("+1555000007")
    floor.pass_(120)
    assert [fields.get("Digits") for _, fields in floor.web.asked] == [None, "9"]
    assert call.status == "completed"


@pytest.mark.parametrize(
    ("document", "asked", "seconds"),
    [
        ("<Redirect>/next</Redirect>", {}, 0),
        ("<Say>0123456789abcde</Say><Redirect method='GET'>/next</Redirect>", {}, 1),
        ("<Record action='/next' maxLength='2' timeout='3'/>", {"RecordingDuration": "2"}, 5),
        ("<Dial action='/next'>+491701234511</Dial>", {"DialCallStatus": "completed"}, 10),
    ],
)
def test_a_follow_up_is_asked_for_when_the_verb_is_done(document, asked, seconds):
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = f"<Response>{document}</Response>".encode()
    call = floor.create()
    floor.pass_(120)
    (fields,) = [fields for url, fields in floor.web.asked if url == "http://localhost/next"]
    assert {name: fields[name] for name in asked} == asked
    heard = [date for date, what in call.history if what.startswith("hears")]
    assert (heard[1] - heard[0]) / timedelta(seconds=1) == pytest.approx(seconds)


def test_a_document_that_redirects_to_itself_ends():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Redirect/></Response>"
    call = floor.create()
    floor.pass_(120)
    assert call.status == "completed"
    assert len(floor.web.asked) == 200


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, "text/xml", b"<Response><Say>Hello</Response>"), "12100"),
        (Reply(200, "text/xml", b"<Response><Say>\x0b</Say></Response>"), "12100"),
        (Reply(200, "text/xml", b""), "12100"),
        (Reply(200, "text/xml", b"<Reply/>"), "12102"),
        (Reply(200, "text/xml", b"<Response>" + b" " * 65_536 + b"</Response>"), "11750"),
        (Reply(200, "text/xml", b"<Response><Redirect>http://[</Redirect></Response>"), "11100"),
        (Reply(200, "application/json", b"{}"), "12300"),
        (Reply(500, "text/xml", HELLO), "11200"),
        (Reply(302, "text/xml", b""), "11200"),
        (Reply(0, problem="no connection"), "11200"),
    ],
)
def test_a_call_drops_where_its_document_is_none_unless_there_is_a_fallback(reply, code):
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = reply
    call = floor.create()
    floor.pass_(60)
    assert any(step.startswith(code) for step in steps(call))
    assert steps(call)[-1] == "completed"
    assert moment(call, "completed") == moment(call, "in-progress")
    second = floor.create(FallbackUrl="http://localhost/fallback")
    floor.pass_(60)
    assert [fields["ErrorCode"] for url, fields in floor.web.asked if url == "http://localhost/fallback"] == [code]
    assert "hears Say" in steps(second)


def test_a_verb_that_nobody_knows_is_passed_over():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Sing/><Say>Hello</Say></Response>"
    call = floor.create()
    floor.pass_(60)
    assert "hears Sing (12200: passed over) Say" in steps(call)


@pytest.mark.parametrize("loop", ["-1", "x", "²", "9" * 5000, ""])
def test_a_count_that_is_none_is_one(loop):
    floor = Floor()
    document = f"<Response><Say loop='{loop}'>Hello</Say><Gather numDigits='{loop}'/></Response>"
    floor.web.documents["http://localhost/answer?attempt=7"] = document.encode()
    call = floor.create()
    floor.pass_(120)
    assert call.duration == 6


def test_what_comes_with_the_order_is_heard_without_asking_anybody():
    floor = Floor()
    form = [("To", PERSON), ("From", OURS), ("Twiml", "<Response><Say>Hello</Say></Response>")]
    call = floor.exchange.create(form)
    floor.pass_(60)
    assert (steps(call)[-2:], floor.web.asked, floor.web.told) == (["hears Say", "completed"], [], [])


@pytest.mark.parametrize(
    ("seconds", "asked", "status"),
    [
        (0.1, "completed", "canceled"),
        (0.1, "canceled", "canceled"),
        (1.5, "completed", "canceled"),
        (1.5, "canceled", "canceled"),
        (20, "completed", "completed"),
        (20, "canceled", "in-progress"),
    ],
)
def test_a_call_is_ended_at_any_time_and_cancelled_until_it_is_answered(seconds, asked, status):
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Pause length='60'/></Response>"
    call = floor.create()
    floor.pass_(seconds)
    floor.exchange.change(call.sid, [("Status", asked)])
    assert call.status == status
    assert floor.web.statuses()[-1] == status
    floor.pass_(120)
    assert floor.exchange.measures.live_now == 0


def test_what_has_ended_cannot_be_changed():
    floor = Floor()
    call = floor.create()
    floor.pass_(60)
    for form in ([("Status", "completed")], [("Status", "canceled")], [("Twiml", "<Response/>")]):
        with pytest.raises(Refusal) as refused:
            floor.exchange.change(call.sid, form)
        assert refused.value.code == 21220


def test_a_call_hears_something_else_from_the_moment_it_is_told_to():
    floor = Floor()
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Pause length='60'/></Response>"
    call = floor.create()
    floor.pass_(20)
    floor.exchange.change(call.sid, [("Twiml", "<Response><Hangup/></Response>")])
    floor.pass_(0)
    assert steps(call)[-2:] == ["hears Hangup", "completed"]


def test_a_document_that_comes_after_something_else_was_asked_for_is_void():
    floor = Floor()
    floor.web.slow = True
    call = floor.create()
    floor.pass_(20)
    floor.exchange.change(call.sid, [("Twiml", "<Response><Pause length='60'/></Response>")])
    floor.web.answer_all()
    assert [step for step in steps(call) if step.startswith("hears")] == ["hears Pause"]
    floor.pass_(120)
    assert call.duration >= 60


def test_recordings_are_told():
    floor = Floor()
    floor.create(Record="true", RecordingStatusCallback="http://localhost/recorded")
    floor.pass_(60)
    (told,) = [one for one in floor.web.told if one["at"] == "http://localhost/recorded"]
    assert told["RecordingSid"].startswith("RE")
    assert (told["RecordingStatus"], told["RecordingDuration"]) == ("completed", "1")


def test_an_inbound_call_is_answered_by_what_it_hears_or_rejected():
    floor = Floor()
    floor.web.documents["http://localhost/in"] = b"<Response><Gather numDigits='1' action='/keys'/></Response>"
    floor.web.documents["http://localhost/no"] = b"<Response><Reject reason='busy'/></Response>"
    status = Webhook("http://localhost/status", "POST")
    heard = floor.exchange.incoming(
        CallPlan(OURS, PERSON, Webhook("http://localhost/in", "POST"), status=status), Callee(keys="1")
    )
    rejected = floor.exchange.incoming(CallPlan(OURS, PERSON, Webhook("http://localhost/no", "POST")), Callee())
    floor.pass_(60)
    assert [(url, fields["Direction"], fields["CallStatus"]) for url, fields in floor.web.asked] == [
        ("http://localhost/in", "inbound", "ringing"),
        ("http://localhost/no", "inbound", "ringing"),
        ("http://localhost/keys", "inbound", "in-progress"),
    ]
    assert (heard.status, rejected.status, rejected.duration) == ("completed", "busy", 0)
    assert floor.web.statuses() == ["completed"]
    assert floor.exchange.measures.rung == {}


def test_everything_is_counted_also_what_is_forgotten():
    floor = Floor(Lines((OURS,), calls_per_second=1000, kept=2))
    for number in (20, 21, 20, 22):
        floor.exchange.posted([("Url", f"http://localhost/answer?attempt=a{number}")])
        floor.create(f"+4917012345{number}", Url=f"http://localhost/answer?attempt=a{number}")
    measures = floor.exchange.measures
    assert (measures.live_now, measures.live_most) == (4, 4)
    assert measures.live_most_by_number == {"+491701234520": 2, "+491701234521": 1, "+491701234522": 1}
    floor.pass_(60)
    assert measures.rung == {"+491701234520": 2, "+491701234521": 1, "+491701234522": 1}
    assert measures.posts_by_attempt == measures.calls_by_attempt == {"a20": 2, "a21": 1, "a22": 1}
    assert (measures.posts, measures.calls, measures.posts_most_in_a_second) == (4, 4, 4)
    assert (measures.live_now, measures.live_most, measures.ended) == (0, 4, {"completed": 4})
    assert len(floor.exchange.remembered()) == 2
    assert len(floor.exchange.listed()) == 2


def test_one_call_after_another_to_a_number_is_one_at_an_instant():
    floor = Floor()
    for _ in range(2):
        floor.create()
        floor.pass_(60)
    assert floor.exchange.measures.live_most_by_number == {PERSON: 1}
    assert floor.exchange.measures.live_most == 1


def test_creates_are_counted_within_any_second(monkeypatch):
    counted = Measures()
    for moment in (0.0, 0.5, 0.999, 1.0, 1.4, 2.5):
        monkeypatch.setattr(measures.time, "monotonic", partial(float, moment))
        counted.posted("")
    assert counted.posts_most_in_a_second == 4  # at 0.5, 0.999, 1.0 and 1.4
    assert counted.posts == 6


def test_prices_are_known_a_minute_after_the_end():
    floor = Floor()
    call = floor.create()
    floor.pass_(30)
    assert call.resource(floor.clock.now())["price"] is None
    floor.pass_(90)
    assert call.resource(floor.clock.now())["price"] == "-0.01400"


def told_with(seed: int = 1, to: str = PERSON, **faults) -> list[dict[str, str]]:
    """Return what two calls tell when something goes wrong."""
    floor = Floor()
    floor.exchange = Exchange("AC1", floor.lines, floor.timetable, floor.web.send, Random(seed))
    floor.exchange.faults = Faults(**faults)
    floor.create(to)
    floor.pass_(120)
    return floor.web.told


def told_statuses(**faults) -> list[str]:
    return [one["CallStatus"] for one in told_with(**faults)]


def test_each_fault_of_callbacks_does_what_it_says():
    assert told_statuses(lose=1.0) == []
    assert told_statuses(only_completed=True) == ["completed"]
    assert told_statuses(reverse=True) == ["completed", "in-progress", "ringing", "initiated"]
    assert told_statuses(two_terminals=True)[-2:] == ["completed", "failed"]
    assert told_statuses(unknown_status=True) == ["initiated", "ringing", "transferring", "in-progress", "completed"]
    assert {one["AccountSid"] for one in told_with(wrong_account=True)} == {"AC" + "f" * 32}
    assert not any("SequenceNumber" in one for one in told_with(no_sequence=True))
    assert not any("CallDuration" in one for one in told_with(no_duration=True))
    assert told_statuses(duplicate=1.0, copies=4) == [
        status for status in ("initiated", "ringing", "in-progress", "completed") for _ in range(5)
    ]


def test_a_duplicate_is_the_same_message_with_the_same_token():
    floor = Floor()
    tokens: list[str] = []
    sent = floor.web.send

    def send(message, then, line):
        tokens.append(message.token)
        sent(message, then, line)

    floor.exchange = Exchange("AC1", floor.lines, floor.timetable, send, Random(1))
    floor.exchange.faults = Faults(duplicate=1.0)
    floor.create(StatusCallbackEvent="completed")
    floor.pass_(2)
    assert len(tokens) == 2 * len(set(tokens))


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_callbacks_are_lost_and_reordered_as_the_seed_says(seed):
    whole = ["initiated", "ringing", "in-progress", "completed"]
    lost = [one["CallStatus"] for one in told_with(seed, lose=0.5)]
    mixed = [one["CallStatus"] for one in told_with(seed, reorder=0.5)]
    assert lost == [one for one in whole if one in lost]
    assert sorted(mixed) == sorted(whole)
    assert lost == [one["CallStatus"] for one in told_with(seed, lose=0.5)]
    assert mixed == [one["CallStatus"] for one in told_with(seed, reorder=0.5)]


def test_seeds_differ_and_something_is_lost_and_reordered():
    whole = ["initiated", "ringing", "in-progress", "completed"]
    assert any([one["CallStatus"] for one in told_with(seed, lose=0.5)] != whole for seed in range(5))
    assert any([one["CallStatus"] for one in told_with(seed, reorder=0.5)] != whole for seed in range(5))
    assert told_with(reorder=1.0)[0]["CallStatus"] == "completed"


def test_late_callbacks_come_late():
    floor = Floor()
    floor.exchange.faults = Faults(delay=5.0)
    floor.create()
    floor.pass_(4.9)
    assert floor.web.told == []
    floor.pass_(0.2)
    assert floor.web.statuses() == ["initiated"]


def test_a_cancelled_call_is_spelled_as_asked_for():
    floor = Floor()
    floor.exchange.faults = Faults(british_spelling=True)
    call = floor.create()
    floor.pass_(1)
    floor.exchange.change(call.sid, [("Status", "completed")])
    assert floor.web.statuses()[-1] == "cancelled"
    assert call.resource(0)["status"] == "canceled"


def test_detection_comes_after_the_end_where_that_is_asked_for():
    floor = Floor()
    floor.exchange.faults = Faults(detection_late=True)
    floor.web.documents["http://localhost/answer?attempt=7"] = b"<Response><Pause length='30'/></Response>"
    floor.create(MachineDetection="Enable", AsyncAmd="true", AsyncAmdStatusCallback="http://localhost/amd")
    floor.pass_(120)
    assert [one["at"] for one in floor.web.told][-2:] == ["http://localhost/status", "http://localhost/amd"]


def test_a_longer_queue_is_waited_in_and_told():
    floor = Floor()
    floor.exchange.faults = Faults(queue_seconds=90)
    call = floor.create()
    assert call.resource(0)["queue_time"] == "90000"
    floor.pass_(89)
    assert call.status == "queued"
    floor.pass_(2)
    assert call.status == "ringing"


def test_a_new_call_is_in_no_list_and_not_found_for_a_while():
    floor = Floor()
    floor.exchange.faults = Faults(list_lag=60, fetch_missing=30)
    call = floor.create()
    floor.pass_(29)
    with pytest.raises(Refusal) as refused:
        floor.exchange.find(call.sid)
    assert refused.value.code == 20404
    floor.pass_(2)
    assert floor.exchange.find(call.sid) is call
    assert floor.exchange.listed(PERSON) == []
    floor.pass_(30)
    assert floor.exchange.listed(PERSON) == [call]


def test_timers_of_ended_calls_are_forgotten():
    floor = Floor()
    for number in range(100):
        floor.create(f"+49170{number:07d}", TimeLimit="14400", Url="http://localhost/answer")
    floor.pass_(120)
    assert floor.exchange.measures.live_now == 0
    assert len(floor.timetable._due) <= 1


def test_every_magic_number_is_told_in_the_help():
    assert all(f"…{digits} " in MAGIC_HELP for digits in MAGIC)
