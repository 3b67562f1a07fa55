"""From a request to the bytes of a mail: its files are read, its size is bounded, it is signed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.headerregistry import Address

from processors.addresses import Recipient, check_line, parse
from processors.attachments import Attachment
from processors.emails import Mail
from processors.errors import PermanentError
from processors.interfaces import Report
from processors.mail_interfaces import AttachmentReader, MailTemplates, Rendered, Signer
from processors.mail_parts import Body, Enclosed
from processors.messages import Message, compose

MIB = 1024**2
LONGEST_SUBJECT = 998
"""Characters that a template makes: as many as a line may have (RFC 5322 2.1.1). Mail programs show 60 to 250."""

BYTES_PER_BASE64 = 57 / 78
"""Of a file, for each byte of the mail: 57 are a line of 76 characters and its end."""


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes mails of requests.

    Attributes:
        reader: reads the files that go with them.
        max_mb: the largest mail (EMAIL_MAX_MB).
        signer: signs them, where there is one.
        templates: returns what makes mails of templates; None where no folder of them is set.
    """

    reader: AttachmentReader
    max_mb: int
    signer: Signer | None = None
    templates: Callable[[], MailTemplates | None] = lambda: None

    def compose(
        self,
        mail: Mail,
        sender: Address,
        recipients: Sequence[Recipient],
        *,
        mail_id: str,
        date: datetime,
        report: Report,
    ) -> bytes:
        """Return the complete message, the same bytes at every attempt while its files and its template are the same.

        Args:
            mail: the request.
            sender: the author.
            recipients: those of the request that are valid.
            mail_id: names this mail for ever.
            date: when it was submitted.
            report: told that files are fetched; its `Cancelled` ends it.

        Raises:
            FileError: a file cannot be had.
            PermanentError: the mail is too large, or its template cannot be rendered.
            TransientError: a file or its template cannot be had now.
        """
        message = self.message(mail, sender, recipients, report)
        return self.composed(message, mail_id=mail_id, date=date)

    def message(self, mail: Mail, sender: Address, recipients: Sequence[Recipient], report: Report) -> Message:
        """Read the files of a mail and return what its bytes are made of; raises as `compose`."""
        said = self._said(mail)
        left = self.max_mb * MIB - len(said.text or "") - len(said.html or "")
        images: list[Enclosed] = []
        files: list[Enclosed] = []
        for attachment, cid in [
            *((one, cid) for cid, one in (mail.inline_images or {}).items()),
            *((one, None) for one in mail.attachments or []),
        ]:
            enclosed = self._enclosed(attachment, cid, max(0, int(left * BYTES_PER_BASE64)), report)
            left -= int(len(enclosed.content) / BYTES_PER_BASE64)
            (files if cid is None else images).append(enclosed)
        return Message(
            sender=sender,
            recipients=recipients,
            subject=said.subject or "",
            body=Body(said.text, said.html, tuple(images), tuple(files)),
            reply_to=[parse(text) for text in mail.answered_to()],
            headers=mail.headers or {},
            unsubscribe=mail.unsubscribe_addresses(),
        )

    def composed(self, message: Message, *, mail_id: str, date: datetime) -> bytes:
        """Return a message's bytes.

        Raises:
            PermanentError: they are too many.
        """
        content = compose(message, mail_id=mail_id, date=date, signer=self.signer)
        if len(content) > self.max_mb * MIB:
            raise PermanentError(
                f"The mail has {len(content) / MIB:.1f} MB, at most {self.max_mb} MB are sent: see EMAIL_MAX_MB, or "
                "send an address instead of a file."
            )
        return content

    def _said(self, mail: Mail) -> Rendered:
        """Return what a mail says, in its own words or its template's."""
        if mail.template is None:
            return Rendered(mail.subject, mail.page, mail.text)
        templates = self.templates()
        if templates is None:
            raise PermanentError(
                f"The template {mail.template!r} cannot be found: set EMAIL_TEMPLATES_DIR, the folder of templates, "
                "where the worker runs."
            )
        made = templates.render(mail.template, mail.context or {})
        if mail.inline_images and made.html is None:
            raise PermanentError(f"The template {mail.template!r} makes no page, which inline_images need.")
        if "subject" in mail.model_fields_set:
            return replace(made, subject=mail.subject)
        if made.subject is None:
            raise PermanentError(
                f"The mail has no subject: give one, or write {mail.template}.subject.txt beside its template."
            )
        try:
            return replace(made, subject=_made_subject(made.subject))
        except ValueError as error:
            raise PermanentError(f"{mail.template}.subject.txt makes a subject that {error}.") from error

    def _enclosed(self, attachment: Attachment, cid: str | None, max_bytes: int, report: Report) -> Enclosed:
        file = self.reader.read(attachment.path, max_bytes, report)
        return Enclosed(attachment.shown_name, attachment.media_type, file.content, file.sha256, cid)


def _made_subject(text: str) -> str:
    """Return the subject that a template makes; nobody has seen it, so it says something and is bounded.

    Raises:
        ValueError: it is empty or too long, or has a control character.
    """
    if not text:
        raise ValueError("must not be empty: it has nothing, or only values of the context that are empty")
    if len(text) > LONGEST_SUBJECT:
        raise ValueError(f"must have at most {LONGEST_SUBJECT} characters; got {len(text)}")
    return check_line(text)
