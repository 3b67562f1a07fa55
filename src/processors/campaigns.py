"""Campaigns: many calls within a pace and a number of live ones, each member called until it is final."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from pydantic import Field

from processors import doubt, phone_numbers
from processors.bulk_items import MAX_BULK_BYTES, items_of
from processors.call_interfaces import (
    CallInDoubt,
    CallNotTaken,
    CallOrder,
    CallRefused,
    CallRow,
    CallsHalted,
    Closed,
    Granted,
    MemberState,
    NextCall,
    NoRoom,
    PlacedCall,
)
from processors.call_outcomes import LONGEST_HALT_SECONDS, RetryPolicy
from processors.calling_hours import next_open, ring_margin
from processors.calls import CampaignOptions
from processors.dialing import Line, dial
from processors.errors import Cancelled, InvalidArgument, TurnOver
from processors.interfaces import Member, MemberEnd, Report
from processors.results import Request, Result

RUN_SECONDS = 20.0
"""So long a step holds a worker's slot before others have it."""

PATIENCE_SECONDS = 1.5
"""So long a step waits in its slot for the next thing to do."""

LOOK_SECONDS = 0.1
QUIET_SECONDS = 5.0
"""The provider is asked about a call that a campaign waits for once nothing was heard of it for so long."""

LONGEST_REST_SECONDS = 60.0
BETWEEN_SECONDS = 2.0
"""How long a campaign that waits for the ends of its calls leaves its slot."""

ADMITTED_AT_ONCE = 50
ORDERS_AT_ONCE = 8
REFUSED_IN_ROW = 3
"""Refusals that nobody knows, one after the other, after which it is rather our fault than the numbers'."""

LISTED = 1_000
REACHED = ("done",)
NOT_REACHED: tuple[MemberState, ...] = (
    "failed", "exhausted", "invalid", "duplicate", "opted_out", "excluded", "expired", "cancelled", "ambiguous"
)  # fmt: skip


class QueueBulkCalls(CampaignOptions):
    """The figures of a campaign; its members are rows.

    Attributes:
        delay_between_calls: the least seconds between two orders.
        max_concurrent_calls: live calls at any moment.
        retry: when a member is called again; None: never.
        max_minutes: minutes, begun ones counted whole, after which the campaign pauses itself; None: no bound.
    """

    delay_between_calls: float = Field(default=5.0, ge=0, le=86_400, allow_inf_nan=False)
    max_concurrent_calls: int = Field(default=10, ge=1, le=10_000)
    retry: RetryPolicy | None = None
    max_minutes: int | None = Field(default=None, ge=1)


class RunCampaign(Request):
    """A step of a campaign."""

    campaign_id: str


class EndCampaign(Request):
    """A cancelled campaign whose calls are to end.

    Attributes:
        hang_up: also those that somebody has answered.
    """

    campaign_id: str
    hang_up: bool = False


class CampaignEnded(Result):
    """What became of a campaign."""

    success: bool
    status: Literal["completed", "completed_with_failures", "failed", "cancelled"]
    campaign_id: str
    total_calls: int
    successful_calls: int
    failed_calls: int
    by_state: dict[str, int]
    successful_call_details: list[dict[str, Any]]
    failed_call_details: list[dict[str, Any]]
    details_truncated: bool
    created_at: str
    duration_s: float = Field(ge=0)

    def failure(self) -> str | None:
        """Nobody was reached, and why not the first one."""
        if self.success:
            return None
        why = "".join(f"; the first one: {one['error']}" for one in self.failed_call_details[:1])
        return f"None of the {self.total_calls} calls was answered{why.removesuffix('.')}."


class CampaignCalls(Protocol):
    """What is remembered of a campaign's calls."""

    def next_of(self, campaign_id: str) -> NextCall:
        """Return what is to be done now."""
        ...

    def last_position(self, campaign_id: str) -> int:
        """Return the last member that is remembered as a call."""
        ...

    def admit(self, campaign_id: str, members: Sequence[Mapping[str, Any]]) -> None:
        """Remember members as calls."""
        ...

    def put_off(self, call_id: str, seconds: float, reason: str) -> None:
        """Let a call wait for longer."""
        ...

    def close(self, call_id: str, state: str, reason: str) -> None:
        """End a call that waits."""
        ...

    def refusals_in_row(self, campaign_id: str, count: int) -> list[int | None]:
        """Return the codes of the last attempts, where all were refused."""
        ...

    def halted_seconds(self, campaign_id: str, prefix: str) -> float:
        """Return for how long all orders to the numbers that begin so were refused for their country."""
        ...

    def hurry(self, campaign_id: str, quiet_seconds: float) -> None:
        """Let the provider be asked now about calls of which nothing has been heard for a while."""
        ...

    def minutes(self, campaign_id: str) -> int:
        """Return the minutes that its calls took, begun ones counted whole, and one for each that is live."""
        ...


class CampaignMembers(Protocol):
    """Its members' rows."""

    def waiting_after(self, parent_id: str, after: int, limit: int) -> Sequence[Member]:
        """Return the next ones that have no final state."""
        ...

    def close_all(self, parent_id: str, ends: Sequence[MemberEnd]) -> None:
        """Store final states."""
        ...


@dataclass(frozen=True, slots=True)
class CampaignTools:
    """What a step works with.

    Attributes:
        campaign_id: whose.
        from_number: which number calls.
        line: what makes the calls.
        calls, members: what is remembered.
        opted_out: returns those of these numbers that opted out.
        grant: asks for an attempt.
        content: makes the order of an attempt by its id.
        paused: tells whether the campaign is paused.
        pause: pauses it, and says why.
        strict: whether only numbers of known plans are called.
        sleep: waits so many seconds; ends early where the task is cancelled, by its error.
    """

    campaign_id: str
    from_number: str
    line: Line
    calls: CampaignCalls
    members: CampaignMembers
    opted_out: Callable[[list[str]], set[str]]
    grant: Callable[[CallRow], Granted | NoRoom | Closed]
    content: Callable[[CallRow, str], CallOrder]
    paused: Callable[[], bool]
    pause: Callable[[str], object]
    strict: bool
    sleep: Callable[[float], None]
    clock: Callable[[], float] = time.monotonic


def check_numbers(phone_numbers_given: Any) -> Iterator[dict[str, Any]]:
    """Check the numbers of a campaign and return them as rows; a bad one, or one that comes again, is marked.

    Raises:
        InvalidArgument: it is no list, an empty one, too long, or has an item that is no text.
    """
    seen: dict[str, int] = {}
    size = 0
    for index, given in enumerate(items_of("phone_numbers", phone_numbers_given, "phone number", "calls")):
        if not isinstance(given, str):
            kind = type(given).__name__
            raise InvalidArgument(f"phone_numbers[{index}]: must be a text like +12345678901; got {kind}.")
        size += len(given)
        if size > MAX_BULK_BYTES:
            raise InvalidArgument(f"phone_numbers: at most {MAX_BULK_BYTES} bytes in all; got more at item {index}.")
        yield _row(given, index, seen)


def _row(given: str, index: int, seen: dict[str, int]) -> dict[str, Any]:
    try:
        number = phone_numbers.normalised(given)
    except InvalidArgument as error:
        return {"to_number": given[:LONGEST_SHOWN], "invalid": str(error)}
    first = seen.setdefault(number, index)
    return {"to_number": number} if first == index else {"to_number": number, "duplicate_of": first}


LONGEST_SHOWN = 100


class CampaignStep:
    """One run of a campaign's step; whoever runs it next goes on where this one ended."""

    def __init__(self, plan: QueueBulkCalls, tools: CampaignTools, report: Report) -> None:
        self.plan, self.tools, self.report = plan, tools, report
        self._orders: set[Future[PlacedCall]] = set()
        self._full_since: float | None = None
        self._short_since: float | None = None
        self._halted: dict[str, float] = {}

    def run(self) -> bool:
        """Make calls for a while.

        Returns:
            True: every member is final.

        Raises:
            TurnOver: there is more to do, later.
            Cancelled: the campaign was cancelled.
        """
        until = self.tools.clock() + RUN_SECONDS
        with ThreadPoolExecutor(ORDERS_AT_ONCE, "order") as pool:
            try:
                while self.tools.clock() < until:
                    self.report(0, "calls")
                    rest = self._turn(pool)
                    if rest is None:
                        return True
                    if rest > PATIENCE_SECONDS:
                        raise TurnOver("The campaign waits.", rest)
                    if rest > 0:
                        self.tools.sleep(rest)
            finally:
                self._gather(everything=True)
        raise TurnOver("The campaign goes on.", 0.0)

    def _turn(self, pool: ThreadPoolExecutor) -> float | None:
        """Do the next thing; returns after how many seconds there is another one, or None where all is done."""
        self._gather(everything=len(self._orders) >= ORDERS_AT_ONCE)
        if self.tools.paused():
            return BETWEEN_SECONDS
        asked, found = doubt.clock(), self.tools.calls.next_of(self.tools.campaign_id)
        if found.call is not None:
            return self._make(found.call, found.now, asked, pool)
        if self._admit(found.now):
            return 0.0
        if not found.open and not self._orders:
            return None
        if found.live:
            self.tools.calls.hurry(self.tools.campaign_id, QUIET_SECONDS)
        if found.wait is None or found.live:
            return BETWEEN_SECONDS
        return min(found.wait, LONGEST_REST_SECONDS)

    def _make(self, call: CallRow, now: datetime, asked: float, pool: ThreadPoolExecutor) -> float:
        rest = self._until_open(call.to_number, now)
        if rest is None or rest > 0:
            if rest is None:
                self.tools.calls.close(call.id, "excluded", NEVER_OPEN)
            else:
                self.tools.calls.put_off(call.id, rest, "waits for its calling hours")
            return 0.0
        if self._over_budget():
            return BETWEEN_SECONDS
        answer = self.tools.grant(call)
        if isinstance(answer, Granted):
            self._full_since = None
            order = self.tools.content(call, answer.attempt_id)
            may_ring = partial(self._may_ring, call.to_number, now, asked)
            self._orders.add(pool.submit(dial, self.tools.line, answer, order, may_ring))
            return 0.0
        if isinstance(answer, NoRoom):
            return self._no_room(call, answer)
        if answer.why == "cancelled":
            raise Cancelled("The campaign was cancelled.")
        if answer.why == "opted_out":
            self.tools.calls.close(call.id, "opted_out", "the number opted out")
        return BETWEEN_SECONDS if answer.why == "paused" else 0.0

    def _no_room(self, call: CallRow, answer: NoRoom) -> float:
        if answer.why == "pace":
            return answer.wait
        if answer.why == "live":
            now = self.tools.clock()
            # That places become free now and then tells nothing of calls whose ends were not told: they hold others.
            self._short_since = now if self._short_since is None else self._short_since
            if now - self._short_since >= PATIENCE_SECONDS:
                self.tools.calls.hurry(self.tools.campaign_id, QUIET_SECONDS)
                self._short_since = now
            self._full_since = now if self._full_since is None else self._full_since
            return LOOK_SECONDS if now - self._full_since < PATIENCE_SECONDS else BETWEEN_SECONDS
        if answer.why == "halted" and self._halted_seconds(answer.prefix) >= LONGEST_HALT_SECONDS:
            self.tools.calls.close(call.id, "failed", answer.text)
        else:
            self.tools.calls.put_off(call.id, answer.wait, answer.text or PUT_OFF[answer.why])
        return 0.0

    def _halted_seconds(self, prefix: str) -> float:
        """Return for how long a country has been refused; asked once in a run, not for each of its members."""
        if prefix not in self._halted:
            self._halted[prefix] = self.tools.calls.halted_seconds(self.tools.campaign_id, prefix)
        return self._halted[prefix]

    def _admit(self, now: datetime) -> bool:
        """Take up the next members; False where there are none left."""
        tools = self.tools
        after = tools.calls.last_position(tools.campaign_id)
        page = tools.members.waiting_after(tools.campaign_id, after, ADMITTED_AT_ONCE)
        if not page:
            return False
        ends = [end for one in page if (end := _end_at_once(one)) is not None]
        tools.members.close_all(tools.campaign_id, ends)
        left = [one for one in page if _end_at_once(one) is None]
        opted_out = tools.opted_out([one.arguments["to_number"] for one in left])
        tools.calls.admit(tools.campaign_id, [self._admitted(one, opted_out, now) for one in left])
        return True

    def _admitted(self, member: Member, opted_out: set[str], now: datetime) -> dict[str, Any]:
        number = member.arguments["to_number"]
        row = {"position": member.position, "to_number": number, "from_number": self.tools.from_number}
        if number in opted_out:
            return row | {"state": "opted_out", "reason": "the number opted out"}
        if why := self._refusal(number):
            return row | {"state": "excluded", "reason": why}
        rest = self._until_open(number, now)
        if rest is None:
            return row | {"state": "excluded", "reason": NEVER_OPEN}
        return row | {"wait": rest, "reason": "waits for its calling hours" if rest else None}

    def _refusal(self, number: str) -> str | None:
        if why := phone_numbers.refusal(number):
            return why
        if self.tools.strict:
            try:
                phone_numbers.check_valid(number)
            except InvalidArgument as error:
                return str(error)
        return None

    def _until_open(self, number: str, now: datetime) -> float | None:
        hours = self.plan.calling_hours
        if hours is None:
            return 0.0
        opens = next_open(hours, phone_numbers.zones(number), now, margin=ring_margin(self.plan.ring_seconds))
        return None if opens is None else max(0.0, (opens - now).total_seconds())

    def _may_ring(self, number: str, now: datetime, asked: float, seconds: float) -> bool:
        """Tell whether a number may ring in so many seconds, where it was `now` at `asked` by `doubt.clock`."""
        return self._until_open(number, now + timedelta(seconds=doubt.clock() - asked + seconds)) == 0

    def _over_budget(self) -> bool:
        most = self.plan.max_minutes
        if most is None or self.tools.calls.minutes(self.tools.campaign_id) < most:
            return False
        self.tools.pause(f"its calls have taken {most} minutes, which is its max_minutes")
        return True

    def _gather(self, *, everything: bool) -> None:
        """Look what came of the orders; where many are under way, wait for one, at the end for all."""
        if not self._orders:
            return
        done, _ = wait(self._orders, timeout=None if everything else 0, return_when=FIRST_COMPLETED)
        self._orders -= done
        for order in done:
            self._note(order.exception())
        if everything and self._orders and len(self._orders) < ORDERS_AT_ONCE:
            self._gather(everything=True)

    def _note(self, error: BaseException | None) -> None:
        if isinstance(error, CallsHalted) and error.country is None:
            self.tools.pause(str(error))
        elif isinstance(error, CallRefused) and not error.known:
            codes = self.tools.calls.refusals_in_row(self.tools.campaign_id, REFUSED_IN_ROW)
            if codes and len(set(codes)) == 1:
                self.tools.pause(f"{REFUSED_IN_ROW} numbers in a row were refused: {error}")
        elif error is not None and not isinstance(error, (CallsHalted, CallRefused, CallNotTaken, CallInDoubt)):
            raise error


NEVER_OPEN = (
    "its calling hours never open in all zones where the number may be, or are no longer than it rings; "
    "give them a timezone"
)
PUT_OFF: Mapping[str, str] = {
    "number": "another call to this number is going on",
    "halted": "calls to this country are refused",
    "attempts": "this number was called as often as it may be",
}


def conclude_campaign(
    campaign_id: str,
    tally: Mapping[str, int],
    reached: Sequence[Mapping[str, Any]],
    not_reached: Sequence[Mapping[str, Any]],
    *,
    created_at: datetime,
    seconds: float,
    cancelled: bool = False,
) -> CampaignEnded:
    """Return what a campaign's rows add up to.

    Args:
        campaign_id: whose.
        tally: how many members stand in each state.
        reached: rows of members that were, with their outcome, the first thousand.
        not_reached: the same of those that were not.
        created_at: when it was submitted.
        seconds: since then.
        cancelled: whether it was cancelled.
    """
    total, good = sum(tally.values()), sum(tally.get(state, 0) for state in REACHED)
    status: Any = "completed" if good == total else "completed_with_failures" if good else "failed"
    return CampaignEnded(
        success=good > 0,
        status="cancelled" if cancelled else status,
        campaign_id=campaign_id,
        total_calls=total,
        successful_calls=good,
        failed_calls=total - good,
        by_state=dict(tally),
        successful_call_details=[_listed(campaign_id, row) for row in reached],
        failed_call_details=[_listed(campaign_id, row) for row in not_reached],
        details_truncated=len(reached) + len(not_reached) < total,
        created_at=created_at.isoformat(),
        duration_s=seconds,
    )


def _listed(campaign_id: str, row: Mapping[str, Any]) -> dict[str, Any]:
    outcome: Mapping[str, Any] = row["outcome"] or {}
    told = {
        "phone_number": row["arguments"]["to_number"],
        "task_id": f"{campaign_id}:{row['position']}",
        "state": row["state"],
        "outcome": outcome.get("outcome"),
        "attempts": outcome.get("attempts", 0),
    }
    if row["state"] not in REACHED:
        told["error"] = outcome.get("reason") or row["state"]
    return told


def _end_at_once(member: Member) -> MemberEnd | None:
    given = member.arguments
    if "invalid" in given:
        return MemberEnd(member.position, "invalid", {"reason": given["invalid"]})
    if "duplicate_of" in given:
        return MemberEnd(member.position, "duplicate", {"reason": f"it is the number of item {given['duplicate_of']}"})
    return None
