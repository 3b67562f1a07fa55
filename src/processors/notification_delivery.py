"""Delivering one channel of a notification: as is wished, not before it may be, and to each endpoint once.

Preferences, quiet hours and addresses are asked for when a channel sends, not when the notification is submitted.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, cast

from processors.carriers import Carrier, EndpointGone, Notice
from processors.contacts import Contact, Contacts
from processors.digests import Gathered, as_one
from processors.emails import SendEmail
from processors.errors import Cancelled, EffectInDoubt, EffectUnknown, PermanentError, Postponed, TransientError
from processors.interfaces import MemberEnd, Members, Report, Run
from processors.mail_headers import LANGUAGE_FIELD
from processors.notifications import ChannelSent, Outcome, SendChannel, skipped
from processors.quiet_hours import quiet_until


class Inbox(Protocol):
    """Where an application's users find their notifications."""

    def write(self, key: str, user_id: str, notification_type: str, title: str, body: str, url: str | None) -> int:
        """Write a notification, unless one with this key was written before; returns its id."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelTools:
    """What a channel needs from outside.

    Attributes:
        carriers: by channel.
        gathered: closes a digest's window and returns what is in it.
        mail: sends a mail at a position of the notification, and returns its outcome.
        effect: changes the outside world once: takes a key, the call and its deadline in seconds.
        last_attempt: whether what is put off now will not be tried again.
        run: the run that delivers it.
        clock: tells the time.
    """

    contacts: Contacts
    members: Members
    inbox: Inbox
    carriers: Mapping[str, Carrier]
    gathered: Callable[[str], Sequence[Gathered]]
    mail: Callable[[SendEmail, int], Outcome]
    effect: Callable[[str, Callable[[], Any], float], Any]
    last_attempt: bool
    run: Run
    clock: Callable[[], datetime]


def send_channel(request: SendChannel, tools: ChannelTools, report: Report) -> ChannelSent:
    """Deliver one channel of a notification; one that has its outcome is passed over, so that it may run again.

    Raises:
        Postponed: the person's quiet hours hold, until `retry_after` seconds from now; waiting is no attempt.
        TransientError: it cannot be delivered now.
        EffectInDoubt: a former run may still be sending it.
        PermanentError: what is known of the person is not acceptable.
        Cancelled: another run has it, and tells what becomes of it.
    """
    if tools.members.waiting(request.notification_id, request.position, 1):
        outcome = _delivered(request, tools, report)
        end = MemberEnd(request.position, str(outcome["status"]), outcome)
        tools.members.close_all(request.notification_id, [end], tools.run)
    [end] = tools.members.ends(request.notification_id, request.position, 1)
    if end.outcome is None:
        raise Cancelled("Another run of this channel tells what becomes of it.")
    return ChannelSent(channel=request.channel, outcome=dict(end.outcome))


def _delivered(request: SendChannel, tools: ChannelTools, report: Report) -> Outcome:
    """Deliver, unless that is not wanted, not possible, or not yet."""
    inbox = request.channel == "inbox"
    contact = (None if inbox and request.critical else tools.contacts.find(request.user_id)) or Contact()
    carrier = tools.carriers.get(request.channel)
    endpoints = contact.endpoints(request.channel)
    if not _wanted(request, contact):
        return skipped("preference")
    if inbox:
        return _into_inbox(request, tools)
    if not endpoints or (carrier is None and request.channel != "email"):
        return skipped("no_endpoint" if carrier or request.channel == "email" else "not_configured")
    if not request.critical and not _awake(request, contact, tools.clock()):
        return skipped("quiet_hours")
    if carrier is None:
        return _by_mail(request, endpoints[0]["email"], contact.language, tools)
    return _Sending(request, carrier, endpoints, contact.language, tools, report).outcome()


def _wanted(request: SendChannel, contact: Contact) -> bool:
    """Tell whether the person wants to be told of this by this channel; what is critical is told in any case."""
    if request.critical or contact.preferences is None:
        return True
    return contact.preferences.want(request.notification_type, request.channel)


def _into_inbox(request: SendChannel, tools: ChannelTools) -> Outcome:
    what = _what(request, tools)
    key, user, kind = request.known_as, request.user_id, request.notification_type
    return {"status": "stored", "id": tools.inbox.write(key, user, kind, what.title, what.message, what.url)}


def _by_mail(request: SendChannel, address: str, language: str | None, tools: ChannelTools) -> Outcome:
    what = _what(request, tools)
    mail = SendEmail(
        to_email=address,
        subject=what.title,
        body=what.message,
        critical=request.critical,
        headers={LANGUAGE_FIELD: language} if language else None,
    )
    sent = tools.mail(mail, request.position)
    held_back = {"suppressed": "suppressed", "skipped": "not_let_out"}.get(sent["status"])
    return sent if held_back is None else {**sent, "status": "skipped", "reason": held_back}


def _what(request: SendChannel, tools: ChannelTools) -> Gathered:
    if not request.gathered:
        return Gathered(request.title, request.message, request.url)
    return as_one(tools.gathered(request.notification_id), request.notification_type)


def _awake(request: SendChannel, contact: Contact, now: datetime) -> bool:
    """Tell whether the person may be disturbed; False where nobody will want to know once that is so.

    Raises:
        Postponed: not yet.
    """
    if contact.quiet_hours is None:
        return True
    until = quiet_until(now, contact.quiet_hours, contact.zone())
    if until is None:
        return True
    if request.expires_at is not None and datetime.fromisoformat(request.expires_at) <= until:
        return False
    raise Postponed(
        f"Quiet hours of {contact.zone().key} until {until.astimezone(contact.zone()).isoformat()}.",
        (until - now).total_seconds(),
    )


@dataclass(slots=True)
class _Sending:
    """One notice to every endpoint of a channel, each an effect of its own."""

    request: SendChannel
    carrier: Carrier
    endpoints: Sequence[Mapping[str, Any]]
    language: str | None
    tools: ChannelTools
    report: Report
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("sent", "gone", "refused", "unknown"), 0))
    texts: list[str] = field(default_factory=list[str])

    def outcome(self) -> Outcome:
        """Send to all, and return what became of them.

        Raises:
            TransientError: to some not now; the others have an outcome, which the next attempt finds.
        """
        notice = self._notice()
        late: TransientError | None = None
        gone: list[Mapping[str, Any]] = []
        for number, endpoint in enumerate(self.endpoints):
            self.report(100 * number / len(self.endpoints), f"{number} of {len(self.endpoints)} endpoints")
            try:
                state = self._one(notice, endpoint)
            except TransientError as error:
                if self.tools.last_attempt and not isinstance(error, Postponed):
                    self._count("refused", str(error))
                elif late is None or not isinstance(error, Postponed):
                    late = error  # one that is no attempt must not hide one that is
            else:
                gone += [endpoint] if state == "gone" else []
        if late is not None:
            raise late
        for endpoint in gone:
            self.tools.contacts.drop(self.request.user_id, self.request.channel, endpoint)
        return self._told()

    def _one(self, notice: Notice, endpoint: Mapping[str, Any]) -> str:
        def call() -> Outcome:
            try:
                receipt = self.carrier.send(notice, endpoint)
            except EndpointGone as error:
                return {"state": "gone", "text": str(error)}
            except EffectUnknown:
                raise
            except PermanentError as error:
                return {"state": "refused", "text": str(error)}
            return {"state": "sent", "id": receipt.remote_id, "code": receipt.code}

        try:
            found = cast(
                "Outcome", self.tools.effect(endpoint_key(self.request, endpoint), call, self.carrier.deadline)
            )
        except EffectInDoubt:
            raise
        except EffectUnknown as error:
            self._count("unknown", str(error))
            return "unknown"
        state, text = _settled(found)
        self._count(state, text)
        return state

    def _count(self, state: str, text: str) -> None:
        self.counts[state] = self.counts.get(state, 0) + 1
        if text:
            self.texts.append(text)

    def _notice(self) -> Notice:
        what = _what(self.request, self.tools)
        expires_at = self.request.expires_at
        return Notice(
            id=self.request.known_as,
            type=self.request.notification_type,
            title=what.title,
            message=what.message,
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
            language=self.language,
        )

    def _told(self) -> Outcome:
        sent, all_sent = self.counts["sent"], self.counts["sent"] == len(self.endpoints)
        status = "sent" if all_sent else "partial" if sent else "unknown" if self.counts["unknown"] else "failed"
        name = "devices" if self.request.channel == "push" else "endpoints"
        told: Outcome = {
            "status": status,
            "carrier": self.carrier.name,
            name: {k: n for k, n in self.counts.items() if n},
        }
        return told if all_sent else told | {"text": "; ".join(dict.fromkeys(self.texts))[:1_000]}


def _settled(found: Any) -> tuple[str, str]:
    """Return the state and the text of an effect's outcome; a person who settles one says what it came to at will."""
    if not isinstance(found, dict):
        return "sent", ""
    told = cast("Outcome", found)
    return str(told.get("state", "sent")), str(told.get("text") or "")


def endpoint_key(request: SendChannel, endpoint: Mapping[str, Any]) -> str:
    """Return what names the sending of a notification to one endpoint for ever, without telling the endpoint."""
    where = str(endpoint.get("endpoint") or endpoint.get("url") or endpoint.get("phone"))
    return f"{request.channel}:{hashlib.sha256(where.encode()).hexdigest()[:32]}"
