"""The one way to providers of AI: room under limits, one call at a time for equal requests, pauses, what it cost.

A call is never repeated here: what does not answer now is asked by the task's next attempt, or by the next fallback.
"""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from processors.ai_answers import AiAnswers, Answered
from processors.ai_interfaces import (
    NO_NEWS,
    AiLedger,
    Asker,
    Attempt,
    CallPlan,
    ChatAnswer,
    Embedded,
    Leave,
    LimitNews,
    ModelTerms,
    NoRoom,
    Serving,
    Share,
    Usage,
)
from processors.ai_routes import Routes
from processors.errors import AiError, Postponed, ProviderBusy, ProviderFault
from processors.interfaces import Run

Answer = TypeVar("Answer", Embedded, ChatAnswer)
Found = TypeVar("Found")

MILLION = 1_000_000
LOOK_SECONDS = 0.2
SHORTEST_CALL_SECONDS = 1.0
FAILURES_IN_A_ROW = 5
"""So many, and nobody calls for a while: one call at a time then tries whether the provider answers again."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 300.0
MOST_DOUBLINGS = 10
REFUSED_KEY_SECONDS = 60.0
"""So often one task tries whether a key that was refused works again; another key is another account."""

LIMITED_SECONDS = 5.0
"""The pause after a 429 that does not say how long."""

SHORTEST_PAUSE_SECONDS = 0.5
"""Whatever a 429 says: who comes back at once, again and again, would keep a worker busy with nothing."""

LONGEST_TOLD_SECONDS = 86_400.0
"""The longest pause that a 429 can ask for; a day's quota is new by then, and a wrong date is no end of all calls."""

NOTHING = Usage(estimated=True)
"""What a call took that could not be sent, as far as is known."""

ASKED_SECONDS = 1.0
"""After which a task looks again whether another one, which asks for the same, has its answer."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a call is expected to take.

    Attributes:
        kind: what is asked for.
        sent: tokens, about.
        most: tokens that come back, at most or about.
        seconds: by which it has ended.
    """

    kind: Literal["embedding", "chat"]
    sent: int
    most: int
    seconds: float


class Gateway:
    """Asks providers.

    Args:
        routes: who serves which model.
        ledger: counts all calls of all workers.
        answers: so that equal requests are paid once.
        cache_seconds: so long an answer also answers equal requests of later tasks.
        patience: seconds for which a task waits for room in its slot.
    """

    def __init__(
        self, routes: Routes, ledger: AiLedger, answers: AiAnswers, *, cache_seconds: float = 0, patience: float = 2
    ) -> None:
        self.routes = routes
        self._ledger = ledger
        self._answers = answers
        self._cache_seconds = cache_seconds
        self._patience = patience

    def once(
        self, digest: str, asker: Asker, ask: Callable[[], Any], worth_keeping: Callable[[Any], bool] = bool
    ) -> tuple[Any, str | None]:
        """Return the answer to a request that is asked once, however many tasks want it now, and whose it is.

        Args:
            digest: of all that shapes the answer.
            asker: whose request it is.
            ask: returns the answer as JSON values.
            worth_keeping: whether others, and this task's next run, may have it too.

        Raises:
            AiError: the task has no time left (`timeout`).
            Postponed: another task asks for the same now.
            Exception: as raised by `ask`.
        """
        if found := self.begin(digest, asker):
            return found
        try:
            answer = ask()
        except BaseException:
            self.give_up(digest, asker)
            raise
        if worth_keeping(answer):
            self.finish(digest, asker, answer)
        else:
            self.give_up(digest, asker)
        return answer, None

    def begin(self, digest: str, asker: Asker) -> tuple[Any, str | None] | None:
        """Return the answer that a request has, and whose it is where it is another task's; None: it is to be asked.

        Who is to ask ends that by `finish` or `give_up`.

        Raises:
            AiError: the task has no time left (`timeout`); a call cut short would count as the provider's failure.
            Postponed: another task asks for the same now, and this one gives its slot back meanwhile; no fallback is
                asked instead, because that would be paid beside it.
        """
        if asker.until - time.monotonic() < SHORTEST_CALL_SECONDS:
            raise AiError(
                "The task's time is over before all was asked: ask for less in one task, or raise "
                "AI_TASK_SOFT_TIME_LIMIT.",
                "timeout",
            )
        until = time.monotonic() + self._patience
        while found := self._answers.begin(digest, asker.run, asker.created_at, self._cache_seconds):
            if isinstance(found, Answered):
                return found.answer, None if found.task_id == asker.run.task_id else found.task_id
            if time.monotonic() >= until:
                raise Postponed(f"Task {found.task_id} asks for the same now, and is waited for.", ASKED_SECONDS)
            asker.look()
            time.sleep(LOOK_SECONDS)
        return None

    def finish(self, digest: str, asker: Asker, answer: Any) -> None:
        """Keep the answer to a request, as JSON values."""
        self._answers.finish(digest, asker.run, answer)

    def give_up(self, digest: str, asker: Asker) -> None:
        """Let somebody else ask."""
        self._answers.give_up(digest, asker.run)

    def call(
        self, planned: Planned, serving: Serving, expected: Sequence[tuple[Asker, Usage]], call: Callable[[], Answer]
    ) -> tuple[Leave, Answer]:
        """Take room, and make one call. One that a cancellation ends may be paid: its room stays taken for its time.

        Args:
            planned: what it is expected to take.
            serving: who is asked.
            expected: for whom, and what each is expected to take; the first one waits for room.
            call: asks.

        Raises:
            AiError: the provider refuses.
            ProviderBusy: there is no room, or the provider asks to wait, or refuses the key.
            ProviderFault: the provider does not answer as it should.
        """
        asker = expected[0][0]
        plan = self._plan(planned, serving, asker)
        leave = self._room(plan, asker)
        began = time.monotonic()

        def note(status: str, retry_after: float | None = None) -> None:
            seconds = round(time.monotonic() - began, 3)
            attempt = Attempt(serving.terms.name, serving.model, status, seconds, retry_after)
            for one in {one.run: one for one, _ in expected}.values():
                one.attempts.append(attempt)

        try:
            answer = call()
        except ProviderFault as fault:
            note(fault.code, fault.retry_after)
            told = self._after(fault, plan.account)
            # after the pause: between the two somebody else would call
            if fault.code == "provider_unavailable":
                self._ledger.fail(leave, _shares(serving, expected if fault.charged else [(asker, NOTHING)]))
            else:
                self._ledger.release(leave)
            raise told from fault
        except AiError as error:
            note(error.code)
            # It was answered: a refusal costs nothing.
            self.settle(leave, serving, expected if error.charged else [(asker, Usage())])
            raise
        note("ok")
        return leave, answer

    def settle(
        self, leave: Leave, serving: Serving, taken: Sequence[tuple[Asker, Usage]], news: LimitNews = NO_NEWS
    ) -> None:
        """Note what a call took, for each task."""
        self._ledger.settle(leave, _shares(serving, taken), news)

    def _plan(self, planned: Planned, serving: Serving, asker: Asker) -> CallPlan:
        terms = serving.terms
        return CallPlan(
            account=terms.account,
            provider=terms.name,
            model=serving.model,
            kind=planned.kind,
            tokens=planned.sent + planned.most,
            cost=cost_of(serving.model_terms, Usage(planned.sent, planned.most)) or 0.0,
            currency=terms.currency,
            requests_per_minute=terms.requests_per_minute,
            tokens_per_minute=terms.tokens_per_minute,
            budget_per_day=terms.budget_per_day,
            seconds=planned.seconds,
            patience=self._patience,
            run=asker.run,
            tenant=asker.tenant,
        )

    def _room(self, plan: CallPlan, asker: Asker) -> Leave:
        """Take room in the ledger, and wait for it where that is short.

        Raises:
            ProviderBusy: it is long; the task comes back when its place is there.
            AiError: the day's budget is spent.
        """
        found = self._ledger.ask(plan)
        if isinstance(found, NoRoom):
            raise ProviderBusy(found.text, found.seconds)
        until = time.monotonic() + found.wait
        try:
            while (rest := until - time.monotonic()) > 0:
                asker.look()
                time.sleep(min(rest, LOOK_SECONDS))
        except BaseException:
            self._ledger.release(found)
            raise
        return found

    def _after(self, fault: ProviderFault, account: str) -> ProviderBusy | ProviderFault:
        """Pause the account for all where that is asked for or has become needed; return what the task is told."""
        if fault.code == "provider_auth":
            seconds = REFUSED_KEY_SECONDS
        elif fault.code == "provider_rate_limited":
            asked = LIMITED_SECONDS if fault.retry_after is None else fault.retry_after
            seconds = min(max(SHORTEST_PAUSE_SECONDS, asked), LONGEST_TOLD_SECONDS)
        else:
            self._ledger.count_failure(account, str(fault), _pause_after)
            return fault
        self._ledger.pause(account, fault.code, seconds, str(fault))
        return ProviderBusy(str(fault), seconds)


def _shares(serving: Serving, taken: Sequence[tuple[Asker, Usage]]) -> list[Share]:
    """Return what each task took; what several texts of one took is its one share."""
    terms, shares = serving.model_terms, dict[Run, Share]()
    for one, usage in taken:
        total = usage + shares[one.run].usage if one.run in shares else usage
        shares[one.run] = Share(one.run, one.tenant, total, cost_of(terms, total) or 0.0)
    return list(shares.values())


def _pause_after(failures: int) -> float:
    """Return for how many seconds nobody calls a provider that has failed so often in a row."""
    if failures < FAILURES_IN_A_ROW:
        return 0.0
    doubled = FIRST_PAUSE_SECONDS * 2 ** min(failures - FAILURES_IN_A_ROW, MOST_DOUBLINGS)
    return min(doubled, LONGEST_PAUSE_SECONDS)


def digest_of(kind: str, serving: Serving, tenant: str | None, shaping: Any) -> str:
    """Return the digest of a request: whose it is, who is asked, and all that shapes the answer."""
    told = [kind, tenant, serving.terms.account, serving.model, shaping]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def seconds_for(serving: Serving, asker: Asker) -> float:
    """Return the seconds by which a call must have ended: the provider's, or what the task has left."""
    return max(SHORTEST_CALL_SECONDS, min(serving.terms.call_seconds, asker.until - time.monotonic()))


def cost_of(terms: ModelTerms, usage: Usage) -> float | None:
    """Return what tokens cost, in the currency of the provider's prices; None where a price is needed and unknown."""
    priced = ((usage.input_tokens, terms.input_price), (usage.output_tokens, terms.output_price))
    if any(tokens and price is None for tokens, price in priced):
        return None
    return sum(tokens * (price or 0.0) for tokens, price in priced) / MILLION


def first_that_answers(
    servings: Sequence[Serving], ask: Callable[[Serving], Found], recoverable: Collection[str] = ()
) -> Found:
    """Return what the first one answers that does.

    Args:
        servings: who is asked, in this order.
        ask: asks one.
        recoverable: codes of refusals after which the next one is asked too.

    Raises:
        ProviderBusy: nobody answers, and somebody has no room now: the soonest.
        ProviderFault: nobody answers, and somebody not as it should.
        AiError: somebody refuses.
    """
    refusals: list[AiError | ProviderBusy | ProviderFault] = []
    for serving in servings:
        try:
            return ask(serving)
        except AiError as error:
            if error.code not in recoverable:
                raise
            refusals.append(error)
        except (ProviderBusy, ProviderFault) as error:
            refusals.append(error)
    busy = [one for one in refusals if isinstance(one, ProviderBusy)]
    faults = [one for one in refusals if isinstance(one, ProviderFault)]
    raise min(busy, key=lambda one: one.retry_after or 0.0) if busy else (faults or refusals)[0]
