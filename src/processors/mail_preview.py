"""A look at a mail before it is sent: all of it is made, nothing of it leaves, and what is odd about it is said."""

import re
from collections.abc import Callable
from datetime import datetime
from email import policy
from email.parser import BytesHeaderParser
from typing import Any, Literal

from processors.addresses import Recipient, parse, sort_out
from processors.composition import Composer
from processors.email_delivery import unsubscribable
from processors.emails import Mail, SendEmail
from processors.envelopes import warning
from processors.interfaces import Report
from processors.messages import Message, message_id, text_part
from processors.results import Result

CLIPPED_BYTES = 102_000
"""Gmail shows so much of a page and hides the rest behind a link."""

MANY_RECIPIENTS = 50
BULK_HEADERS = re.compile(r"list-.*|precedence|feedback-id", re.IGNORECASE)
SHOWN_BY_CID = re.compile(r"""\bcid:([^\s"'<>)]+)""", re.IGNORECASE)


class PreviewHeader(Result):
    """One header field of a mail, as a reader sees it."""

    name: str
    value: str


class PreviewFile(Result):
    """A file in a mail; its size in bytes is None where it lies on another machine, which a preview does not ask."""

    name: str
    type: str
    size: int | None
    cid: str | None = None


class EmailPreview(Result):
    """What a mail would be.

    Attributes:
        headers: in their order, read back from the bytes.
        size: of the whole message in bytes, without the files whose size is not known.
        accepted: who would get it.
        invalid: who cannot, and why.
        warnings: what is odd about it, each with a `code` and a `message`.
    """

    status: Literal["preview"] = "preview"
    message_id: str
    subject: str
    text: str
    html: str | None
    headers: list[PreviewHeader]
    size: int
    attachments: list[PreviewFile]
    accepted: list[str]
    invalid: dict[str, str]
    warnings: list[dict[str, Any]]


def preview(
    request: SendEmail,
    composer: Composer,
    report: Report,
    *,
    mail_id: str,
    date: datetime,
    sender: str,
    unsubscribe_url: Callable[[str, str], str | None] = lambda _address, _list_name: None,
) -> EmailPreview:
    """Make a mail as it would be sent, and send nothing: no connection is opened and no delivery is noted.

    Args:
        request: the mail.
        composer: makes its bytes.
        report: told how far it is.
        mail_id: names the mail.
        date: when it was submitted.
        sender: the author where the mail names none.
        unsubscribe_url: as `email_delivery.Post` has it.

    Raises:
        FileError: a file of this machine or of the storage cannot be had.
        PermanentError: the mail is too large.
    """
    recipients, invalid = sort_out(request.recipients())
    request = unsubscribable(request, recipients, unsubscribe_url)
    here = _without_remote(request)
    author = parse(request.from_email or sender)
    message = composer.message(here, author, recipients, report)
    content = composer.composed(message, mail_id=mail_id, date=date)
    return EmailPreview(
        message_id=message_id(mail_id, author.addr_spec),
        subject=message.subject,
        text=text_part(message.body),
        html=message.body.html,
        headers=_headers(content),
        size=len(content),
        attachments=[*_files(message), *_remote(request)],
        accepted=[one.address for one in recipients],
        invalid={one.given: one.why for one in invalid},
        warnings=list(_warnings(request, message, recipients, composer)),
    )


def _without_remote(request: SendEmail) -> SendEmail:
    images = {cid: one for cid, one in (request.inline_images or {}).items() if not one.is_remote}
    files = [one for one in request.attachments or [] if not one.is_remote]
    return request.model_copy(update={"inline_images": images or None, "attachments": files or None})


def _files(message: Message) -> list[PreviewFile]:
    return [
        PreviewFile(name=one.name, type=one.media_type, size=len(one.content), cid=one.cid)
        for one in (*message.body.files, *message.body.images)
    ]


def _remote(request: SendEmail) -> list[PreviewFile]:
    named = [*((one, None) for one in request.attachments or []), *((one, cid) for cid, one in _images(request))]
    return [
        PreviewFile(name=one.shown_name, type=one.media_type, size=None, cid=cid) for one, cid in named if one.is_remote
    ]


def _images(request: Mail) -> list[tuple[str, Any]]:
    return list((request.inline_images or {}).items())


def _headers(content: bytes) -> list[PreviewHeader]:
    parsed: Any = BytesHeaderParser(policy=policy.default).parsebytes(content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    return [PreviewHeader(name=name, value=str(value)) for name, value in parsed.items()]


def _warnings(
    request: SendEmail, message: Message, recipients: list[Recipient], composer: Composer
) -> list[dict[str, Any]]:
    page, found = message.body.html, list[dict[str, Any]]()
    if not recipients:
        found.append(warning("no_recipient", "Nobody would get it: no address is valid."))
    if page is not None and message.body.text is None:
        found.append(warning("text_made", "There is no text beside the HTML; it was made from it."))
    if page is not None and len(page.encode()) > CLIPPED_BYTES:
        found.append(
            warning("html_clipped", f"The HTML has {len(page.encode())} bytes; Gmail hides what follows 102 kB.")
        )
    if page is not None:
        found += _image_warnings(page, {cid for cid, _ in _images(request)})
    bulk = len(recipients) > MANY_RECIPIENTS or any(map(BULK_HEADERS.fullmatch, message.headers))
    if bulk and not message.unsubscribe:
        found.append(warning("no_unsubscribe", "It looks like a mailing and has no unsubscribe (RFC 8058)."))
    if message.unsubscribe and composer.signer is None:
        found.append(
            warning("unsubscribe_unsigned", "Mailboxes trust one-click unsubscribing only where DKIM signs it.")
        )
    domain = message.sender.domain.lower()
    if composer.signer is not None and not f".{domain}".endswith(f".{composer.signer.domain}"):
        found.append(
            warning(
                "dkim_other_domain", f"It is signed by {composer.signer.domain}, which is not the author's {domain}."
            )
        )
    if remote := _remote(request):
        names = ", ".join(one.name for one in remote[:3])
        found.append(warning("not_fetched", f"Files of other machines are not in this preview: {names}."))
    return found


def _image_warnings(page: str, cids: set[str]) -> list[dict[str, Any]]:
    shown = set(SHOWN_BY_CID.findall(page))
    missing, unseen = sorted(shown - cids), sorted(cids - shown)
    return [
        *(warning("image_missing", f"The HTML shows cid:{cid}, and no inline image has that name.") for cid in missing),
        *(warning("image_unused", f"The HTML never shows the inline image {cid}.") for cid in unseen),
    ]
