"""A campaign calls every member until it is final, within its figures, whatever the provider does."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_rows import CAMPAIGN, OURS
from calling import Office
from processors import doubt
from processors.call_interfaces import CallInDoubt, CallNotTaken, CallRefused, CallRow, CallsHalted, Gate
from processors.call_outcomes import MOST_UNKNOWN
from processors.campaigns import (
    ORDERS_AT_ONCE,
    REFUSED_IN_ROW,
    CampaignStep,
    CampaignTools,
    QueueBulkCalls,
    check_numbers,
    conclude_campaign,
)
from processors.errors import Cancelled, InvalidArgument, Postponed, TransientError
from records.call_gates import Wish
from records.members import insert_members
from records.parents import Parents
from records.task_records import Draft

NUMBERS = [f"+1555777{at:04}" for at in range(1000, 1100)]
LOST = CallInDoubt("the answer was lost")


class Campaign:
    """A campaign whose steps a worker runs, in a time that passes at once."""

    def __init__(self, office: Office, numbers: list[str], *, strict: bool = False, **figures: Any) -> None:
        self.office, self.phones = office, office.phones
        self.plan = QueueBulkCalls(**{"delay_between_calls": 0, "max_concurrent_calls": 5, **figures})
        rows = list(check_numbers(numbers))
        parent = Draft(
            "a", CAMPAIGN, "twilio_calls", "twilio_calls", kwargs=self.plan.model_dump(mode="json"), is_parent=True,
            members_total=len(rows),
        )  # fmt: skip
        step = Draft("step", "twilio_calls.run_campaign", "twilio_calls", "twilio_calls", parent_id="a")
        Parents(self.phones.database).open(parent, rows, [step])
        self.total, self.strict, self.time, self.slept = len(rows), strict, 0.0, 0.0
        self.ends: Callable[[str], str | None] = lambda _: "completed"
        self.live_most = 0

    def tools(self) -> CampaignTools:
        phones = self.phones
        return CampaignTools(
            campaign_id="a",
            from_number=OURS,
            line=self.office.line,
            calls=phones.calls,
            members=phones.members,
            opted_out=phones.opt_outs.among,
            grant=self._grant,
            content=lambda call, attempt_id: self.office.order(call.id, attempt_id),
            paused=lambda: phones.pauses.paused("a"),
            pause=lambda why: phones.pauses.pause("a", why),
            strict=self.strict,
            sleep=self.sleep,
            clock=lambda: self.time,
        )

    def _grant(self, call: CallRow) -> Any:
        gates = [self.office.gate, Gate("campaign:a", self.plan.delay_between_calls, self.plan.max_concurrent_calls)]
        answer = self.phones.gates.grant(Wish(call.id, "AC1", gates, "a", 10.0))
        self.live_most = max(self.live_most, self.phones.live().get("a", 0))
        return answer

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept += seconds
        self.phones.pass_by(seconds)

    def step(self) -> bool:
        """Run one step, and let what it waits for pass; True where every member is final."""
        try:
            return CampaignStep(self.plan, self.tools(), lambda *_: None).run()
        except Postponed as error:
            self.sleep(error.retry_after or 0.1)
        return False

    def phone(self) -> None:
        """Let calls that go on end, and ask what became of them."""
        for sid in self.office.provider.live():
            end = self.ends(self.office.provider.calls[sid].to_number)
            if end is not None:
                self.office.provider.end(sid, end)
        self.office.follow(100)

    def run(self, steps: int = 60) -> dict[str, int]:
        """Run until every member is final; returns how many stand in each state."""
        for _ in range(steps):
            if self.step():
                assert not self.states().get("waiting")
                return self.states()
            assert sum(self.states().values()) == self.total
            self.phone()
        raise AssertionError(f"it does not end: {self.states()}")

    def states(self) -> dict[str, int]:
        return self.phones.member_states("a")


# --- Members ----------------------------------------------------------------------------------------------------


def test_every_member_is_called_once_and_the_campaign_ends_with_the_last(office: Office):
    campaign = Campaign(office, NUMBERS[:12])
    assert campaign.run() == {"done": 12}
    assert office.provider.rung() == dict.fromkeys(NUMBERS[:12], 1)
    assert len(office.provider.orders) == 12


def test_never_more_calls_go_on_than_may(office: Office):
    campaign = Campaign(office, NUMBERS[:20], max_concurrent_calls=3)
    assert campaign.run() == {"done": 20}
    assert office.provider.live_most == campaign.live_most == 3


def test_orders_keep_the_distance_that_the_campaign_asks_for(office: Office):
    campaign = Campaign(office, NUMBERS[:3], delay_between_calls=30)
    campaign.run()
    assert campaign.slept > 2 * 29


def test_duplicates_bad_numbers_and_who_opted_out_are_not_called_and_are_told_apart(office: Office):
    office.phones.opt_outs.add(NUMBERS[1], "manual")
    spelled = f"{NUMBERS[0][:2]} ({NUMBERS[0][2:5]}) {NUMBERS[0][5:8]}-{NUMBERS[0][8:]}"
    numbers = [NUMBERS[0], spelled, "nobody", "", NUMBERS[1], "+1911", NUMBERS[2]]
    states = Campaign(office, numbers).run()
    assert states == {"done": 2, "duplicate": 1, "invalid": 3, "opted_out": 1}
    assert office.provider.rung() == {NUMBERS[0]: 1, NUMBERS[2]: 1}


def test_numbers_of_no_known_plan_are_excluded_where_that_is_asked_for(office: Office):
    campaign = Campaign(office, ["+15550000000", "+4915112345678"], strict=True)
    assert campaign.run() == {"excluded": 1, "done": 1}


def test_who_opts_out_while_the_campaign_runs_is_not_called_any_more(office: Office):
    campaign = Campaign(office, NUMBERS[:3], max_concurrent_calls=1, retry={"max_attempts": 3})
    campaign.step()
    for number in NUMBERS[:2]:
        office.phones.opt_outs.add(number, "keypress")
    campaign.ends = lambda number: "busy" if number == NUMBERS[0] else "completed"
    assert campaign.run() == {"opted_out": 2, "done": 1}
    assert office.provider.rung() == {NUMBERS[0]: 1, NUMBERS[2]: 1}


def test_a_step_that_dies_anywhere_leaves_a_campaign_that_ends_without_a_second_call(office: Office):
    campaign = Campaign(office, NUMBERS[:10], max_concurrent_calls=2)
    create = office.provider.create_call
    died: list[str] = []

    def dies(order: Any) -> Any:
        placed = create(order)
        if order.to_number not in died and len(died) < 4:
            died.append(order.to_number)
            raise KeyboardInterrupt
        return placed

    office.provider.create_call = dies
    for _ in range(80):
        with suppress(KeyboardInterrupt):
            if campaign.step():
                break
        campaign.phone()
    assert campaign.states() == {"done": 10}
    assert len(died) == 4
    assert office.provider.rung() == dict.fromkeys(NUMBERS[:10], 1)


# --- Retries, hours, budgets -----------------------------------------------------------------------------------------


def test_who_is_not_reached_is_called_again_as_often_and_as_late_as_was_asked(office: Office):
    retry = {"max_attempts": 3, "busy_seconds": 600, "no_answer_seconds": 3600}
    campaign = Campaign(office, NUMBERS[:3], retry=retry)
    ends = {NUMBERS[0]: "busy", NUMBERS[1]: "no-answer", NUMBERS[2]: "completed"}
    campaign.ends = ends.get
    assert campaign.run(400) == {"exhausted": 2, "done": 1}
    assert office.provider.rung() == {NUMBERS[0]: 3, NUMBERS[1]: 3, NUMBERS[2]: 1}
    by_number = {one.to_number: [] for one in office.phones.attempts()}
    for one in office.phones.attempts():
        by_number[one.to_number].append(one)
    for number, gap in ((NUMBERS[0], 600), (NUMBERS[1], 3600)):
        for before, after in zip(by_number[number], by_number[number][1:], strict=False):
            assert (after.sending_at - before.ended_at).total_seconds() >= gap - 1


def test_nobody_is_called_again_unless_that_was_asked_for(office: Office):
    campaign = Campaign(office, NUMBERS[:4])
    campaign.ends = dict(zip(NUMBERS, ["busy", "no-answer", "failed", "canceled"], strict=False)).get
    assert campaign.run() == {"failed": 4}
    assert len(office.provider.orders) == 4


def _at(office: Office, monkeypatch: pytest.MonkeyPatch, moment: datetime) -> Callable[[timedelta], None]:
    """Let the clock that decides show a moment; returns what moves it on."""
    shown = [moment]
    calls, next_of = office.phones.calls, office.phones.calls.next_of

    def found(campaign_id: str) -> Any:
        return replace(next_of(campaign_id), now=shown[0])

    monkeypatch.setattr(calls, "next_of", found)

    def later(by: timedelta) -> None:
        shown[0] += by
        office.phones.pass_by(by.total_seconds())

    return later


NINE_TO_FIVE = {"start": "09:00", "end": "17:00"}
BERLIN = "+4930901820"


def test_nobody_is_called_outside_calling_hours_by_the_clocks_where_the_number_is(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    later = _at(office, monkeypatch, datetime(2026, 3, 2, 3, tzinfo=UTC))  # 04:00 in Berlin
    campaign = Campaign(office, [BERLIN], calling_hours=NINE_TO_FIVE)
    campaign.step()
    call = office.phones.call("a:0")
    assert (call.state, call.reason) == ("waiting", "waits for its calling hours")
    assert office.provider.orders == []
    later(timedelta(hours=5, minutes=1))
    campaign.step()
    assert len(office.provider.orders) == 1


def test_hours_that_ended_while_a_call_waited_keep_it_back_until_they_open_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    later = _at(office, monkeypatch, datetime(2026, 3, 2, 15, tzinfo=UTC))  # 16:00 in Berlin
    campaign = Campaign(office, [BERLIN, "+4930901821"], calling_hours=NINE_TO_FIVE, max_concurrent_calls=1)
    campaign.step()
    assert len(office.provider.orders) == 1
    later(timedelta(hours=2))
    campaign.phone()
    campaign.step()
    assert len(office.provider.orders) == 1
    assert office.phones.call("a:1").reason == "waits for its calling hours"


def test_hours_no_longer_than_it_rings_leave_a_member_out_and_say_so(office: Office):
    hours = {"start": "09:00", "end": "09:05", "timezone": "Europe/Berlin"}
    campaign = Campaign(office, [BERLIN], calling_hours=hours, ring_seconds=300)
    assert campaign.run() == {"excluded": 1}
    assert "or are no longer than it rings" in str(office.phones.call("a:0").reason)


def test_hours_that_end_between_the_look_and_the_order_let_no_order_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    later = _at(office, monkeypatch, datetime(2026, 3, 2, 15, 55, tzinfo=UTC))  # 16:55 in Berlin
    clock, frozen = doubt.clock, [0.0]
    monkeypatch.setattr(doubt, "clock", lambda: clock() + frozen[0])
    campaign = Campaign(office, [BERLIN], calling_hours=NINE_TO_FIVE)
    grant = campaign._grant

    def late(call: CallRow) -> Any:
        frozen[0] += 270
        later(timedelta(seconds=270))
        return grant(call)

    monkeypatch.setattr(campaign, "_grant", late)
    for _ in range(3):
        campaign.step()
    assert office.provider.orders == []
    call, (attempt,) = office.phones.call("a:0"), office.phones.attempts()
    assert (attempt.state, attempt.error) == ("not_taken", "Nothing was sent: meanwhile the calling hours had ended.")
    assert (call.state, call.attempts, call.reason) == ("waiting", 0, "waits for its calling hours")


@pytest.mark.parametrize(("rings", "orders"), [(300, 0), (240, 1)])
def test_no_phone_rings_longer_than_the_hours(office: Office, monkeypatch: pytest.MonkeyPatch, rings: int, orders: int):
    _at(office, monkeypatch, datetime(2026, 3, 2, 15, 55, 30, tzinfo=UTC))  # 16:55:30 in Berlin
    Campaign(office, [BERLIN], calling_hours=NINE_TO_FIVE, ring_seconds=rings).step()
    assert len(office.provider.orders) == orders


def test_a_number_of_no_known_zone_is_excluded_where_hours_have_no_zone_of_their_own(office: Office):
    satellite = "+870776000000"
    assert Campaign(office, [satellite], calling_hours=NINE_TO_FIVE).run() == {"excluded": 1}
    assert office.provider.orders == []


def test_a_call_that_the_provider_would_let_ring_after_the_hours_is_taken_back(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    _at(office, monkeypatch, datetime(2026, 3, 2, 15, 57, tzinfo=UTC))
    office.provider.queue_seconds = 180.0
    campaign = Campaign(office, [BERLIN], calling_hours=NINE_TO_FIVE)
    campaign.step()
    assert len(office.provider.orders) == 1
    assert office.provider.live() == []
    call = office.phones.call("a:0")
    assert (call.state, call.attempts) == ("waiting", 0)


def test_a_campaign_pauses_itself_when_its_minutes_are_used_up(office: Office):
    campaign = Campaign(office, NUMBERS[:10], max_minutes=3, max_concurrent_calls=1)
    for _ in range(20):
        campaign.step()
        campaign.phone()
    assert office.phones.pauses.paused("a")
    assert "max_minutes" in str(office.phones.pauses.last("a").why)
    assert len(office.provider.orders) == 3
    assert campaign.states() == {"done": 3, "waiting": 7}


# --- What the provider says -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [20003, 21210, 10001])
def test_a_fault_of_ours_pauses_within_the_orders_at_once_burns_nobody_and_all_goes_on_after_it(
    office: Office, code: int
):
    campaign = Campaign(office, NUMBERS[:40], max_concurrent_calls=40)
    campaign.step()
    campaign.phone()
    before = len(office.provider.orders)
    office.provider.always = CallsHalted("halted", code)
    _more_members(office, 40)
    campaign.total += 40
    for _ in range(10):
        campaign.step()
        campaign.phone()
    asked = len(office.provider.orders) - before
    assert 1 <= asked <= ORDERS_AT_ONCE
    assert office.phones.pauses.paused("a")
    assert "halted" in str(office.phones.pauses.last("a").why)
    assert set(campaign.states()) <= {"done", "waiting"}
    office.phones.pass_by(3 * 86_400)
    office.phones.pauses.resume("a")
    for _ in range(5):
        campaign.step()
    assert set(campaign.states()) <= {"done", "waiting"}, "nor after days"
    office.provider.always = None
    office.phones.pauses.resume("a")
    assert campaign.run(200) == {"done": 80}
    assert set(office.provider.rung().values()) == {1}


def _more_members(office: Office, count: int) -> None:
    """Let a campaign have more members than it had."""
    rows = [{"to_number": f"+1555888{at:04}"} for at in range(960, 1000 + count)]
    office.phones.database.write(lambda c: insert_members(c, "a", rows, 40))  # the first 40 are there


def test_a_fault_that_the_last_orders_of_a_step_tell_pauses_too(office: Office):
    campaign = Campaign(office, NUMBERS[:2])
    office.provider.always = CallsHalted("login", 20003)
    for _ in range(5):
        campaign.step()
    assert len(office.provider.orders) <= 2
    assert office.phones.pauses.paused("a")


def test_a_country_that_is_not_allowed_is_held_and_everybody_else_is_called(office: Office):
    abroad = ["+18765550100", "+18765550101"]
    campaign = Campaign(office, [*abroad, *NUMBERS[:4]], max_concurrent_calls=1)
    create = office.provider.create_call

    def refuses(order: Any) -> Any:
        if order.to_number.startswith("+1876"):
            office.provider.answers.append(CallsHalted("permissions", 21215, country="1876"))
        return create(order)

    office.provider.create_call = refuses
    for _ in range(12):
        campaign.step()
        campaign.phone()
    assert campaign.states() == {"done": 4, "waiting": 2}
    assert not office.phones.pauses.paused("a")
    tried = sum(one.to_number in abroad for one in office.provider.orders)
    assert tried <= 3, "an hour lies between two orders to it"
    office.provider.create_call = create
    office.phones.gates.open_halted("AC1")
    office.phones.pass_by(3601)
    assert campaign.run() == {"done": 6}


def test_all_members_of_a_country_that_is_not_allowed_for_a_day_fail_together(office: Office):
    campaign = Campaign(office, [f"+1876555{at:04}" for at in range(100, 110)], max_concurrent_calls=1)
    office.provider.always = CallsHalted("permissions", 21215, country="1876")
    for hours in range(23):
        campaign.step()
        assert campaign.states() == {"waiting": 10}, hours
        office.phones.pass_by(3_601)
    office.phones.pass_by(2 * 3_601)
    for _ in range(3):
        campaign.step()
        office.phones.pass_by(5)
    assert campaign.states() == {"failed": 10}
    assert len(office.provider.orders) <= 25, "one is asked for in an hour"


def test_a_campaign_loses_no_member_by_a_country_that_was_refused_to_a_former_one(office: Office):
    former = office.phones.campaign("former", ["+18765550199"])
    office.phones.calls.ended_without_call(office.phones.granted(former[0]), "not_taken", 21215, "permissions")
    office.phones.pass_by(30 * 86_400)
    campaign = Campaign(office, [f"+1876555{at:04}" for at in range(100, 103)], max_concurrent_calls=1)
    office.provider.always = CallsHalted("permissions", 21215, country="1876")
    for _ in range(3):
        campaign.step()
        assert campaign.states() == {"waiting": 3}
        office.phones.pass_by(3_601)
    office.provider.always = None
    assert campaign.run() == {"done": 3}


def test_a_provider_that_refuses_to_be_asked_is_asked_ever_more_seldom_while_others_end(office: Office, monkeypatch):
    campaign = Campaign(office, NUMBERS, max_concurrent_calls=5)
    asked = Counter[str]()

    def refuse(sid: str) -> None:
        asked[sid] += 1
        raise TransientError("Twilio asks to slow down.", retry_after=5.0)

    def sleep(seconds: float) -> None:
        campaign.sleep(seconds)
        for one in office.phones.calls.live_of("a")[4:]:
            office.tell(one.id, "completed")
        office.follow()

    monkeypatch.setattr(office.provider, "fetch_call", refuse)
    with suppress(Postponed):
        CampaignStep(campaign.plan, replace(campaign.tools(), sleep=sleep), lambda *_: None).run()
    assert len(asked) == 4
    looks = {one.call_sid: one.looks for one in office.phones.calls.live_of("a")}
    assert {sid: looks[sid] for sid in asked} == asked, "each is counted, and the next one comes after twice the time"


def test_calls_whose_ends_were_not_told_are_asked_about_though_others_end_all_the_time(office: Office):
    campaign = Campaign(office, NUMBERS, max_concurrent_calls=5)
    untold: set[str] = set()

    def sleep(seconds: float) -> None:
        campaign.sleep(seconds)
        live = office.phones.calls.live_of("a")
        if not untold and len(live) == 5:
            untold.update(one.id for one in live[:4])
        for one in live:
            if one.id in untold:
                office.provider.end(str(one.call_sid))
            else:
                office.tell(one.id, "completed")
        office.follow()

    with suppress(Postponed):
        CampaignStep(campaign.plan, replace(campaign.tools(), sleep=sleep), lambda *_: None).run()
    assert campaign.time < 25
    assert len(untold) == 4
    assert not untold & {one.id for one in office.phones.calls.live_of("a")}


@pytest.mark.parametrize("error", [CallNotTaken("429", 5.0), CallNotTaken("10004", too_many_live=True)])
def test_an_account_that_is_full_burns_nobody_and_is_asked_rarely(office: Office, error: CallNotTaken):
    campaign = Campaign(office, NUMBERS[:6], max_concurrent_calls=1)
    office.provider.answers.extend([error] * 4)
    assert campaign.run(100) == {"done": 6}
    assert len(office.provider.orders) == 10
    assert campaign.slept >= 4 * 4.5
    assert {one.attempts for one in (office.phones.call(f"a:{at}") for at in range(6))} == {1}


def test_unknown_refusals_in_a_row_pause_a_campaign_and_known_ones_do_not(office: Office):
    campaign = Campaign(office, NUMBERS[:20], max_concurrent_calls=1)
    office.provider.always = CallRefused("no such number", 21211)
    for _ in range(3):
        campaign.step()
    assert not office.phones.pauses.paused("a")
    assert campaign.states() == {"failed": 20}


def test_refusals_that_nobody_knows_pause_a_campaign_after_a_few(office: Office):
    campaign = Campaign(office, NUMBERS[:40], max_concurrent_calls=1)
    office.provider.always = CallRefused("what is this", 99999, known=False)
    for _ in range(10):
        campaign.step()
    assert office.phones.pauses.paused("a")
    assert REFUSED_IN_ROW <= len(office.provider.orders) <= REFUSED_IN_ROW + ORDERS_AT_ONCE
    assert campaign.states() == {"waiting": 40}, "nobody is burnt"
    office.provider.always = None
    office.phones.pauses.resume("a")
    assert campaign.run(200) == {"done": 40}
    assert {office.phones.call(f"a:{at}").attempts for at in range(40)} == {1}


def test_one_number_that_is_refused_and_nobody_knows_why_is_failed_and_stops_no_campaign(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    campaign = Campaign(office, [*NUMBERS[:6], "+15557799999"], retry={"max_attempts": 1, "failed_seconds": 60})
    order = office.provider.create_call

    def create_call(asked: Any) -> Any:
        if asked.to_number == "+15557799999":
            office.provider.orders.append(asked)
            raise CallRefused("what is this", 99999, known=False)
        return order(asked)

    monkeypatch.setattr(office.provider, "create_call", create_call)
    assert campaign.run(200) == {"done": 6, "failed": 1}
    assert not office.phones.pauses.paused("a")
    assert sum(one.to_number == "+15557799999" for one in office.provider.orders) == MOST_UNKNOWN


def test_answers_that_are_lost_cost_nobody_a_second_call(office: Office):
    campaign = Campaign(office, NUMBERS[:12])
    office.provider.answers.extend([("made", LOST), LOST, ("made", TimeoutError()), TimeoutError()] * 2)
    assert campaign.run(200) == {"done": 12}
    assert office.provider.rung() == dict.fromkeys(NUMBERS[:12], 1)
    assert len(office.provider.orders) == 16


def test_a_member_of_whom_nobody_will_know_ends_the_campaign_all_the_same(office: Office):
    campaign = Campaign(office, NUMBERS[:3], retry={"max_attempts": 5})
    office.provider.answers.append(("made", LOST))
    campaign.step()
    office.provider.add(NUMBERS[0], OURS)
    campaign.ends = lambda _: "completed"
    states = campaign.run(60)
    assert states == {"done": 2, "ambiguous": 1}
    assert office.provider.rung()[NUMBERS[0]] == 2


def test_a_campaign_that_was_paused_makes_no_call_until_it_is_resumed(office: Office):
    campaign = Campaign(office, NUMBERS[:4], max_concurrent_calls=1)
    campaign.step()
    office.phones.pauses.pause("a")
    for _ in range(5):
        campaign.step()
        campaign.phone()
    assert len(office.provider.orders) == 1
    assert campaign.states() == {"done": 1, "waiting": 3}, "what goes on goes on"
    office.phones.pauses.resume("a")
    assert campaign.run() == {"done": 4}


def test_a_campaign_that_was_cancelled_makes_no_call(office: Office):
    campaign = Campaign(office, NUMBERS[:4], max_concurrent_calls=1)
    campaign.step()
    office.phones.moves.revoke("a")
    campaign.phone()
    with pytest.raises(Cancelled):
        campaign.step()
    assert len(office.provider.orders) == 1


# --- What is asked for, and what comes out ---------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [[], "+15557771000", None, [1], ["+15557771000", None], {"a": 1}, 7])
def test_what_is_no_list_of_numbers_is_refused(numbers: Any):
    with pytest.raises(InvalidArgument, match="phone_numbers"):
        list(check_numbers(numbers))


@given(st.lists(st.text(max_size=30), min_size=1, max_size=20))
def test_any_texts_are_members_in_their_order_and_each_number_is_called_for_once(texts: list[str]):
    rows = list(check_numbers(texts))
    assert len(rows) == len(texts)
    called = [one["to_number"] for one in rows if "invalid" not in one and "duplicate_of" not in one]
    assert len(called) == len(set(called))
    for at, one in enumerate(rows):
        assert one.get("duplicate_of", -1) < at


@pytest.mark.parametrize(
    "figures",
    [
        {"delay_between_calls": -1},
        {"delay_between_calls": float("nan")},
        {"max_concurrent_calls": 0},
        {"max_concurrent_calls": 10_001},
        {"max_minutes": 0},
        {"retry": {"max_attempts": 0}},
        {"retry": {"busy_seconds": 0}},
        {"retry": {"sometimes": True}},
        {"calling_hours": {"start": "09:00", "end": "09:00"}},
        {"calling_hours": {"start": "9", "end": "17:00"}},
        {"calling_hours": {"start": "09:00", "end": "17:00", "days": []}},
        {"calling_hours": {"start": "09:00", "end": "17:00", "timezone": "Mars/Base"}},
        {"detection": "guess"},
        {"ring_seconds": 601},
        {"limit_seconds": 1},
        {"caller_identity": ""},
        {"from_number": "nobody"},
        {"webhook_url": "https://web_app/answer"},
        {"webhook_url": "https://calls.example.com/answer#now"},
        {"status_callback_url": "nowhere"},
        {"call_metadata": {"message": " "}},
        {"call_metadata": {"message": "<speak><audio src='x'/></speak>"}},
        {"call_metadata": {"voice": "nobody's"}},
        {"call_metadata": {"gather_input": "yes"}},
    ],
    ids=str,
)
def test_figures_that_make_no_sense_are_refused(figures: dict[str, Any]):
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is the business of each field
        QueueBulkCalls(**figures)


def test_a_result_has_the_keys_that_callers_read_and_adds_up():
    rows = [
        {"position": at, "arguments": {"to_number": NUMBERS[at]}, "state": "done", "outcome": None} for at in (0, 2)
    ]
    failed = [{"position": 1, "arguments": {"to_number": "x"}, "state": "failed", "outcome": {"reason": "busy"}}]
    began = datetime(2026, 3, 2, tzinfo=UTC)
    result = conclude_campaign("a", {"done": 2, "failed": 1}, rows, failed, created_at=began, seconds=1.0)
    told = result.model_dump(mode="json")
    assert told["success"] is True
    assert (told["total_calls"], told["successful_calls"], told["failed_calls"]) == (3, 2, 1)
    assert [(one["phone_number"], one["task_id"]) for one in told["successful_call_details"]] == [
        (NUMBERS[0], "a:0"), (NUMBERS[2], "a:2"),
    ]  # fmt: skip
    assert told["failed_call_details"][0]["error"] == "busy"
    assert told["status"] == "completed_with_failures"
    assert told["created_at"] == began.isoformat()
    assert result.failure() is None
    nobody = conclude_campaign("a", {"failed": 1}, [], failed, created_at=began, seconds=1.0)
    assert nobody.status == "failed"
    assert nobody.failure()
