"""What is learned of mails after they went out, and who is not mailed any more: one way in for facade and webhooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from config.settings import settings
from processors.bounces import read_report
from processors.emails import ListDeliveries
from processors.errors import InvalidArgument, PermanentError
from processors.mail_events import event, mailgun, postmark, sendgrid, ses
from processors.mail_events.event import MailEvent
from processors.moments import moment
from processors.suppression import EVERYWHERE, ListEmailEvents, ListSuppressions, SuppressEmail, UnsuppressEmail
from processors.unsubscribing import Subscription
from records.email_events import OF_REPORT, KeptEvent
from records.suppressions import Suppression
from services.status import unknown_task
from services.wiring import parts

MOST_REPORT_BYTES = 10_000_000

Read = Callable[[Mapping[str, str], bytes], tuple[Sequence[MailEvent], str | None]]


def suppress(request: SuppressEmail, until: datetime | str | None, source: str = "facade") -> dict[str, Any]:
    """Mail an address no more, because `source` says so; returns the suppression."""
    end = None if until is None else moment(until, name="until")
    if end is not None and end <= datetime.now(UTC):
        raise InvalidArgument(f"until: must lie ahead; got {until!s:.100}.")
    made = parts().suppressions.suppress(
        request.address, request.reason, request.list_name, end, source=source, text=""
    )
    return _suppression(made)


def unsuppress(request: UnsuppressEmail) -> bool:
    """Mail an address again; False where it was not suppressed in that scope."""
    return parts().suppressions.unsuppress(request.address, request.list_name)


def suppressions(request: ListSuppressions) -> list[dict[str, Any]]:
    """List who is not mailed, the newest first."""
    found = parts().suppressions.listed(
        request.address, request.list_name, request.reason, request.limit, request.after
    )
    return [_suppression(one) for one in found]


def events(request: ListEmailEvents) -> list[dict[str, Any]]:
    """List what was told of mails, the newest first."""
    found = parts().email_events.listed(request.message_id, request.address, request.limit, request.after)
    return [_event(one) for one in found]


def deliveries(task_id: str, request: ListDeliveries) -> list[dict[str, Any]]:
    """List what became of a task's mails, recipient by recipient.

    Raises:
        UnknownTask: no task has this id.
    """
    if parts().tasks.read(task_id) is None:
        raise unknown_task(task_id)
    rows = parts().deliveries.listed(task_id, request.states, request.limit, request.place)
    return [{"id": f"{row['position']}:{row['address']}"} | _delivery(row) for row in rows]


def unsubscribe(who: Subscription) -> None:
    """Let somebody leave a list, or all mail; done again it changes nothing."""
    parts().suppressions.suppress(who.address, "unsubscribe", who.list_name, None, source="one_click", text="")


def receive_report(message: bytes) -> list[dict[str, Any]]:
    """Keep what a mail server's report says; returns what is new in it.

    Raises:
        InvalidArgument: it is no report.
    """
    if not isinstance(message, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
        raise InvalidArgument(f"message: must be the bytes of one mail; got {type(message).__name__}.")
    if len(message) > MOST_REPORT_BYTES:
        raise InvalidArgument(f"message: must have at most {MOST_REPORT_BYTES} bytes; got {len(message)}.")
    try:
        found = read_report(message)
    except PermanentError as error:
        raise InvalidArgument(f"message: {error}") from error
    return [_event(one) for one in parts().email_events.receive(OF_REPORT, found)]


def missing(provider: str) -> str | None:
    """Return why a provider's events are not taken here, in a sentence; None where they are."""
    if provider not in PROVIDERS:
        return f"There is no provider {provider[:50]!r}; the providers are {', '.join(PROVIDERS)}."
    setting, _ = PROVIDERS[provider]
    return None if getattr(settings, setting) else f"Events of {provider} are taken once {setting.upper()} is set."


def receive_events(provider: str, headers: Mapping[str, str], body: bytes) -> list[dict[str, Any]]:
    """Keep what a provider tells; returns what is new.

    Args:
        provider: one that is not `missing`.
        headers: by their names in lower case.
        body: as it came.

    Raises:
        NotAuthentic: the provider has not sent it, or not now.
        InvalidArgument: it is nothing that the provider sends.
        ServiceUnavailable: what it must be checked with cannot be had now.
    """
    _, read = PROVIDERS[provider]
    found, token = read(headers, body)
    return [_event(one) for one in parts().email_events.receive(provider, found, token)]


def _of_ses(_headers: Mapping[str, str], body: bytes) -> tuple[Sequence[MailEvent], str | None]:
    envelope = event.parsed(body, "SNS")
    ses.check(envelope, settings.email_ses_topics, parts().sns.certificate, datetime.now(UTC))
    if (address := ses.confirmation(envelope)) is not None:
        parts().sns.confirm(address)
    return ses.read(envelope), None


def _of_sendgrid(headers: Mapping[str, str], body: bytes) -> tuple[Sequence[MailEvent], str | None]:
    sendgrid.check(body, headers, settings.email_sendgrid_public_key or "", datetime.now(UTC))
    return sendgrid.read(event.parsed(body, "SendGrid")), None


def _of_mailgun(_headers: Mapping[str, str], body: bytes) -> tuple[Sequence[MailEvent], str | None]:
    told = event.parsed(body, "Mailgun")
    token = mailgun.check(told, settings.email_mailgun_signing_key or "", datetime.now(UTC))
    return mailgun.read(told), token


def _of_postmark(headers: Mapping[str, str], body: bytes) -> tuple[Sequence[MailEvent], str | None]:
    postmark.check(headers, settings.email_postmark_secret or "")
    return postmark.read(event.parsed(body, "Postmark")), None


PROVIDERS: dict[str, tuple[str, Read]] = {
    "ses": ("email_ses_topics", _of_ses),
    "sendgrid": ("email_sendgrid_public_key", _of_sendgrid),
    "mailgun": ("email_mailgun_signing_key", _of_mailgun),
    "postmark": ("email_postmark_secret", _of_postmark),
}
"""By their names in the webhook's path: the setting that each needs, and what checks and reads its requests."""


def _suppression(one: Suppression) -> dict[str, Any]:
    return {
        "id": one.id,
        "address": one.address,
        "list_name": None if one.scope == EVERYWHERE else one.scope,
        "reason": one.reason,
        "until": None if one.until is None else one.until.isoformat(),
        "source": one.source,
        "text": one.text,
        "created_at": one.created_at.isoformat(),
    }


def _event(one: KeptEvent) -> dict[str, Any]:
    return asdict(one) | {"at": one.at.isoformat()}


def _delivery(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipient's row as callers read it: moments as texts, without its task."""
    told = {name: value for name, value in row.items() if name != "task_id"}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in told.items()}
