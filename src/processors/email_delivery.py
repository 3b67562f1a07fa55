"""Delivering mails: each handed over to each recipient once, with one outcome for each."""

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Protocol

from processors import doubt
from processors.addresses import InvalidRecipient, Recipient, parse, sort_out
from processors.composition import Composer
from processors.emails import EmailSent, MailStatus, Refusal, SendEmail, first_of
from processors.errors import (
    EffectInDoubt,
    PermanentError,
    Postponed,
    TransientError,
    TransportFault,
    TransportRests,
    WorkError,
)
from processors.interfaces import (
    WAITING_STATES,
    Closed,
    Deliveries,
    Delivery,
    DeliveryState,
    Handed,
    Letter,
    Mailer,
    Outcome,
    Report,
    Run,
    Told,
)
from processors.messages import message_id
from processors.suppression import ALWAYS_BINDING, NobodySuppressed, Suppressions

FIRST_WAIT_SECONDS = 300.0
WAIT_GROWTH = 1.3
MOST_TRIES = 18
"""A recipient that a server puts off is tried again after 5 minutes, then ever later, for a day and a half."""

FIRST_UNASKED_TRY = 3
"""From this try on a server that asks to be tried again soon waits as the others: it would use up all tries."""

FAULT_WAIT_SECONDS = 60.0
FAULT_WAIT_GROWTH = 4
MOST_GROWTHS = 16
"""A way out that is at fault is tried again after 1 minute, then 4 times as long, up to the longest wait of a retry."""

GROUP_MAILS = 100
"""Mails whose rows and suppressions are asked for together: some for each connection, so that no answer is old."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a delivery needs beside the mail itself.

    Attributes:
        task_id: whose mail it is.
        date: its Date: when it was due first, the same at every attempt.
        sender: the author where the mail names none.
        last_attempt: whether a fault of ours would be the last that is tried again.
        run: the run that sends it.
        persist: writes until it is written.
        fault_wait: seconds until the next attempt at least, where the way out is at fault.
        resend: whether a mail of which nobody knows whether it arrived is sent again, instead of never.
        composer: makes the message.
        suppressions: who is not mailed any more.
        unsubscribe_url: returns where one address leaves a list with one click; None where that is not to be had.
    """

    mailer: Mailer
    deliveries: Deliveries
    task_id: str
    date: datetime
    sender: str
    last_attempt: bool
    run: Run
    persist: Callable[[Callable[[], None]], None]
    resend: bool = False
    fault_wait: float = FAULT_WAIT_SECONDS
    composer: Composer = field(kw_only=True)
    suppressions: Suppressions = field(default_factory=NobodySuppressed)
    unsubscribe_url: Callable[[str, str], str | None] = lambda _address, _list_name: None


class Brake(Protocol):
    """Stops the mails of a run between two of them."""

    def pulled(self) -> bool:
        """Tell whether no more mail is to go out."""
        ...

    def note(self, states: Sequence[str]) -> None:
        """Learn what became of all recipients of one mail."""
        ...


@dataclass(slots=True)
class MailInHand:
    """One mail of a delivery, and what is known of it.

    Attributes:
        position: its place in a bulk; 0 for a single one.
        rest: seconds for which a former run may still be handing it over to somebody.
        size: of its bytes, once it was composed.
        error: why it cannot be composed, or not now.
    """

    position: int
    request: SendEmail
    recipients: Sequence[Recipient]
    invalid: Sequence[InvalidRecipient]
    rows: dict[str, Delivery]
    rest: float = 0.0
    size: int = 0
    error: PermanentError | TransientError | None = None

    def waiting(self) -> list[str]:
        """Return those who have no outcome yet."""
        return [address for address, row in self.rows.items() if row.outcome.state in WAITING_STATES]

    def has_reached_somebody(self) -> bool:
        """Tell whether somebody has it, or may have it."""
        return any(row.outcome.state in {"accepted", "unknown", "handing"} for row in self.rows.values())

    def untried(self) -> list[str]:
        """Return those whom it could be sent to now."""
        return [a for a, row in self.rows.items() if row.outcome.state in WAITING_STATES and row.wait <= 0]

    def wait(self) -> float | None:
        """Return the seconds until something is to be done for it; None where all is done."""
        waits = [row.wait for row in self.rows.values() if row.outcome.state in WAITING_STATES]
        return min([*waits, *([self.rest] if self.rest > 0 else [])], default=None)


def deliver(request: SendEmail, post: Post, report: Report, position: int = 0) -> EmailSent:
    """Send one mail to those recipients that have no outcome yet.

    Args:
        request: the mail.
        post: what it needs from outside.
        report: told that it goes out.
        position: its place among its task's mails.

    Raises:
        Postponed: a server put somebody off, whose row says when it is tried again.
        TransportFault: the transport is at fault, unless this is the last attempt and somebody has an outcome.
        EffectInDoubt: a former run may still be handing it over to somebody; all others have an outcome.
        PermanentError: it cannot be composed.
        TransientError: it cannot be composed now.
    """
    began = time.monotonic()
    batch = Batch(post, iter([(position, request)]), report, total=1)
    batch.look()
    mail = batch.mails[position]
    try:
        batch.send()
    except TransportFault as fault:
        rests = isinstance(fault, TransportRests)  # which is no attempt, and so none is the last
        if rests or not post.last_attempt or len(mail.untried()) == len(mail.rows):
            raise
        batch.give_up(str(fault))
    if mail.error is not None:
        raise mail.error
    wait = mail.wait()
    if wait is None:
        spent = round(1_000 * (time.monotonic() - began))
        return batch.summary(mail).model_copy(update={"duration_ms": spent})
    if mail.rest > 0:
        raise EffectInDoubt("It is not known yet whether the mail arrived: a former run may still be sending it.", wait)
    put_off = batch.summary(mail).deferred
    who = "1 recipient was" if len(put_off) == 1 else f"{len(put_off)} recipients were"
    raise Postponed(f"{who} put off: {first_of(put_off)}", wait)


class Batch:
    """The mails of one run; fulfils `processors.interfaces.MailQueue`.

    Args:
        post: what they need from outside.
        requests: each with its place among its task's mails; read a group at a time.
        report: told how many went out; its `Cancelled` stops the rest.
        total: how many there are.
        brake: asked before each mail whether it may still go out, and told what became of it.

    Attributes:
        mails: those that were looked at, by place.
    """

    def __init__(
        self,
        post: Post,
        requests: Iterable[tuple[int, SendEmail]],
        report: Report,
        total: int,
        brake: Brake | None = None,
    ) -> None:
        self.mails: dict[int, MailInHand] = {}
        self._post = post
        self._requests: Iterator[tuple[int, SendEmail]] = iter(requests)
        self._report = report
        self._total = total
        self._brake = brake
        self._next: deque[int] = deque()
        self._lent: dict[str, int] = {}
        self._back: deque[Letter] = deque()
        self._done = 0
        self._handed: set[tuple[int, str]] = set()
        self._answered: list[Closed] = []
        self._ended: deque[list[str]] = deque()

    def look(self) -> None:
        """Look at the rows of the first mails, so that `mails` knows them whatever comes."""
        if not self.mails:
            self._open_group()

    def look_at_all(self) -> None:
        """Look at the rows of all mails, also of those that nobody has asked for."""
        while self._open_group():
            pass

    def send(self) -> None:
        """Send what waits.

        Raises:
            TransportFault: the transport is at fault; what was not handed over stays open. Unless it rests, it is not
                to be tried again before `Post.fault_wait`.
        """
        try:
            self._post.mailer.send(self)
        except TransportRests:
            raise
        except TransportFault as fault:
            wait = max(fault.retry_after or 0.0, self._post.fault_wait)
            raise TransportFault(str(fault), wait, code=fault.code) from fault
        finally:
            self._learn()

    def give_up(self, why: str) -> None:
        """Close those whom the transport did not let reach, at the last attempt."""
        untried = [(mail, address) for mail in self.mails.values() if mail.error is None for address in mail.untried()]
        self._end(untried, Outcome("refused", text=why))

    def _end(self, recipients: Sequence[tuple[MailInHand, str]], outcome: Outcome) -> None:
        """Give some up whom no server was asked for."""
        if recipients:
            self._write([(mail.position, address, outcome) for mail, address in recipients], [])
        for mail, address in recipients:
            mail.rows[address] = replace(mail.rows[address], outcome=outcome, wait=0.0)

    # --- The queue of the mailer --------------------------------------------------------------------------------

    def take(self) -> Letter | None:
        """Return the next mail, composed."""
        if self._brake is not None and self._is_stopped_by(self._brake):
            return None
        if self._back:
            self._tell()
            return self._back.popleft()
        while self._next or self._open_group():
            if not self._next:
                continue  # nobody of that group waits
            mail = self.mails[self._next.popleft()]
            self._tell()
            letter = self._composed(mail)
            if letter is not None:
                return letter
        return None

    def _is_stopped_by(self, brake: Brake) -> bool:
        """Tell a brake of the mails that have ended, and return whether it is pulled.

        Here and not in `turn`: what fails in it would stop mails that are marked as handed over. The last mails of a
        run may go untold: the next run's brake begins with how they ended.
        """
        while self._ended:
            brake.note(self._ended.popleft())
        return brake.pulled()

    def _tell(self) -> None:
        self._report(100 * self._done / self._total, f"{self._done} of {self._total} mails")

    def give_back(self, letter: Letter) -> None:
        """Have a mail back that was not handed over."""
        self._back.appendleft(letter)

    def turn(self, told: Sequence[Told], handed: Sequence[Handed]) -> None:
        """Keep what became of some mails, and that others are being handed over."""
        closed = [one for letter, outcomes in told for one in self._closed(letter, outcomes)]
        announced = [(self._lent[letter.id], address) for letter, addresses in handed for address in addresses]
        for position, address, outcome in closed:
            rows = self.mails[position].rows
            row = rows[address]
            more = outcome.state == "deferred" and (position, address) not in self._handed
            rows[address] = Delivery(outcome, row.attempts + more, outcome.retry_after or 0.0, row.handed_ago)
        for letter, outcomes in told:
            self._go_on(letter, outcomes)
        self._write(closed, announced)
        for letter, _ in told:
            self._note(letter)
        self._answered += closed
        self._handed.update(announced)
        for position, address in announced:
            rows = self.mails[position].rows
            row = rows[address]
            rows[address] = Delivery(row.outcome, row.attempts + 1, row.wait, row.handed_ago)

    def _write(self, closed: Sequence[Closed], announced: Sequence[tuple[int, str]]) -> None:
        """Write a turn, and look at the clock last where something goes out.

        Raises:
            TransientError: it took too long, or the task is another run's or cancelled; nothing may go out.
        """
        post = self._post
        if not announced:
            post.persist(lambda: post.deliveries.turn(post.task_id, closed, [], post.run))
            return
        began = doubt.clock()
        taken_back = [(position, address, Outcome("queued")) for position, address in announced]
        try:
            post.deliveries.turn(post.task_id, closed, announced, post.run)
        except WorkError:  # the mark may stand, where it is the commit's answer that was lost
            post.persist(lambda: post.deliveries.turn(post.task_id, [*closed, *taken_back], [], post.run))
            raise
        if doubt.clock() - began >= doubt.BEGIN_SECONDS:
            post.persist(lambda: post.deliveries.turn(post.task_id, taken_back, [], post.run))
            raise TransientError(
                f"The mail was not handed over: noting it took over {doubt.BEGIN_SECONDS:g} s, because the database or "
                "this process was too slow."
            )

    def _closed(self, letter: Letter, outcomes: Mapping[str, Outcome]) -> list[Closed]:
        position = self._lent[letter.id]
        rows = self.mails[position].rows
        return [
            (position, one, self._scheduled(outcome, rows[one].attempts + ((position, one) not in self._handed)))
            for one, outcome in outcomes.items()
        ]

    def _go_on(self, letter: Letter, outcomes: Mapping[str, Outcome]) -> None:
        """Lend a mail again for those of its recipients that a server will have in another transaction."""
        left = tuple(one for one in letter.recipients if one not in outcomes)
        if left:
            self._back.append(replace(letter, recipients=left))
            return
        self._done += 1

    def _note(self, letter: Letter) -> None:
        """Remember how a mail ended, once that is kept."""
        mail = self.mails[self._lent[letter.id]]
        if self._brake is not None and mail.wait() is None:
            self._ended.append([row.outcome.state for row in mail.rows.values()])

    def _scheduled(self, outcome: Outcome, tries: int) -> Outcome:
        """Say when a recipient who was put off is tried again, or that it was tried often enough."""
        doubtful = outcome.state == "unknown" and self._post.resend
        if outcome.state != "deferred" and not doubtful:
            return outcome
        if tries >= MOST_TRIES:
            text = f"{outcome.text} (given up after {tries} tries)".strip()
            return replace(outcome, state="unknown" if doubtful else "refused", text=text, retry_after=None)
        outcome = replace(outcome, state="deferred")
        asked = outcome.retry_after
        usual = next_wait(tries)
        if asked is None or tries >= FIRST_UNASKED_TRY:
            return replace(outcome, retry_after=max(usual, asked or 0.0))
        return replace(outcome, retry_after=asked)

    # --- Rows and bytes -----------------------------------------------------------------------------------------

    def _open_group(self) -> bool:
        """Look at the rows of the next mails; False where there are no more."""
        group = dict(islice(self._requests, GROUP_MAILS))
        if not group:
            return False
        sorted_out = {position: sort_out(request.recipients()) for position, request in group.items()}
        roles = {
            position: {recipient.address: recipient.role for recipient in recipients}
            for position, (recipients, _) in sorted_out.items()
        }
        rows = self._post.deliveries.open(self._post.task_id, roles, self._post.run)
        for position, request in group.items():
            known = dict(rows.get(position, {}))
            mail = self.mails[position] = MailInHand(position, request, *sorted_out[position], known)
            self._settle_doubt(mail)
        self._suppress([self.mails[position] for position in group])
        for position in group:
            if self.mails[position].untried():
                self._next.append(position)
            else:
                self._done += 1
        return True

    def _suppress(self, mails: Sequence[MailInHand]) -> None:
        """Give up those who are not to be mailed now; it is asked anew at every attempt."""
        by_list: dict[str | None, list[MailInHand]] = {}
        for mail in mails:
            by_list.setdefault(mail.request.list_name, []).append(mail)
        given_up: list[Closed] = []
        for list_name, some in by_list.items():
            waiting = list(dict.fromkeys(address for mail in some for address in mail.untried()))
            if not waiting:
                continue
            reasons = self._post.suppressions.reasons(waiting, list_name)
            if not reasons:
                continue
            given_up += [
                (mail.position, address, Outcome("suppressed", text=reasons[address]))
                for mail in some
                for address in mail.untried()
                if address in reasons and (not mail.request.critical or reasons[address] in ALWAYS_BINDING)
            ]
        if given_up:
            self._write(given_up, [])
        for position, address, outcome in given_up:
            self.mails[position].rows[address] = replace(self.mails[position].rows[address], outcome=outcome)

    def _learn(self) -> None:
        """Learn which addresses take mail, and which are gone; a refusal of a whole mail is about none of them."""
        answered, self._answered = self._answered, []
        answered = [one for one in answered if not one[2].of_whole_mail]
        if accepted := list(dict.fromkeys(address for _, address, one in answered if one.state == "accepted")):
            self._post.persist(lambda: self._post.suppressions.accepted(accepted))
        for position, address, one in answered:
            if one.state == "refused" and (position, address) not in self._handed:
                self._post.persist(partial(self._refused, position, address, one))

    def _refused(self, position: int, address: str, outcome: Outcome) -> None:
        mail_id = f"{self._post.task_id}-{position}"
        self._post.suppressions.refused(address, outcome.code, outcome.enhanced, outcome.text, mail_id=mail_id)

    def _settle_doubt(self, mail: MailInHand) -> None:
        """Decide about those to whom a former run was handing the mail over, once that cannot be going on any more.

        After that it is in doubt whether they got it, unless a repeat is harmless or wanted.
        """
        doubtful = [address for address, row in mail.rows.items() if row.outcome.state == "handing"]
        if not doubtful:
            return
        mailer = self._post.mailer
        last = min(mail.rows[address].handed_ago or 0.0 for address in doubtful)
        rest = doubt.doubt_seconds(mailer.deadline) - last
        if rest > 0 and not mailer.repeatable:
            mail.rest = rest
            return
        outcome = Outcome("unknown", text=doubt.ENDED_MEANWHILE)
        if mailer.repeatable or self._post.resend:
            outcome = Outcome("queued")
        self._write([(mail.position, address, outcome) for address in doubtful], [])
        mail.rows |= {address: replace(mail.rows[address], outcome=outcome, wait=0.0) for address in doubtful}

    def _composed(self, mail: MailInHand) -> Letter | None:
        """Return a mail's bytes with the recipients that wait; None where it cannot be composed."""
        mail_id = f"{self._post.task_id}-{mail.position}"
        request = unsubscribable(mail.request, mail.recipients, self._post.unsubscribe_url)
        try:
            sender = parse(request.from_email or self._post.sender)
            content = self._post.composer.compose(
                request, sender, mail.recipients, mail_id=mail_id, date=self._post.date, report=self._report
            )
        except (PermanentError, TransientError) as error:
            self._not_composed(mail, error)
            return None
        mail.size = len(content)
        self._lent[mail_id] = mail.position
        return Letter(mail_id, sender.addr_spec, tuple(mail.untried()), content)

    def _not_composed(self, mail: MailInHand, error: PermanentError | TransientError) -> None:
        """Give up those who do not get it; where no others have it, or wait for their own time, the mail fails."""
        never = isinstance(error, PermanentError)
        given_up = mail.waiting() if never else mail.untried() if self._post.last_attempt else []
        goes_on = mail.has_reached_somebody() or len(given_up) < len(mail.waiting())
        if not (given_up and goes_on):
            mail.error = error
        state: DeliveryState = "invalid" if mail.error is not None and never else "refused"
        self._end([(mail, address) for address in given_up], Outcome(state, text=str(error)))

    def summary(self, mail: MailInHand) -> EmailSent:
        """Return what is known of a mail, recipient by recipient."""
        outcomes = {address: row.outcome for address, row in mail.rows.items()}
        accepted = [a for a, o in outcomes.items() if o.state == "accepted"]
        deferred = {a: _refusal(o) for a, o in outcomes.items() if o.state in WAITING_STATES}
        refused = {a: _refusal(o) for a, o in outcomes.items() if o.state == "refused"}
        skipped = {a: o.text for a, o in outcomes.items() if o.state == "skipped"}
        unknown = [a for a, o in outcomes.items() if o.state in {"unknown", "handing"}]
        suppressed = {a: o.text for a, o in outcomes.items() if o.state == "suppressed"}
        invalid = {a: o.text for a, o in outcomes.items() if o.state == "invalid"}
        states = {outcome.state for outcome in outcomes.values()}
        sender = parse(mail.request.from_email or self._post.sender)
        return EmailSent(
            status=_status(states, some_invalid=bool(mail.invalid or invalid)),
            id=self._post.task_id,
            message_id=message_id(f"{self._post.task_id}-{mail.position}", sender.addr_spec),
            transport=self._post.mailer.name,
            size=mail.size,
            attempts=max((row.attempts for row in mail.rows.values()), default=0),
            response=_response(outcomes[accepted[0]]) if accepted else "",
            accepted=accepted,
            deferred=deferred,
            refused=refused,
            skipped=skipped,
            suppressed=suppressed,
            invalid={one.given: one.why for one in mail.invalid} | invalid,
            unknown=unknown,
        )


def unsubscribable(
    request: SendEmail, recipients: Sequence[Recipient], url_of: Callable[[str, str], str | None]
) -> SendEmail:
    """Return the request, with the address where its only recipient leaves its list (RFC 8058), by `url_of`."""
    if request.list_name is None or request.says_how_to_unsubscribe or len(recipients) != 1:
        return request
    url = url_of(recipients[0].address, request.list_name)
    return request if url is None else request.model_copy(update={"unsubscribe": url})


def _response(outcome: Outcome) -> str:
    return " ".join(str(part) for part in (outcome.code, outcome.enhanced, outcome.text) if part)


def _status(states: Collection[str], *, some_invalid: bool) -> MailStatus:
    """Return what a mail's recipients add up to."""
    if "accepted" in states:
        return "sent" if len(states) == 1 and not some_invalid else "partial"
    if "unknown" in states or "handing" in states:
        return "unknown"
    if any(state in states for state in WAITING_STATES):
        return "deferred"
    if "refused" in states or some_invalid:
        return "failed"
    return "suppressed" if "suppressed" in states else "skipped"


def next_wait(tries: int) -> float:
    """Return the seconds until one who was put off for the `tries`th time is tried again, with a tenth of jitter."""
    return FIRST_WAIT_SECONDS * WAIT_GROWTH ** (tries - 1) * random.uniform(0.9, 1.1)  # noqa: S311 - no secret


def fault_wait(attempt: int, longest: float) -> float:
    """Return the seconds until a way out that is at fault is tried again, with a tenth of jitter.

    Args:
        attempt: the number of the one that failed, from 0.
        longest: seconds that a retry may wait at most.
    """
    seconds = FAULT_WAIT_SECONDS * FAULT_WAIT_GROWTH ** min(attempt, MOST_GROWTHS)
    return min(longest, seconds) * random.uniform(0.9, 1.0)  # noqa: S311 - no secret


def _refusal(outcome: Outcome) -> Refusal:
    return Refusal(code=outcome.code, enhanced=outcome.enhanced, text=outcome.text)
