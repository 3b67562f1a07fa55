"""The facade: everything a caller needs, by name."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast

from celery.utils import uuid
from pydantic import ValidationError

from config.settings import settings
from processors.ai_arguments import DEFAULT_CHAT_MODEL, DEFAULT_EMBEDDING_MODEL, DefaultModel
from processors.errors import InvalidArgument, TaskCancelled, TaskFailed, TaskTimeout, UnknownQueue
from processors.results import Request, sentence_of
from processors.scheduling import ListFailedTasks, ProcessPendingTasks, RetryFailedTasks
from records.task_records import MOST_BYTES, Draft, TaskRecord, TaskState, is_task_id
from services import effects, limiting, retrying, scheduling, steering
from services.celery_app import QUEUES
from services.groups import group_of
from services.on_first_use import on_first_use
from services.own_tasks import CONTEXT, check_limited, checked_arguments, parameters_of, queue_of, registered_task
from services.scheduling import ScheduleChanges
from services.status import (
    active_task,
    inbox_of,
    line_of,
    status_of,
    unknown_status,
    unknown_task,
    usage_of,
    why_revoked,
)
from services.submission import check_size, draft_by_name, ids_from, submit_by_name, submit_many
from services.submit_options import (
    Options,
    OptionsBesideDelay,
    OptionsBesidePriority,
    OptionsBesideTime,
    SubmitOptions,
    refuse_unknown,
)
from services.wiring import parts

if TYPE_CHECKING:
    from processors import (
        ai_requests,
        ai_usage,
        audio,
        bulk_emails,
        call_questions,
        call_times,
        calls,
        cleanup,
        documents,
        emails,
        file_results,
        files,
        images,
        logs,
        notifications,
        people,
        sentiment,
        suppression,
        texts,
        video,
    )
    from processors import campaigns as call_campaigns
    from processors import contacts as contact_requests
    from services import bulk, call_retries, campaign_members, campaigns, contacts, enclosures, mail_intake
    from services import notifications as notifying
else:
    ai_requests, ai_usage, audio, bulk_emails = on_first_use(
        "processors", "ai_requests", "ai_usage", "audio", "bulk_emails"
    )
    cleanup, contact_requests, documents, emails = on_first_use(
        "processors", "cleanup", "contacts", "documents", "emails"
    )
    file_results, files, images, logs = on_first_use("processors", "file_results", "files", "images", "logs")
    notifications, people, sentiment = on_first_use("processors", "notifications", "people", "sentiment")
    suppression, texts, video = on_first_use("processors", "suppression", "texts", "video")
    call_campaigns, call_questions, call_times, calls = on_first_use(
        "processors", "campaigns", "call_questions", "call_times", "calls"
    )
    bulk, contacts, enclosures = on_first_use("services", "bulk", "contacts", "enclosures")
    call_retries, campaign_members, campaigns = on_first_use(
        "services", "call_retries", "campaign_members", "campaigns"
    )
    mail_intake, notifying = on_first_use("services", "mail_intake", "notifications")

FIRST_POLL_SECONDS = 0.0005
LONGEST_POLL_SECONDS = 1.0
POLL_SHARE = 0.1
"""A poll comes after a tenth of what was waited: that adds little to any wait, and soon there is one a second."""

MOST_AT_ONCE = 10_000
"""Tasks that one `submit_many` takes."""

MOST_BYTES_AT_ONCE = 32_000_000
"""What the arguments of all of them have as JSON at most: SQLite lets nobody else write while it takes them."""

NAMED = re.compile(r"\S+: ")
"""How an error begins that names an argument."""

Model = TypeVar("Model", bound=Request)


class CeleryService:
    """Submits work and tells what became of it.

    Every submitting method returns the task's id at once, and raises:
        InvalidArgument: an argument is bad (a `ValueError`); nothing was queued or recorded.
        IdempotencyConflict: the idempotency key was given to other arguments; `.task_id` tells whose it is.
        ServiceUnavailable: the record could not be written; nothing was queued.
        SubmitUnknown: it is not known whether the record was written; `.task_id` tells which.

    `queue` overrides the route; what else a submit may say is in `services.submit_options.SubmitOptions`.
    """

    # --- E-mail -------------------------------------------------------------------------------------------------

    def send_email(  # noqa: PLR0913 - the interface's own parameters
        self,
        to_email: str | list[str],
        subject: str | None = None,
        body: str | None = None,
        from_email: str | None = None,
        cc: list[str] | None = None,
        bcc: list[str] | None = None,
        priority: str = "normal",
        queue: str = "email",
        *,
        html_body: str | None = None,
        reply_to: str | list[str] | None = None,
        headers: dict[str, str] | None = None,
        attachments: Sequence[Mapping[str, Any]] | None = None,
        inline_images: Mapping[str, Mapping[str, Any]] | None = None,
        unsubscribe: str | dict[str, str] | None = None,
        critical: bool = False,
        list_name: str | None = None,
        template: str | None = None,
        context: Mapping[str, Any] | None = None,
        preview: bool = False,
        **options: Unpack[OptionsBesidePriority],
    ) -> str:
        """Send one mail to at most 1 000 recipients.

        Args:
            to_email: who gets it.
            subject: one line; must be given but for a template that makes one.
            body: the text; or HTML, which gets a text part beside it. Must be given but for a template or `html_body`.
            from_email: the author; left out, EMAIL_FROM.
            cc: who gets a copy.
            bcc: who gets one that nobody sees.
            priority: `low`, `normal` or `high`; orders tasks inside their queue.
            queue: overrides the route.
            html_body: the HTML; `body` is then the text beside it, or left out to have one made.
            reply_to: who gets the answers.
            headers: further header fields by their names, such as `{"X-Order": "17"}`.
            attachments: a dict for each file: `path` (on the worker, an address, or `store://sha256/…`) or `content`
                (bytes, or base64 text), and, where the path does not tell them, `name` and `type`.
            inline_images: the same by what stands behind `cid:` in the HTML.
            unsubscribe: an https address for one-click unsubscribing, or a dict with that `url` and a `mailto`.
            critical: it goes to those, too, who have unsubscribed or are suppressed by hand.
            list_name: the list that it belongs to: who has unsubscribed from that one is not mailed.
            template: the name of a template in EMAIL_TEMPLATES_DIR, which makes page, text and subject.
            context: what the template is rendered with: JSON values by their names.
            preview: send nothing; the result is what would be sent, and what is odd about it.
            options: as every submit takes them.
        """
        chosen = _options("send_email", SubmitOptions(**options, priority=priority))
        more = {
            "subject": subject,
            "body": body,
            "html_body": html_body,
            "reply_to": reply_to,
            "headers": headers,
            "attachments": attachments,
            "inline_images": inline_images,
            "unsubscribe": unsubscribe,
            "critical": critical or None,
            "list_name": list_name,
            "template": template,
            "context": context,
            "preview": preview or None,
        }
        enclosed = enclosures.Enclosures(settings.email_max_mb)
        given = enclosed.named({name: value for name, value in more.items() if value is not None})
        request = _checked(
            emails.SendEmail,
            to_email=to_email,
            from_email=from_email,
            cc=cc,
            bcc=bcc,
            **given,
        )
        arguments = request.model_dump(mode="json", exclude_unset=True)
        task_id = uuid()
        return enclosed.submitted(task_id, lambda: _send("email.send_email", arguments, queue, chosen, task_id))

    def send_bulk_emails(
        self,
        emails: Sequence[Mapping[str, Any]],
        batch_size: int = 50,
        delay_between_batches: float = 1.0,
        queue: str = "email",
        *,
        max_failure_rate: float = 0.2,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Send many mails, in batches that start `delay_between_batches` seconds apart.

        Their `priority` is `low` unless told: who waits for a single mail does not wait for a bulk.

        Args:
            emails: at most 1 000 000 dicts with the names of `send_email`; what one says wrong is its own outcome where
                it is an address, and else refuses the bulk.
            batch_size: mails of one task.
            delay_between_batches: seconds.
            queue: where its tasks wait.
            max_failure_rate: the part of the last 200 mails that may be refused or unknown; beyond it the bulk pauses
                itself, until `resume_task`. 1 for never.
            options: see `SubmitOptions`.

        Returns:
            The id of the bulk, which `pause_task`, `resume_task`, `cancel_task` and `resend_failed` take.
        """
        options.setdefault("priority", bulk.MAIL_PRIORITY)
        chosen = _options("send_bulk_emails", options)
        request = _checked(
            bulk_emails.SendBulkEmails,
            batch_size=batch_size,
            delay_between_batches=delay_between_batches,
            max_failure_rate=max_failure_rate,
        )
        return bulk.submit_bulk_emails(emails, request, _queue(queue), chosen)

    def resend_failed(self, task_id: str, states: Sequence[str] | None = None) -> str:
        """Send the mails of an ended bulk again that nobody got, as a new bulk.

        Whoever does so again with the same states gets the same new bulk: a double click sends it once.

        Args:
            task_id: the bulk.
            states: of its mails, some of `deferred`, `refused`, `expired`, `cancelled` (these without it), `invalid`,
                `skipped` and `unknown`, which may have arrived.

        Returns:
            The id of the new bulk.

        Raises:
            InvalidArgument: it is no bulk of mails, has not ended, was resent with other states, has no such mail, or
                some of its mails are still being handed over: it waits 5 s for those.
            UnknownTask: no task has this id.
        """
        given: dict[str, Any] = {} if states is None else {"states": states}
        return bulk.resend_failed(_task_id(task_id), _checked(bulk_emails.ResendFailed, **given))

    def suppress_email(
        self,
        address: str,
        reason: str = "manual",
        list_name: str | None = None,
        until: datetime | str | None = None,
    ) -> dict[str, Any]:
        """Mail an address no more, from now on, what was submitted before included; returns it as lists show it.

        Args:
            address: whom.
            reason: `manual`, `unsubscribe`, `complaint` or `hard_bounce`; the last two bind critical mail too.
            list_name: only mails of this list; left out, all.
            until: when it ends, as `due_at` is given; left out, never.
        """
        request = _checked(suppression.SuppressEmail, address=address, reason=reason, list_name=list_name)
        return mail_intake.suppress(request, until)

    def unsuppress_email(self, address: str, list_name: str | None = None) -> bool:
        """Mail an address again, whatever the reason was; False where it was not suppressed.

        What a list's suppression keeps back goes on being so, unless `list_name` names that list.
        """
        return mail_intake.unsuppress(_checked(suppression.UnsuppressEmail, address=address, list_name=list_name))

    def get_suppressions(
        self,
        address: str | None = None,
        limit: int = 100,
        *,
        list_name: str | None = None,
        reason: str | None = None,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """List who is not mailed now, the newest first.

        Args:
            address: of this address alone.
            limit: at most so many, up to 1 000.
            list_name: of this list alone.
            reason: of this reason alone.
            after: the `id` of the last one of the page before.

        Returns:
            `id`, `address`, `list_name` (None: all mail), `reason`, `until`, `source` (who said so), `text`,
            `created_at`.
        """
        return mail_intake.suppressions(
            _checked(
                suppression.ListSuppressions,
                address=address,
                list_name=list_name,
                reason=reason,
                limit=limit,
                after=after,
            )
        )

    def receive_bounce(self, message: bytes) -> list[dict[str, Any]]:
        """Take a mail server's report, as it came: a bounce (RFC 3464) or a complaint (RFC 5965).

        Returns:
            What is new in it, as `get_email_events` tells it.

        Raises:
            InvalidArgument: it is no report.
        """
        return mail_intake.receive_report(message)

    def get_email_events(
        self,
        message_id: str | None = None,
        address: str | None = None,
        limit: int = 100,
        *,
        after: int | None = None,
    ) -> list[dict[str, Any]]:
        """List what was told of mails after they had gone out, the newest first; no delivery's state is changed by it.

        Args:
            message_id: of this mail alone, as its result names it.
            address: of this recipient alone.
            limit: at most so many, up to 1 000.
            after: the `id` of the last one of the page before.

        Returns:
            `id`, `provider` (`report`, or a provider's name), `kind` (delivered, delayed, bounced, rejected,
            complained, unsubscribed), `address`, `hard`, `code`, `enhanced`, `text`, `message_id`, `task_id` (whose
            mail, where that is known), `at`.
        """
        return mail_intake.events(
            _checked(suppression.ListEmailEvents, message_id=message_id, address=address, limit=limit, after=after)
        )

    def get_deliveries(
        self, task_id: str, states: list[str] | None = None, limit: int = 100, after: str | None = None
    ) -> list[dict[str, Any]]:
        """List what became of a task's mails, recipient by recipient: mail by mail, and by address.

        Args:
            task_id: of a mail, a bulk or a notification.
            states: of recipients in these alone: `queued`, `handing`, `accepted`, `deferred`, `refused`, `invalid`,
                `skipped`, `suppressed`, `expired`, `cancelled`, `unknown`.
            limit: at most so many, up to 1 000.
            after: the `id` of the last one of the page before.

        Returns:
            `id`, `position` (which mail of a bulk, from 0), `address`, `role` (`to`, `cc`, `bcc`), `state`, `attempts`,
            `code`, `enhanced` and `text` (what the server said last, or why it was not asked), `created_at`,
            `handed_at`, `closed_at`, `next_attempt_at` (of one who was put off).

        Raises:
            UnknownTask: no task has this id.
        """
        return mail_intake.deliveries(
            _task_id(task_id), _checked(emails.ListDeliveries, states=states, limit=limit, after=after)
        )

    def unsubscribe_url(self, address: str, list_name: str | None = None) -> str:
        """Return the address of the web where somebody leaves a list, or all mail, with one click (RFC 8058)."""
        who = _checked(suppression.UnsuppressEmail, address=address, list_name=list_name)
        return parts().unsubscribing.url(who.address, who.list_name)

    # --- Notifications ------------------------------------------------------------------------------------------

    def send_notification(  # noqa: PLR0913 - the interface's own parameters
        self,
        user_id: str,
        notification_type: str,
        title: str,
        message: str,
        channels: list[str] | None = None,
        queue: str = "default",
        *,
        critical: bool = False,
        url: str | None = None,
        digest: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Tell one person something over several channels, each of which is delivered and tried again by itself.

        Args:
            user_id: whom; `set_contact` or a directory (CONTACT_DIRECTORY_URL) says how that one is reached.
            notification_type: what it is about, such as `welcome`; preferences are by type.
            title: one line: the subject of a mail.
            message: plain text; a mail may be HTML.
            channels: of `email`, `inbox`, `push`, `sms`, `chat`; by default `["email"]`.
            queue: overrides the route.
            critical: tell it whatever preferences, quiet hours and digests say; so are NOTIFICATION_CRITICAL_TYPES.
            url: where an item of the inbox leads: http(s), or a path.
            digest: gather with others of this person, type and channels in windows of so many seconds (60 to 604800),
                and send one notification when the window closes, whose id this returns.
            options: as every submit takes them; a digest has a due time of its own.
        """
        chosen = _options("send_notification", options)
        request = _checked(
            notifications.SendNotification,
            user_id=user_id,
            notification_type=notification_type,
            title=title,
            message=message,
            channels=channels,
            critical=critical,
            url=url,
            digest=digest,
        )
        check_size("notification.send_notification", request.model_dump(mode="json"))
        return notifying.submit_notification(request, _queue(queue), chosen)

    def set_contact(  # noqa: PLR0913, PLR0917 - the interface's own parameters
        self,
        user_id: str,
        email: str | None = None,
        phone: str | None = None,
        push: list[dict[str, Any]] | None = None,
        chat: list[str] | None = None,
        time_zone: str | None = None,
        language: str | None = None,
        quiet_hours: dict[str, str] | None = None,
        preferences: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Say how a person is reached, at once, and return what is set, with its secrets masked.

        None leaves a field as it is; an empty text, list or dict removes it.

        Args:
            user_id: your name for the person.
            email: one address.
            phone: E.164, such as `+491701234567`.
            push: web push subscriptions, as a browser's `PushSubscription.toJSON()` says.
            chat: Apprise URLs, such as `slack://…`.
            time_zone: an IANA name; UTC where none is known.
            language: a code of BCP 47, what the person is written to in: mails and web push say so.
            quiet_hours: `{"from": "22:00", "to": "07:00"}`, by the clocks of the zone.
            preferences: `{"channels": {"sms": False}, "types": {"news": False}, "type_channels": {"news": {"inbox":
                True}}}`: what is not said is wanted, and what is said of a type and a channel decides.
        """
        given = {
            "email": email,
            "phone": phone,
            "push": push,
            "chat": chat,
            "time_zone": time_zone,
            "language": language,
            "quiet_hours": quiet_hours,
            "preferences": preferences,
        }
        return contacts.set_contact(_checked(contact_requests.ContactChange, user_id=user_id).user_id, given)

    def get_contact(self, user_id: str) -> dict[str, Any] | None:
        """Return how a person is reached, with secrets masked; None where nobody knows.

        What was set here wins, field by field, over what the directory says.

        Raises:
            TransientError: the directory does not answer now.
            PermanentError: what it answers is no contact.
        """
        return contacts.get_contact(_checked(contact_requests.ContactChange, user_id=user_id).user_id)

    def delete_contact(self, user_id: str) -> bool:
        """Remove what was set of a person, at once; False where nothing was. A directory goes on to be asked."""
        return parts().contacts.delete(_checked(contact_requests.ContactChange, user_id=user_id).user_id)

    def get_inbox(
        self,
        user_id: str,
        unread_only: bool = False,
        archived: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> dict[str, Any]:
        """Return a person's inbox: `items`, the newest first, and how many are `unseen` and `unread` in all.

        Args:
            user_id: whose.
            unread_only: leave out what was read.
            archived: those that were archived, instead of the others.
            limit: at most so many, up to 1 000.
            before: the id of the last item of the page before.

        Returns:
            Items with `id`, `type`, `title`, `body`, `url`, `created_at`, `seen_at`, `read_at`, `archived_at`.
        """
        wanted = _checked(
            notifications.ReadInbox,
            user_id=user_id,
            unread_only=unread_only,
            archived=archived,
            limit=limit,
            before=before,
        )
        found = parts().inbox.items(
            wanted.user_id, wanted.limit, wanted.before, unread_only=wanted.unread_only, archived=wanted.archived
        )
        return inbox_of(found, parts().inbox.counts(wanted.user_id))

    def mark_inbox(self, user_id: str, ids: list[int], mark: str) -> int:
        """Mark items of a person's inbox `seen`, `read`, `archived` or `unread`; returns how many of them there are."""
        wanted = _checked(notifications.MarkInbox, user_id=user_id, ids=ids, mark=mark)
        return parts().inbox.mark(wanted.user_id, wanted.ids, wanted.mark)

    # --- Phone calls --------------------------------------------------------------------------------------------

    def queue_outbound_call(  # noqa: PLR0913 - the interface's own parameters
        self,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        delay_seconds: float = 0,
        queue: str = "twilio_calls",
        *,
        calling_hours: Mapping[str, Any] | None = None,
        detection: str = "ignore",
        ring_seconds: int = 30,
        limit_seconds: int = 3_600,
        record: bool = False,
        **options: Unpack[OptionsBesideDelay],
    ) -> str:
        """Make one phone call.

        Args:
            to_number: who is called, as people write numbers: `+49 170 1234567`.
            from_number: which of our numbers calls; left out, TWILIO_PHONE_NUMBER.
            webhook_url: where the provider asks what is said; left out, this service.
            status_callback_url: where it tells each step; left out, this service.
            call_metadata: kept with the call; `message`, `voice`, `language`, `gather_input` and `priority` shape it.
            delay_seconds: until it is made.
            queue: overrides the route.
            calling_hours: `{"start": "09:00", "end": "20:00", "days": ["mon", …], "timezone": "Europe/Berlin"}` by the
                clocks of who is called; left out, at any time.
            detection: where a machine answers: `ignore` that, `hang_up`, or `leave_message`.
            ring_seconds: how long it rings.
            limit_seconds: how long the call lasts at most.
            record: whether it is recorded.
            options: as every submit takes them.
        """
        timed: dict[str, Any] = {"delay_seconds": delay_seconds} if delay_seconds else {}
        return _call(
            "queue_outbound_call",
            calls.QueueOutboundCall,
            queue,
            {**options, **timed},
            to_number=to_number,
            from_number=from_number,
            webhook_url=webhook_url,
            status_callback_url=status_callback_url,
            call_metadata=call_metadata,
            calling_hours=calling_hours,
            detection=detection,
            ring_seconds=ring_seconds,
            limit_seconds=limit_seconds,
            record=record,
        )

    def schedule_call(
        self,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        schedule_time: str | None = None,
        timezone: str = "UTC",
        queue: str = "twilio_calls",
        **options: Unpack[OptionsBesideTime],
    ) -> str:
        """Make one phone call at a certain time.

        Args:
            to_number: who is called.
            from_number: which of our numbers calls; left out, TWILIO_PHONE_NUMBER.
            webhook_url: where the provider asks what is said; left out, this service.
            status_callback_url: where it tells each step; left out, this service.
            call_metadata: as in `queue_outbound_call`.
            schedule_time: ISO 8601; an offset in it wins over `timezone`. Left out, now.
            timezone: the IANA name of the zone of a time without an offset.
            queue: overrides the route.
            options: as every submit takes them.
        """
        refuse_unknown("CeleryService.schedule_call", options)
        _refuse_times("schedule_time", options)
        due = call_times.due_moment(schedule_time, timezone, datetime.now(UTC))
        return _call(
            "schedule_call",
            calls.ScheduleCall,
            queue,
            {**options, "due_at": due.utc},
            to_number=to_number,
            from_number=from_number,
            webhook_url=webhook_url,
            status_callback_url=status_callback_url,
            call_metadata=call_metadata,
            schedule_time=schedule_time,
            timezone=timezone,
        )

    def retry_failed_call(
        self,
        original_task_id: str,
        to_number: str,
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        retry_delay: float = 300,
        queue: str = "twilio_calls",
        **options: Unpack[OptionsBesideTime],
    ) -> str:
        """Make a phone call again that was not answered or could not be made.

        When it is due, the task fails where the original, or another repetition of it, is live, in doubt or done. Where
        nobody knows the original the call is made, and the result's `original_found` is false.

        Args:
            original_task_id: the id of the call's task, or of a campaign's member.
            to_number: the same number.
            from_number: which of our numbers calls; left out, TWILIO_PHONE_NUMBER.
            webhook_url: where the provider asks what is said; left out, this service.
            status_callback_url: where it tells each step; left out, this service.
            call_metadata: as in `queue_outbound_call`.
            retry_delay: seconds until the call.
            queue: overrides the route.
            options: as every submit takes them.
        """
        arguments = {
            "to_number": to_number,
            "from_number": from_number,
            "webhook_url": webhook_url,
            "status_callback_url": status_callback_url,
            "call_metadata": call_metadata,
            "original_task_id": _task_id(original_task_id, "original_task_id"),
            "retry_delay": retry_delay,
        }
        refuse_unknown("CeleryService.retry_failed_call", options)
        _refuse_times("retry_delay", options)
        timed: dict[str, Any] = {**options, "delay_seconds": retry_delay}
        _options("retry_failed_call", cast("SubmitOptions", timed))
        given = {name: value for name, value in arguments.items() if value is not None}
        request = _checked(calls.RetryFailedCall, **given)
        call_retries.check_number(request)
        request = call_retries.inherited(request)
        chosen = _options("retry_failed_call", _prioritised(request, timed))
        return _send("twilio_calls.retry_failed_call", call_retries.arguments_of(request), queue, chosen)

    def queue_bulk_calls(  # noqa: PLR0913 - the interface's own parameters
        self,
        phone_numbers: Sequence[str],
        from_number: str | None = None,
        webhook_url: str | None = None,
        status_callback_url: str | None = None,
        call_metadata: Mapping[str, Any] | None = None,
        delay_between_calls: float = 5,
        max_concurrent_calls: int = 10,
        queue: str = "twilio_calls",
        *,
        retry: Mapping[str, Any] | None = None,
        calling_hours: Mapping[str, Any] | None = None,
        detection: str = "ignore",
        ring_seconds: int = 30,
        limit_seconds: int = 3_600,
        record: bool = False,
        caller_identity: str | None = None,
        opt_out_prompt: str | None = None,
        max_minutes: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Call many numbers: a campaign.

        Args:
            phone_numbers: at most 1 000 000; a bad one, or one that comes again, is that item's outcome.
            from_number: which of our numbers calls; left out, TWILIO_PHONE_NUMBER.
            webhook_url: where the provider asks what is said; left out, this service.
            status_callback_url: where it tells each step; left out, this service.
            call_metadata: as in `queue_outbound_call`, the same for all.
            delay_between_calls: the least seconds between two calls.
            max_concurrent_calls: how many go on at any moment.
            queue: where its steps wait.
            retry: `{"max_attempts": 3, "busy_seconds": 600, "no_answer_seconds": 3600, "failed_seconds": 600,
                "machine": "retry"}`; left out, nobody is called again.
            calling_hours: as in `queue_outbound_call`; left out, CALL_HOURS.
            detection: as in `queue_outbound_call`.
            ring_seconds: how long it rings.
            limit_seconds: how long a call lasts at most.
            record: whether calls are recorded.
            caller_identity: said first: who calls; left out, CALL_CALLER_IDENTITY.
            opt_out_prompt: said, and who presses 9 is called no more; left out, CALL_OPT_OUT_PROMPT.
            max_minutes: minutes, begun ones counted whole, after which the campaign pauses itself.
            options: see `SubmitOptions`.

        Returns:
            The id of the campaign, which `get_campaign`, `pause_campaign` and their like take.
        """
        figures = {
            "from_number": from_number,
            "webhook_url": webhook_url,
            "status_callback_url": status_callback_url,
            "call_metadata": call_metadata,
            "delay_between_calls": delay_between_calls,
            "max_concurrent_calls": max_concurrent_calls,
            "retry": retry,
            "calling_hours": calling_hours,
            "detection": detection,
            "ring_seconds": ring_seconds,
            "limit_seconds": limit_seconds,
            "record": record,
            "caller_identity": caller_identity,
            "opt_out_prompt": opt_out_prompt,
            "max_minutes": max_minutes,
        }
        given = {name: value for name, value in figures.items() if value is not None}
        request = _checked(call_campaigns.QueueBulkCalls, **given)
        check_size("queue_bulk_calls", request.model_dump(mode="json"))
        chosen = _options("queue_bulk_calls", _prioritised(request, options))
        return campaigns.submit_campaign(phone_numbers, request, _queue(queue), chosen)

    def pause_campaign(self, campaign_id: str) -> bool:
        """Let nobody else be called; calls that are going on go on. False where it was paused before, or has ended."""
        return steering.pause_task(campaigns.campaign_record(_task_id(campaign_id, "campaign_id")).id)

    def resume_campaign(self, campaign_id: str) -> bool:
        """Let a paused campaign go on; False where it was not paused, or has ended."""
        campaigns.let_through(_task_id(campaign_id, "campaign_id"))
        return steering.resume_task(campaign_id)

    def cancel_campaign(self, campaign_id: str, *, hang_up: bool = False) -> bool:
        """Call nobody any more, and end what rings or waits at the provider.

        Args:
            campaign_id: which.
            hang_up: end the calls that somebody has answered, too.

        Returns:
            False where it had ended.
        """
        return campaigns.cancel_campaign(_task_id(campaign_id, "campaign_id"), hang_up=hang_up)

    def get_campaign(
        self, campaign_id: str, after: int = -1, limit: int = 100, *, state: str | None = None
    ) -> dict[str, Any]:
        """Return how a campaign stands: `status`, `info`, `total`, `counts` by state, `live_calls`, some `members`.

        Args:
            campaign_id: which.
            after: the `position` of the last member of the page before.
            limit: members at most, up to 1 000.
            state: members in this state alone, such as `pending`, `done` or `failed`.
        """
        page = _checked(call_questions.MemberPage, after=after, limit=limit, state=state)
        return campaigns.get_campaign(_task_id(campaign_id, "campaign_id"), page.after, page.limit, page.state)

    def export_campaign(self, campaign_id: str) -> str:
        """Return a campaign's members as CSV, with a line of names first; whole numbers are in it."""
        return campaigns.export_campaign(_task_id(campaign_id, "campaign_id"))

    def add_opt_out(self, phone_number: str, reason: str = "") -> bool:
        """Call a number no more, from now on, what waits for it in any campaign included; False where that was so."""
        asked = _checked(call_questions.OptOutOf, phone_number=phone_number, reason=reason)
        return parts().opt_outs.add(asked.phone_number, "manual", asked.reason)

    def remove_opt_out(self, phone_number: str) -> bool:
        """Let a number be called again; False where it was not kept back."""
        return parts().opt_outs.remove(_checked(call_questions.OptOutOf, phone_number=phone_number).phone_number)

    def get_opt_outs(self, limit: int = 100, after: str | None = None) -> list[dict[str, Any]]:
        """List the numbers that are not called any more, in their order, each one whole.

        Args:
            limit: at most so many, up to 1 000.
            after: the `phone_number` of the last one of the page before.

        Returns:
            `phone_number`, `source` (`manual`, or `keypress` of who pressed 9), `reason`, `created_at`.
        """
        page = _checked(call_questions.ListOptOuts, limit=limit, after=after)
        return [
            {
                "phone_number": one.to_number,
                "source": one.source,
                "reason": one.text,
                "created_at": one.created_at.isoformat(),
            }
            for one in parts().opt_outs.listed(page.limit, page.after)
        ]

    def end_call(self, call_sid: str, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]) -> str:
        """End a call, also one that rings; one that is over is no error.

        Args:
            call_sid: the provider's id of the call.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit("twilio_calls.end_call", call_questions.EndCall, queue, options, call_sid=call_sid)

    def get_call_status(self, call_sid: str, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]) -> str:
        """Ask how a call stands; the result's `call_info` is `{}` where nobody knows it.

        Args:
            call_sid: the provider's id of the call.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit("twilio_calls.get_call_status", call_questions.GetCallStatus, queue, options, call_sid=call_sid)

    def cleanup_stale_calls(
        self, max_age_hours: float = 24, queue: str = "twilio_calls", **options: Unpack[SubmitOptions]
    ) -> str:
        """Ask the provider about calls older than so many hours that are not known to have ended; none is deleted.

        Args:
            max_age_hours: of the calls that are asked about.
            queue: overrides the route.
            options: as every submit takes them.
        """
        name, model = "twilio_calls.cleanup_stale_calls", call_questions.CleanupStaleCalls
        return _submit(name, model, queue, options, max_age_hours=max_age_hours)

    # --- Files --------------------------------------------------------------------------------------------------

    def process_file(
        self,
        file_path: str,
        file_type: str | None = None,
        processing_options: dict[str, Any] | None = None,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Process a file as what it is; of an archive, every member.

        Args:
            file_path: a path on the worker's machine, or an address.
            file_type: `document`, `image`, `audio`, `video` or `archive`; left out, the content tells it.
            processing_options: the options of the method for that type. Where `file_type` is left out or `archive`,
                they may be options of any method, and each is given its own. An archive has `process_members` (false:
                its members are listed and checked, no more) and `password`, which its members get too.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.process_file",
            files.ProcessFile,
            queue,
            options,
            file_path=file_path,
            file_type=file_type,
            processing_options=processing_options,
        )

    def process_document(
        self,
        file_path: str,
        extract_text: bool = True,
        generate_summary: bool = True,
        extract_metadata: bool = True,
        ocr_enabled: bool = True,
        queue: str = "file_processing",
        *,
        password: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a document: text page by page, metadata, language, summary; pages without text through OCR.

        Args:
            file_path: a path on the worker's machine, or an address.
            extract_text: return the text, by pages, with tables and outline.
            generate_summary: return a few sentences that say what it is about.
            extract_metadata: return title, author, dates and the like.
            ocr_enabled: read pages without text as pictures.
            queue: overrides the route.
            password: opens an encrypted document; it is never shown.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.process_document",
            documents.ProcessDocument,
            queue,
            options,
            file_path=file_path,
            extract_text=extract_text,
            generate_summary=generate_summary,
            extract_metadata=extract_metadata,
            ocr_enabled=ocr_enabled,
            password=password,
        )

    def process_video(
        self,
        file_path: str,
        extract_frames: bool = True,
        process_audio: bool = True,
        detect_scenes: bool = True,
        generate_thumbnail: bool = True,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Process a film: streams, scenes, frames, a thumbnail with a preview, and the sound.

        Args:
            file_path: a path on the worker's machine, or an address.
            extract_frames: keep pictures of it.
            process_audio: do with its sound what `process_audio` does.
            detect_scenes: tell where it cuts.
            generate_thumbnail: keep one picture that stands for it.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.process_video",
            video.ProcessVideo,
            queue,
            options,
            file_path=file_path,
            extract_frames=extract_frames,
            process_audio=process_audio,
            detect_scenes=detect_scenes,
            generate_thumbnail=generate_thumbnail,
        )

    def process_image(
        self,
        file_path: str,
        extract_text: bool = True,
        detect_objects: bool = True,
        face_recognition: bool = False,
        generate_tags: bool = True,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a picture: EXIF, hashes, colours, thumbnails, text, objects and tags; faces only where asked for.

        Args:
            file_path: a path on the worker's machine, or an address.
            extract_text: read what is written in it.
            detect_objects: name what is in it, with boxes.
            face_recognition: find faces, and who is enrolled among them.
            generate_tags: return words for it.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.process_image",
            images.ProcessImage,
            queue,
            options,
            file_path=file_path,
            extract_text=extract_text,
            detect_objects=detect_objects,
            face_recognition=face_recognition,
            generate_tags=generate_tags,
        )

    def enroll_person(
        self,
        name: str,
        file_path: str,
        consent: str,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Know a person again in pictures: from one with exactly one face, whose encoding is stored and nothing else.

        The same name again adds an encoding, up to 20. `consent` says who agreed, when and how; the newest is kept.

        Args:
            name: the person's.
            file_path: a picture with exactly one face: a path on the worker's machine, or an address.
            consent: who agreed, when and how.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.enroll_person",
            people.EnrollPerson,
            queue,
            options,
            name=name,
            file_path=file_path,
            consent=consent,
        )

    def forget_person(self, name: str) -> bool:
        """Remove a person's encodings and consent, at once; False where nobody has this name."""
        return parts().people.forget(_checked(people.ForgetPerson, name=name).name)

    def list_people(self) -> list[dict[str, Any]]:
        """List who is enrolled, by name: `name`, `consent`, `consent_at`, `encodings` (how many), `created_at`."""
        return [
            {
                "name": one.name,
                "consent": one.consent,
                "consent_at": one.consent_at.isoformat(),
                "encodings": one.encodings,
                "created_at": one.created_at.isoformat(),
            }
            for one in parts().people.listed()
        ]

    def process_audio(
        self,
        file_path: str,
        transcribe: bool = True,
        detect_speakers: bool = True,
        extract_features: bool = True,
        language: str | None = None,
        queue: str = "file_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Read a sound: what is said and by whom, loudness, silence, tempo, spectrum; no `language`: detected.

        Args:
            file_path: a path on the worker's machine, or an address.
            transcribe: write down what is said.
            detect_speakers: tell who speaks when.
            extract_features: measure loudness, silence, tempo and spectrum.
            language: a code such as `en`; left out, it is detected.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "file_processing.process_audio",
            audio.ProcessAudio,
            queue,
            options,
            file_path=file_path,
            transcribe=transcribe,
            detect_speakers=detect_speakers,
            extract_features=extract_features,
            language=language,
        )

    def get_artefact(self, uri: str) -> bytes:
        """Return the bytes of a file that a task made, by the `uri` that the task's result names.

        Raises:
            PermanentError: there are none: they were removed with their task, or are damaged.
            TransientError: the bucket that keeps them does not answer now.
        """
        return parts().storage.get(_checked(file_results.ReadArtefact, uri=uri).uri)

    # --- AI -----------------------------------------------------------------------------------------------------

    def process_ai_request(
        self,
        request_type: str,
        input_data: dict[str, Any],
        model_config: dict[str, Any] | None = None,
        queue: str = "ai_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Do what one of the other AI methods does.

        Args:
            request_type: `embedding`, `chat`, `sentiment` or `extract_text`.
            input_data: that method's arguments.
            model_config: more of them, those that shape how a model works, such as `model`, `temperature` or
                `max_output_tokens`; where it is asked, and with which key, is the settings' alone.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "ai_processing.process_ai_request",
            ai_requests.ProcessAiRequest,
            queue,
            options,
            request_type=request_type,
            input_data=input_data,
            model_config=model_config,
        )

    def generate_embedding(
        self,
        text: str,
        model: str = DEFAULT_EMBEDDING_MODEL,
        queue: str = "ai_processing",
        *,
        dimensions: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Turn a text into a vector; a long one is cut, and its vector is the mean of its pieces'.

        Args:
            text: which.
            model: its name or alias; OPENAI_EMBEDDING_MODEL or OPENAI_MODEL replace the default.
            queue: overrides the route.
            dimensions: of the vector, for models that can be cut.
            options: as every submit takes them.
        """
        return _submit(
            "ai_processing.generate_embedding",
            ai_requests.GenerateEmbedding,
            queue,
            options,
            text=text,
            model=_given(model),
            dimensions=dimensions,
        )

    def generate_embeddings(
        self,
        texts: Sequence[str],
        model: str = DEFAULT_EMBEDDING_MODEL,
        queue: str = "ai_processing",
        *,
        dimensions: int | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Turn many texts into vectors, in as few requests as the provider takes; `get_vectors` reads them.

        Args:
            texts: at most 1 000 000, of 256 MB in all; a long one is cut, and its vector is the mean of its pieces'.
            model: its name or alias; OPENAI_EMBEDDING_MODEL or OPENAI_MODEL replace the default.
            queue: overrides the route.
            dimensions: of each vector, for models that can be cut.
            options: as every submit takes them.
        """
        chosen = _options("generate_embeddings", options)
        request = _checked(ai_requests.GenerateEmbeddings, model=_given(model), dimensions=dimensions)
        return bulk.submit_bulk_embeddings(texts, request, _queue(queue), chosen)

    def get_vectors(self, task_id: str) -> Iterator[tuple[int, Any]]:
        """Return the vectors that `generate_embeddings` or `generate_embedding` made; they are read as they are taken.

        Args:
            task_id: of a task that has succeeded.

        Returns:
            Pairs: the text's position in the list (0 for a single text), and its vector as a numpy array of float32.
            Texts that were refused are left out.

        Raises:
            InvalidArgument: it is another method's task.
            TaskTimeout: it has not ended yet.
            TaskFailed: it failed.
            TaskCancelled: it was cancelled, or expired.
            UnknownTask: no task has this id.
            PermanentError: while they are read: the vectors were removed with their task, or are damaged.
        """
        result = self.get_task_result(task_id, timeout=0)
        return import_module("processors.bulk_embeddings").vectors_in(result, parts().storage)

    def process_chat(
        self,
        message: str,
        context: list[dict[str, str]] | None = None,
        model: str = DEFAULT_CHAT_MODEL,
        queue: str = "ai_processing",
        *,
        data: list[str] | None = None,
        response_schema: dict[str, Any] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Answer a message; the text so far is `partial_text` in the status's `info` while it comes.

        Args:
            message: what is asked now.
            context: the conversation so far, the oldest first: `role` (system, developer, user, assistant), `content`.
            model: its name or alias; OPENAI_MODEL replaces the default.
            queue: overrides the route.
            data: texts that the answer is about, such as those of files; what they ask for is not followed.
            response_schema: a JSON schema (draft 2020-12) that the answer must fulfil; `output` of the result has it.
            options: as every submit takes them.
        """
        return _submit(
            "ai_processing.process_chat",
            ai_requests.ProcessChat,
            queue,
            options,
            message=message,
            context=context,
            model=_given(model),
            data=data,
            response_schema=response_schema,
        )

    def analyze_sentiment(
        self,
        text: str,
        detailed: bool = True,
        queue: str = "ai_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Tell how an English text sounds: positive, negative, neutral or mixed; `detailed`: each sentence too.

        Args:
            text: which.
            detailed: tell of each sentence, of emotions and of what is spoken about, too.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "ai_processing.analyze_sentiment", sentiment.AnalyzeSentiment, queue, options, text=text, detailed=detailed
        )

    def extract_text(
        self,
        content: str,
        content_type: str = "text",
        language: str = "en",
        queue: str = "ai_processing",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Extract the text of a content, with its language, entities, keywords and summary.

        Args:
            content: the text; or a file of any kind, in base64.
            content_type: `text`, `html` or `markdown` say that `content` is that; `base64`, or the MIME type or kind of
                a file such as `application/pdf` or `docx`, that it is a file.
            language: what it is written in, where it does not tell that itself.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "ai_processing.extract_text",
            texts.ExtractText,
            queue,
            options,
            content=content,
            content_type=content_type,
            language=language,
        )

    def get_ai_usage(
        self, days: int = 1, by: Sequence[str] = ("day", "provider", "model"), task_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Return what AI calls took: `calls`, tokens and `cost`, a line for each of the parts in `by` and `currency`.

        Args:
            days: of UTC, today among them.
            by: of `day`, `provider`, `model`, `kind`, `tenant`.
            task_id: of this task alone and of its parts, by provider, model and kind.

        Returns:
            The parts, `calls`, tokens, and `cost`, in which a model without a price counts as 0; `estimated` is the
            share of the calls (0 to 1) whose tokens or cost nobody counted.
        """
        wanted = _checked(ai_usage.ReadUsage, days=days, by=by)
        calls = parts().ai_calls
        if task_id is not None:
            return [usage_of(line, ai_usage.OF_TASK) for line in calls.of_task(_task_id(task_id))]
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since, until = midnight - timedelta(days=wanted.days - 1), midnight + timedelta(days=1)
        return [usage_of(line, wanted.by) for line in calls.usage(since, until, wanted.by)]

    # --- Monitoring ---------------------------------------------------------------------------------------------

    def health_check(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Check database, broker, disk and workers.

        Args:
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit("monitoring.health_check", Request, queue, options)

    def get_system_stats(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Measure the worker's machine: processor, memory, disk, load.

        Args:
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit("monitoring.get_system_stats", Request, queue, options)

    def get_queue_stats(self, queue: str = "default", **options: Unpack[SubmitOptions]) -> str:
        """Count what waits and runs in each queue.

        Args:
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit("monitoring.get_queue_stats", Request, queue, options)

    def get_worker_stats(self) -> dict[str, Any]:
        """Ask the workers, at once: `active`, `registered`, `stats`, `revoked`, each by worker name."""
        return steering.worker_stats()

    # --- Clean-up -----------------------------------------------------------------------------------------------

    def cleanup_old_tasks(
        self, max_age_hours: float = 24, queue: str = "default", **options: Unpack[SubmitOptions]
    ) -> str:
        """Remove the records of tasks that ended more than `max_age_hours` ago, with their artefacts.

        Args:
            max_age_hours: since they ended.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "cleanup.cleanup_old_tasks", cleanup.CleanupOldTasks, queue, options, max_age_hours=max_age_hours
        )

    def cleanup_old_files(
        self,
        directory: str,
        max_age_hours: float = 168,
        dry_run: bool = False,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Remove files older than `max_age_hours` below a directory that lies under CLEANUP_ROOTS.

        Args:
            directory: on the worker's machine.
            max_age_hours: since they were changed.
            dry_run: remove nothing; the result lists exactly what would go.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "cleanup.cleanup_old_files",
            cleanup.CleanupOldFiles,
            queue,
            options,
            directory=directory,
            max_age_hours=max_age_hours,
            dry_run=dry_run,
        )

    def cleanup_old_logs(
        self,
        log_directory: str = "logs",
        max_age_hours: float = 168,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Remove logs older than `max_age_hours`; `logs` means LOG_DIR.

        Args:
            log_directory: on the worker's machine.
            max_age_hours: since they were changed.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "cleanup.cleanup_old_logs",
            cleanup.CleanupOldLogs,
            queue,
            options,
            log_directory=log_directory,
            max_age_hours=max_age_hours,
        )

    # --- Scheduling ---------------------------------------------------------------------------------------------

    def process_pending_tasks(
        self,
        max_tasks: int = 100,
        task_types: list[str] | None = None,
        queue: str = "default",
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Publish what is due and was not published, and what a broker has lost.

        Args:
            max_tasks: at most so many.
            task_types: of these categories alone.
            queue: overrides the route.
            options: as every submit takes them.
        """
        return _submit(
            "scheduling.process_pending_tasks",
            ProcessPendingTasks,
            queue,
            options,
            max_tasks=max_tasks,
            task_types=task_types,
        )

    def retry_failed_tasks(
        self,
        max_retries: int = 3,
        max_age_hours: float = 24,
        task_types: list[str] | None = None,
        queue: str = "default",
        *,
        error_type: str | None = None,
        search: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> str:
        """Submit tasks that failed within `max_age_hours` again, as new tasks.

        `error_type` and `search` (a text in their name, error or arguments) choose among them.

        Args:
            max_retries: how often a task may have been retried by hand before.
            max_age_hours: since they failed.
            task_types: of these categories alone.
            queue: overrides the route.
            error_type: of those alone that failed with this error.
            search: of those alone that have this text in their name, error or arguments.
            options: as every submit takes them.
        """
        return _submit(
            "scheduling.retry_failed_tasks",
            RetryFailedTasks,
            queue,
            options,
            max_retries=max_retries,
            max_age_hours=max_age_hours,
            task_types=task_types,
            error_type=error_type,
            search=search,
        )

    def get_failed_tasks(
        self,
        task_types: list[str] | None = None,
        max_age_hours: float = 24,
        error_type: str | None = None,
        search: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[dict[str, Any]]:
        """List the tasks that failed within `max_age_hours`, quarantined ones too, the newest failure first.

        Each is told whole: its status, arguments (secrets masked), `fingerprint`, `runs`, `incidents` (how workers died
        of it), and what it retries and is retried as.

        Args:
            task_types: of these categories alone.
            max_age_hours: hours since they failed, at most.
            error_type: of those alone that failed with this error.
            search: of those alone that have this text in their name, error or arguments.
            limit: at most so many, up to 1 000; fewer come where they have more than 16 MiB: go on until none comes.
            after: the id of the last one of the page before.

        Raises:
            InvalidArgument: a filter is not acceptable, or the task `after` has not failed.
            UnknownTask: no task has the id `after`.
        """
        wanted = _checked(
            ListFailedTasks,
            task_types=task_types,
            max_age_hours=max_age_hours,
            error_type=error_type,
            search=search,
            limit=limit,
        )
        return retrying.failed_tasks(wanted, None if after is None else _task_id(after))

    def replay_task(self, task_id: str, arguments: Mapping[str, Any] | None = None) -> str:
        """Submit one failed task again, at once, with other arguments where they are given; a quarantined one too.

        Whoever does so again gets the same new task: a double click runs it once.

        Args:
            task_id: the failed task, a notification that ended `partial`, or a replay that was cancelled. Of a
                notification only the channels that did not deliver are tried.
            arguments: by name, what stands in place of its own arguments, positional ones too; the others stay. What is
                given as it is shown, masked, stays what it is.

        Returns:
            The id of the new task.

        Raises:
            InvalidArgument: it has not failed, is part of a workflow or in doubt, does not take these arguments, or was
                replayed with others.
            UnknownTask: no task has this id.
        """
        return retrying.replay(_task_id(task_id), _arguments(arguments))

    # --- Effects ------------------------------------------------------------------------------------------------

    def get_effects_in_doubt(self) -> list[dict[str, Any]]:
        """List the effects and mails of which it is not known whether they happened.

        Each has `key`, `kind` (`effect` or `mail`), `task_id`, `name` (the task's), `state`, `intended_at` and `error`.
        `intended`: its task will look again by itself; `unknown`: it waits for `settle_effect`.
        """
        return effects.effects_in_doubt()

    def settle_effect(self, key: str, outcome: Any = effects.NOT_GIVEN, *, absent: bool = False) -> None:
        """Say what became of an effect in doubt, after a look at the other side.

        Args:
            key: as `get_effects_in_doubt` tells it.
            outcome: it happened, and this (a JSON value) is what `effect` returns from now on.
            absent: it did not happen: a retry of its task may do it. Give this or `outcome`.
        """
        effects.settle(key, outcome, absent=absent)

    # --- Your own tasks -----------------------------------------------------------------------------------------

    def submit(
        self, name: str, /, arguments: Mapping[str, Any] | None = None, *, queue: str | None = None, **kwargs: Any
    ) -> str:
        """Submit a task by its name: one of TASK_MODULES, or one of the service's.

        Args:
            name: the task's name.
            arguments: its arguments by name; needed only where one has the name of an option.
            queue: overrides the route.
            kwargs: its arguments, where `arguments` is not given, and options as every submit takes them.
        """
        task = registered_task(name)
        given = {option: kwargs.pop(option) for option in SubmitOptions.__optional_keys__ if option in kwargs}
        if arguments is None:
            _refuse_doubtful(name, task, given if queue is None else {"queue": queue, **given})
        elif kwargs or not isinstance(arguments, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - a caller's
            raise InvalidArgument(
                f"arguments: must be a dict of all the task's arguments; got {type(arguments).__name__} and beside it "
                f"{', '.join(sorted(kwargs)) or 'nothing'}."
            )
        checked = checked_arguments(task, kwargs if arguments is None else arguments)
        options = Options.of(**cast("SubmitOptions", given))
        return _send(name, checked, queue_of(task) if queue is None else queue, options)

    def submit_many(
        self,
        name: str,
        /,
        many: Sequence[Mapping[str, Any]],
        *,
        queue: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> list[str]:
        """Submit many tasks of one name at once: all of them are recorded, or none.

        Args:
            name: the task's name.
            many: the arguments of each by name, of 1 to 10 000 tasks; 32 MB as JSON, all together.
            queue: overrides the route.
            options: as every submit takes them, for all of them; the same idempotency key with the same name and the
                same `many` gives the same ids.

        Returns:
            The tasks' ids, in their order.
        """
        task = registered_task(name)
        chosen = _options("submit_many", options)
        where = _queue(queue_of(task) if queue is None else queue)
        ids = ids_from(uuid(), _count(many))
        return submit_many(_drafts(task, many, where, chosen, ids), chosen.session)

    def get_group(self, group_id: str) -> dict[str, Any]:
        """Tell how far a group or the header of a chord is, at once.

        Returns:
            `group_id`, `total`, `done`, `failed` (of those done), `progress` (0 to 100), `members` (the first 1 000:
            `task_id`, `name`, `status`), and `body` (the same of a chord's body, None where there is none; where
            that is a group, `status` is that of all its tasks).

        Raises:
            UnknownGroup: no group has this id.
        """
        return group_of(_task_id(group_id, "group_id"))

    # --- Limits -------------------------------------------------------------------------------------------------

    def set_limit(self, scope: str, rate: str | None = None, concurrency: int | str | None = None) -> dict[str, Any]:
        """Limit starts over all workers, from the next one on, and return what is in force then.

        Args:
            scope: `queue:email`, `category:email`, `task:email.send_email`, `tenant:acme`, or a key that a task names
                by its `limited_by`, such as `provider:openai`; `tenant:*` and `provider:*` limit each by itself.
            rate: starts per second, minute or hour, such as `50/m`, or `none`; None leaves it as it is.
            concurrency: how many may run at once, or `none`; None leaves it as it is.
        """
        return limiting.set_limit(scope, rate, concurrency, check_limited)

    def get_limits(self) -> list[dict[str, Any]]:
        """List the limits in force, by settings or set at run time, with what started, runs and waits under each."""
        return limiting.get_limits()

    def clear_limit(self, scope: str) -> dict[str, Any]:
        """Forget what was set for a scope, and return what is in force then: its default."""
        return limiting.clear_limit(scope)

    def pause_queue(self, queue: str) -> bool:
        """Let nothing of a queue start until it is resumed; what runs goes on. False where it was paused before."""
        return parts().limits.pause(_queue(queue))

    def resume_queue(self, queue: str) -> bool:
        """Let a paused queue's tasks start again; False where it was not paused."""
        return parts().limits.resume(_queue(queue))

    def drain(self, queue: str) -> int:
        """Pause a queue, and return how many of its tasks still run; called again until that is 0, it tells the end."""
        return limiting.drain(_queue(queue))

    # --- Schedules ----------------------------------------------------------------------------------------------

    def add_schedule(  # noqa: PLR0913 - the interface's own parameters
        self,
        name: str,
        task: str,
        *,
        crontab: str | None = None,
        every: float | None = None,
        timezone: str = "UTC",
        kwargs: Mapping[str, Any] | None = None,
        args: Sequence[Any] | None = None,
        queue: str | None = None,
        priority: str = "normal",
        catch_up: str = "latest",
        tenant: str | None = None,
    ) -> dict[str, Any]:
        """Run a task again and again, from now on; returns the schedule as `list_schedules` tells it.

        Args:
            name: what it is called, up to 200 characters.
            task: the name of the task, such as `cleanup.cleanup_old_files`.
            crontab: five fields: minute, hour, day of month, month, day of week; or
            every: seconds, 1 or more.
            timezone: the IANA name of the crontab's zone.
            kwargs: the task's keyword arguments, JSON values.
            args: its positional arguments.
            queue: where its tasks wait; by default the task's own.
            priority: `low`, `normal` or `high`.
            catch_up: of the fire times that passed while no leader ran, `latest` runs the last one, `all` each, `none`
                those that are at most a minute late.
            tenant: whose tasks they are.
        """
        return scheduling.add(
            name=name,
            task=task,
            crontab=crontab,
            every=every,
            timezone=timezone,
            kwargs=kwargs,
            args=args,
            queue=queue,
            priority=priority,
            catch_up=catch_up,
            tenant=tenant,
        )

    def change_schedule(self, name: str, **changes: Unpack[ScheduleChanges]) -> dict[str, Any]:
        """Change a schedule, by the keywords of `add_schedule`; it goes on from now on, and misses nothing anew.

        Raises:
            UnknownSchedule: there is none of this name.
        """
        for keyword in changes:
            if keyword not in ScheduleChanges.__annotations__:
                raise TypeError(f"CeleryService.change_schedule() got an unexpected keyword argument {keyword!r}")
        return scheduling.change(name, changes)

    def pause_schedule(self, name: str) -> dict[str, Any]:
        """Fire a schedule no more until it is resumed; returns it.

        Raises:
            UnknownSchedule: there is none of this name.
        """
        return scheduling.pause(name)

    def resume_schedule(self, name: str) -> dict[str, Any]:
        """Let a paused schedule go on with its next fire time after now; returns it.

        Raises:
            UnknownSchedule: there is none of this name.
        """
        return scheduling.resume(name)

    def remove_schedule(self, name: str) -> None:
        """Remove a schedule; its tasks that wait or run stay.

        Raises:
            UnknownSchedule: there is none of this name.
        """
        scheduling.remove(name)

    def run_schedule_now(self, name: str, idempotency_key: str | None = None) -> str:
        """Submit the task of a schedule at once, beside its fire times, paused or not; returns the task's id.

        Args:
            name: the schedule.
            idempotency_key: the same key gives the same task, as long as that one's record is there.

        Raises:
            UnknownSchedule: there is none of this name.
        """
        return scheduling.run_now(name, idempotency_key)

    def list_schedules(self) -> list[dict[str, Any]]:
        """List the schedules, by name; one that is paused has no `next_at`."""
        return scheduling.listed()

    # --- Tasks --------------------------------------------------------------------------------------------------

    def get_task_status(self, task_id: str) -> dict[str, Any]:
        """Tell where a task stands, at once; an id that was never submitted has the status `UNKNOWN`."""
        record = _record(_task_id(task_id))
        return status_of(record) if record else unknown_status(task_id)

    def get_task_result(self, task_id: str, timeout: float = 30) -> Any:
        """Return a task's result, waiting for it at most `timeout` seconds; 0 looks once.

        Raises:
            TaskTimeout: there is none yet.
            TaskFailed: the task failed.
            TaskCancelled: it was cancelled, or expired.
            UnknownTask: no task has this id.
        """
        began, limit = time.monotonic(), _timeout(timeout)
        record = _ended(_task_id(task_id))
        if record is None and _is_final(task_id) is None:
            raise unknown_task(task_id)
        while record is None and (waited := time.monotonic() - began) < limit:
            time.sleep(min(poll_pause(waited), limit - waited))
            record = _ended(task_id)
        record = record or _record(task_id)
        if record is None:
            raise unknown_task(task_id)
        if not record.final:
            raise TaskTimeout(f"Task {task_id} has no result after {timeout} s; it is {record.state} and goes on.")
        return _result(record)

    def get_task_logs(
        self, task_id: str, search: str | None = None, level: str | None = None, limit: int = 1000
    ) -> list[dict[str, Any]]:
        """Return the last lines that a task logged, in their order: `at`, `level`, `logger`, `text`, `run`.

        Args:
            task_id: whose.
            search: of those alone that have this text.
            level: of this level alone or a higher one, such as `WARNING`.
            limit: at most so many, up to 20 000.

        Raises:
            UnknownTask: no task has this id.
        """
        wanted = _checked(logs.ReadLogs, search=search, level=level, limit=limit)
        lines = parts().task_logs.of(_task_id(task_id), wanted.limit, wanted.search, wanted.levels())
        if not lines and parts().tasks.is_final(task_id) is None:
            raise unknown_task(task_id)
        return [line_of(line) for line in lines]

    def search_task_logs(self, search: str, max_age_hours: float = 24, limit: int = 100) -> list[dict[str, Any]]:
        """Find lines that any task logged within `max_age_hours` and that have this text, the newest first."""
        wanted = _checked(logs.SearchLogs, search=search, max_age_hours=max_age_hours, limit=limit)
        lines = parts().task_logs.search(wanted.search, wanted.max_age_hours, wanted.limit)
        return [{"task_id": line.task_id, **line_of(line)} for line in lines]

    def cancel_task(self, task_id: str) -> bool:
        """Cancel a task, for good; True only where something was still to be done and now will not be."""
        return steering.cancel(_task_id(task_id))

    def pause_task(self, task_id: str) -> bool:
        """Pause a parent, such as a bulk: none of its parts starts, and a batch of mails ends after the one in hand.

        Returns:
            False where it was paused before, or has ended.

        Raises:
            InvalidArgument: the task has no parts.
            UnknownTask: no task has this id.
        """
        return steering.pause_task(_task_id(task_id))

    def resume_task(self, task_id: str) -> bool:
        """Let a paused parent go on; what is due later is as much later as the pause was long.

        Returns:
            False where it was not paused, or has ended.

        Raises:
            InvalidArgument: the task has no parts.
            UnknownTask: no task has this id.
        """
        return steering.resume_task(_task_id(task_id))

    def purge_queue(self, queue_name: str) -> int:
        """Empty one queue: its messages, and its records that wait for publishing, a limit or a retry.

        Returns:
            How many tasks were cancelled by it.
        """
        return steering.purge(_queue(queue_name))

    def get_active_tasks(self) -> list[dict[str, Any]]:
        """List what runs, is reserved or waits in a queue, the oldest first.

        They are 10 000 at most, and fewer where their arguments and results have more than 16 MiB.
        """
        return [active_task(record) for record in parts().tasks.active(10_000, MOST_BYTES)]

    def kill_all_tasks(self) -> dict[str, Any]:
        """Cancel all that runs and waits; schedules stay."""
        return steering.kill_all()


def poll_pause(waited: float) -> float:
    """Return the seconds until the next look for a result, after so many seconds of waiting."""
    return min(LONGEST_POLL_SECONDS, max(FIRST_POLL_SECONDS, waited * POLL_SHARE))


def _submit(name: str, model: type[Request], queue: str, options: SubmitOptions, /, **arguments: Any) -> str:
    chosen = _options(name.rpartition(".")[2], options)
    return _send(name, _checked(model, **arguments).model_dump(mode="json"), queue, chosen)


def _send(name: str, arguments: Mapping[str, Any], queue: str, options: Options, task_id: str | None = None) -> str:
    check_size(name, arguments)
    return submit_by_name(name, arguments, queue=_queue(queue), origin="facade", options=options, task_id=task_id)


def _count(many: Any) -> int:
    if isinstance(many, (str, bytes)) or not isinstance(many, Sequence):
        raise InvalidArgument(f"many: must be a list of dicts, the arguments of each task; got {type(many).__name__}.")
    count = len(cast("Sequence[Any]", many))
    if not 1 <= count <= MOST_AT_ONCE:
        raise InvalidArgument(f"many: must have the arguments of 1 to {MOST_AT_ONCE} tasks; got {count}.")
    return count


def _drafts(task: Any, many: Sequence[Any], queue: str, options: Options, ids: Sequence[str]) -> list[Draft]:
    """Return the drafts of many tasks; refused as soon as their arguments are too large together."""
    drafts, size = list[Draft](), 0
    for at, (given, task_id) in enumerate(zip(many, ids, strict=True)):
        drafts.append(_draft(task, at, given, queue, options, task_id))
        size += len(drafts[-1].kwargs_text or "")
        if size > MOST_BYTES_AT_ONCE:
            raise InvalidArgument(
                f"many: the arguments of the first {at + 1} tasks have {size} bytes, at most {MOST_BYTES_AT_ONCE} are "
                "accepted at once; submit them in several parts, or pass files by path."
            )
    return drafts


def _draft(task: Any, at: int, given: Any, queue: str, options: Options, task_id: str) -> Draft:
    """Return the draft of one of many tasks, checked as `submit` checks it; an error names its place."""
    if not isinstance(given, Mapping):
        raise InvalidArgument(f"many[{at}]: must be a dict of the task's arguments; got {type(given).__name__}.")
    try:
        arguments = checked_arguments(task, cast("Mapping[str, Any]", given))
        text = check_size(task.name, arguments)
        return draft_by_name(
            task.name, arguments, queue=queue, origin="facade", options=options, task_id=task_id, text=text
        )
    except InvalidArgument as error:
        raise InvalidArgument(f"many[{at}]{'.' if NAMED.match(str(error)) else ': '}{error}") from error


def _call(name: str, model: type[Request], queue: str, options: Mapping[str, Any], /, **arguments: Any) -> str:
    """Submit a single call; what is None is left to the model."""
    _options(name, cast("SubmitOptions", options))  # first, as every method does
    given = {key: value for key, value in arguments.items() if value is not None}
    request = _checked(model, **given)
    chosen = _options(name, _prioritised(request, options))
    return _send(f"twilio_calls.{name}", request.model_dump(mode="json"), queue, chosen)


def _refuse_times(own: str, options: Mapping[str, Any]) -> None:
    """Refuse the options that tell when a task is due, where a method has a word of its own for it."""
    for name in ("delay_seconds", "due_at"):
        if options.get(name) is not None:
            raise InvalidArgument(f"{name}: give {own}, which says when this call is made; got both, or {name} alone.")


def _prioritised(request: Any, options: Mapping[str, Any]) -> SubmitOptions:
    """Return options with the priority that a call's metadata names, where they name none themselves."""
    named = request.call_metadata.get("priority")
    usual = {} if named is None else {"priority": named}
    return cast("SubmitOptions", {**usual, **options})


def _given(model: Any) -> Any:
    """Return the model that a caller named; None for a method's own default, which settings may replace."""
    return None if isinstance(model, DefaultModel) else model


def _options(method: str, options: SubmitOptions) -> Options:
    """Check a method's options; what is none of them is refused as Python refuses it."""
    refuse_unknown(f"{CeleryService.__name__}.{method}", options)
    return Options.of(**options)


def _checked(model: type[Model], /, **arguments: Any) -> Model:
    """Build the request, or raise one sentence that names the argument, what was given and what is accepted."""
    try:
        return model.model_validate(arguments, context=CONTEXT)
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error


def _refuse_doubtful(name: str, task: Any, options: Mapping[str, Any]) -> None:
    """Refuse an option that may be meant as an argument of the task."""
    doubtful = [option for option in parameters_of(task) if option in options]
    if doubtful:
        raise InvalidArgument(
            f"{doubtful[0]}: is an option of submit and an argument of {name}; got {options[doubtful[0]]!r:.100}; "
            f"pass the task's arguments as submit({name!r}, arguments={{…}})."
        )


def _queue(queue: str) -> str:
    if queue not in QUEUES:
        raise UnknownQueue(f"queue: no queue is named {queue!r}; the queues are {', '.join(QUEUES)}.")
    return queue


def _task_id(task_id: Any, name: str = "task_id") -> str:
    if not is_task_id(task_id):
        raise InvalidArgument(f"{name}: must be the text that a submit returned, got {task_id!r:.100}.")
    return task_id


def _record(task_id: str) -> TaskRecord | None:
    """Return a task's record, or what a campaign tells of its member of this id."""
    record = parts().tasks.read(task_id)
    return campaign_members.member_record(task_id) if record is None and ":" in task_id else record


def _ended(task_id: str) -> TaskRecord | None:
    """Return the record of a task that has ended; None where it goes on, and where there is none."""
    record = parts().tasks.ended(task_id)
    if record is None and ":" in task_id:
        record = campaign_members.member_record(task_id)
    return record if record is not None and record.final else None


def _is_final(task_id: str) -> bool | None:
    """Tell whether a task has ended; None where there is none."""
    final = parts().tasks.is_final(task_id)
    if final is not None or ":" not in task_id:
        return final
    record = campaign_members.member_record(task_id)
    return None if record is None else record.final


def _arguments(arguments: object) -> Mapping[str, Any] | None:
    if arguments is None:
        return None
    if not isinstance(arguments, Mapping):
        raise InvalidArgument(f"arguments: must be a dict of keyword arguments, got {type(arguments).__name__}.")
    given = cast("Mapping[Any, Any]", arguments)
    if not all(isinstance(name, str) for name in given):
        raise InvalidArgument("arguments: must be a dict of keyword arguments by their names; got other keys.")
    return given


def _timeout(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout < 10**9:
        raise InvalidArgument(f"timeout: must be seconds, 0 or more; got {timeout!r}.")
    return float(timeout)


def _result(record: TaskRecord) -> Any:
    if record.state is TaskState.SUCCESS:
        return record.result
    if record.state is TaskState.REVOKED:
        raise TaskCancelled(f"Task {record.id} has no result: {why_revoked(record)['error']}")
    raise TaskFailed(
        record.error or "The task failed.", status_of(record)["info"], record.error_type or "", record.traceback
    )


celery_service = CeleryService()
