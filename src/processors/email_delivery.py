"""Delivering a mail: handed over to each recipient once, with one outcome for each."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from processors import doubt
from processors.addresses import InvalidRecipient, Recipient, parse, sort_out
from processors.emails import EmailSent, Refusal, SendEmail
from processors.errors import EffectInDoubt, TransientError, TransportFault
from processors.interfaces import Deliveries, Mailer, Outcome, Report, Run
from processors.messages import compose, message_id
from processors.suppression import ALWAYS_BINDING, NobodySuppressed, Suppressions

OPEN_STATES = ("queued", "deferred")


@dataclass(frozen=True, slots=True)
class Post:
    """What a delivery needs beside the mail itself.

    Attributes:
        task_id: whose mail it is.
        created_at: when it was submitted: its Date.
        sender: the author where the mail names none.
        last_attempt: whether what is deferred now will not be tried again.
        run: the run that sends it.
        persist: writes until it is written.
        resend: whether a mail of which nobody knows whether it arrived is sent again, instead of never.
        suppressions: who is not mailed any more.
    """

    mailer: Mailer
    deliveries: Deliveries
    task_id: str
    created_at: datetime
    sender: str
    last_attempt: bool
    run: Run
    persist: Callable[[Callable[[], None]], None]
    resend: bool = False
    suppressions: Suppressions = field(default_factory=NobodySuppressed)


def deliver(request: SendEmail, post: Post, report: Report, position: int = 0) -> EmailSent:
    """Send one mail to those recipients that have no outcome yet.

    Args:
        request: the mail.
        post: what it needs from outside.
        report: told that it goes out.
        position: its place in a bulk; 0 for a single one.

    Raises:
        TransientError: somebody's mail was put off; the next attempt takes the open ones.
        TransportFault: the transport is at fault; so it does, unless this is the last and somebody has an outcome.
        EffectInDoubt: a former run may still be handing it over to somebody; all others have an outcome.
    """
    recipients, invalid = sort_out(request.recipients())
    mail_id = f"{post.task_id}-{position}"
    sender = parse(request.from_email or post.sender)
    content = compose(sender, recipients, request.subject, request.body, mail_id=mail_id, date=post.created_at)
    outcomes, rest = _outcomes_so_far(post, position, recipients)
    outcomes |= _suppress(request, post, position, outcomes)
    waiting = [address for address, outcome in outcomes.items() if outcome.state in OPEN_STATES]
    handed = set[str]()
    while waiting:
        report(100 * (1 - len(waiting) / len(outcomes)), f"sending to {len(waiting)} recipients")
        try:
            answered = post.mailer.send(
                sender.addr_spec,
                waiting,
                content,
                mail_id=mail_id,
                handing=lambda addresses: handed.update(_hand_over(post, position, addresses)),
            )
        except TransportFault as fault:
            if not post.last_attempt or len(waiting) == len(outcomes):
                raise
            answered = dict.fromkeys(waiting, Outcome("deferred", text=str(fault)))
        answered = {address: _on_doubt(outcome, post) for address, outcome in answered.items()}
        post.persist(partial(_keep, post, position, mail_id, answered, handed))
        outcomes |= answered
        waiting = [address for address in waiting if address not in answered]
    sent = _summary(outcomes, invalid, post, message_id(mail_id, sender.addr_spec), len(content))
    if sent.deferred and not post.last_attempt:
        raise TransientError(f"{len(sent.deferred)} recipients were put off: {sent.first_reason()}")
    if rest > 0:
        raise EffectInDoubt("It is not known yet whether the mail arrived: a former run may still be sending it.", rest)
    return sent


def _suppress(request: SendEmail, post: Post, position: int, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Give up those who are not to be mailed now, and return their outcomes; it is asked anew at every attempt."""
    waiting = [address for address, outcome in outcomes.items() if outcome.state in OPEN_STATES]
    if not waiting:
        return {}
    reasons = post.suppressions.reasons(waiting, request.list_name)
    binding = {a: why for a, why in reasons.items() if not request.critical or why in ALWAYS_BINDING}
    given_up = {address: Outcome("suppressed", text=why) for address, why in binding.items()}
    if given_up:
        _close(post, position, given_up)
    return given_up


def _keep(post: Post, position: int, mail_id: str, answered: Mapping[str, Outcome], handed: Collection[str]) -> None:
    """Store what became of these, and learn which addresses take mail; a refusal of the whole mail is about none."""
    post.deliveries.close(post.task_id, position, answered, post.run)
    if accepted := [address for address, one in answered.items() if one.state == "accepted"]:
        post.suppressions.accepted(accepted)
    for address, one in answered.items():
        if one.state == "refused" and address not in handed:
            post.suppressions.refused(address, one.code, one.enhanced, one.text, mail_id=mail_id)


def _hand_over(post: Post, position: int, addresses: Sequence[str]) -> Sequence[str]:
    """Mark that these are being handed over, look at the clock last, and return them.

    Raises:
        TransientError: it took too long, or the task is another run's or cancelled; nothing may go out.
    """
    began = doubt.clock()
    post.deliveries.handing(post.task_id, position, addresses, post.run)
    if doubt.clock() - began >= doubt.BEGIN_SECONDS:
        _close(post, position, dict.fromkeys(addresses, Outcome("queued")))
        raise TransientError(
            f"The mail was not handed over: noting it took over {doubt.BEGIN_SECONDS:g} s, because the database or "
            "this process was too slow."
        )
    return addresses


def _on_doubt(outcome: Outcome, post: Post) -> Outcome:
    """Return the outcome, put off where it is unknown and a second copy is preferred to none."""
    if outcome.state == "unknown" and post.resend and not post.last_attempt:
        return replace(outcome, state="deferred")
    return outcome


def _close(post: Post, position: int, outcomes: Mapping[str, Outcome]) -> None:
    post.persist(lambda: post.deliveries.close(post.task_id, position, outcomes, post.run))


def _outcomes_so_far(post: Post, position: int, recipients: Sequence[Recipient]) -> tuple[dict[str, Outcome], float]:
    """Return the rows, and the seconds for which a former run may still be handing the mail over to some of them.

    After that it is in doubt whether they got it, unless a repeat is harmless or wanted.
    """
    roles = {recipient.address: recipient.role for recipient in recipients}
    outcomes = post.deliveries.open(post.task_id, position, roles)
    doubtful = [address for address, outcome in outcomes.items() if outcome.state == "handing"]
    if not doubtful:
        return outcomes, 0.0
    rest = doubt.doubt_seconds(post.mailer.deadline) - post.deliveries.handed_since(post.task_id, position)
    if rest > 0 and not post.mailer.repeatable:
        return outcomes, rest
    if post.mailer.repeatable or post.resend:
        settled = dict.fromkeys(doubtful, Outcome("queued"))
    else:
        settled = dict.fromkeys(doubtful, Outcome("unknown", text="the worker ended while the mail was handed over"))
    _close(post, position, settled)
    return outcomes | settled, 0.0


def _summary(
    outcomes: Mapping[str, Outcome], invalid: Sequence[InvalidRecipient], post: Post, header: str, size: int
) -> EmailSent:
    accepted = [address for address, outcome in outcomes.items() if outcome.state == "accepted"]
    deferred = {a: _refusal(o) for a, o in outcomes.items() if o.state in OPEN_STATES}
    refused = {a: _refusal(o) for a, o in outcomes.items() if o.state == "refused"}
    unknown = [a for a, o in outcomes.items() if o.state in {"unknown", "handing"}]
    suppressed = {a: o.text for a, o in outcomes.items() if o.state == "suppressed"}
    failed = bool(refused or invalid) or not suppressed
    status = "partial" if deferred or refused or unknown or invalid or suppressed else "sent"
    if not accepted:
        status = "unknown" if unknown else "deferred" if deferred else "failed" if failed else "suppressed"
    return EmailSent(
        status=status,
        id=post.task_id,
        message_id=header,
        transport=post.mailer.name,
        size=size,
        accepted=accepted,
        deferred=deferred,
        refused=refused,
        invalid={one.given: one.why for one in invalid},
        suppressed=suppressed,
        unknown=unknown,
    )


def _refusal(outcome: Outcome) -> Refusal:
    return Refusal(code=outcome.code, enhanced=outcome.enhanced, text=outcome.text)
