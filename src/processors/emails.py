"""Mail: what one message is, and what is told of it, recipient by recipient."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, cast, get_args
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from processors.addresses import Role, check_line, parse
from processors.attachments import Attachment, checked_cids
from processors.interfaces import DeliveryState
from processors.mail_headers import OF_UNSUBSCRIBE, checked_headers
from processors.messages import is_html
from processors.results import Request, Result, sentence_of, storable
from processors.suppression import ListName
from processors.template_arguments import Context, TemplateName

MAX_RECIPIENTS = 1_000
MAX_ENCLOSED = 100
LONGEST_ADDRESS = 900
DELIVERY_STATES = get_args(DeliveryState)
PLACE_OF_RECIPIENT = r"^[0-9]{1,9}:[^\x00-\x1f]{1,320}$"
Addresses = Annotated[list[str], Field(strict=False)]
"""A list of texts, or a tuple: both are lists once they are JSON."""


def _each(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else [value]


def _one_or_more(value: Any) -> Any:
    """Refuse what is neither of a union's two forms in one sentence; pydantic has one for each."""
    texts = _each(value)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("must be an address or a list of addresses")
    for text in texts:
        storable(text)
    return value


OneOrMore = Annotated[str | Addresses, BeforeValidator(_one_or_more)]
Attachments = Annotated[list[Attachment], Field(strict=False, max_length=MAX_ENCLOSED)]
IN_BRACKETS = re.compile(r"[!#-+\--;=?-~]+")
"""What may stand between < and > in a header: printable ASCII without spaces, quotes, commas and brackets."""


class Unsubscribe(Request):
    """Where a reader ends a mailing with one click (RFC 8058): an https address, and perhaps a mailto."""

    url: str
    mailto: str | None = None

    @field_validator("url")
    @classmethod
    def _https(cls, value: str) -> str:
        return unsubscribe_address(value)

    @field_validator("mailto")
    @classmethod
    def _mailto(cls, value: str | None) -> str | None:
        if value is not None:
            scheme, _, rest = value.partition(":")
            if scheme != "mailto" or len(value) > LONGEST_ADDRESS or not IN_BRACKETS.fullmatch(rest):
                raise ValueError(f"must be such as mailto:leave@example.com?subject=leave; got {value[:80]!r}")
            parse(rest.partition("?")[0])
        return value


def unsubscribe_address(value: str) -> str:
    """Return an address that may stand in `List-Unsubscribe`.

    Raises:
        ValueError: it is not https, or cannot stand in a header.
    """
    good = len(value) <= LONGEST_ADDRESS and IN_BRACKETS.fullmatch(value)
    if not good or not value.startswith("https://") or not _host(value):
        raise ValueError(
            f"must be an https:// address of at most {LONGEST_ADDRESS} characters that answers POST (RFC 8058); "
            f"got {value[:80]!r}"
        )
    return value


def _leaving(value: Any) -> Any:
    """Refuse what is neither of the two forms in one sentence."""
    if isinstance(value, (str, Unsubscribe)):
        return storable(value) if isinstance(value, str) else value
    try:
        return Unsubscribe.model_validate(value)
    except ValidationError as error:
        beside = f": {sentence_of(error)}" if isinstance(value, Mapping) else ""
        raise ValueError(f"must be an https:// address, or a dict with such a url and a mailto{beside}") from error


Leaving = Annotated[str | Unsubscribe, BeforeValidator(_leaving)]


class ListDeliveries(Request):
    """Show what became of a task's mails, recipient by recipient."""

    states: list[DeliveryState] | None = Field(default=None, max_length=len(DELIVERY_STATES))
    limit: int = Field(default=100, ge=1, le=1_000)
    after: str | None = Field(default=None, pattern=PLACE_OF_RECIPIENT)

    @property
    def place(self) -> tuple[int, str] | None:
        """The mail's position and the recipient's address behind which the page begins."""
        position, _, address = (self.after or "").partition(":")
        return (int(position), address) if self.after else None


class Mail(Request):
    """One mail to at most 1 000 recipients, whose addresses are not looked at yet.

    Attributes:
        body: the text; or a page, where it begins like one and there is no `html_body`.
        html_body: the page; `body` is then the text beside it, or left out or empty to have one made.
        headers: further header fields by their names.
        inline_images: files that the page shows, by what stands behind `cid:` in it.
        unsubscribe: an https address, or that and a mailto.
        critical: it goes to those, too, who have unsubscribed or are suppressed by hand.
        list_name: the list that it belongs to, whose unsubscriptions count.
        template: makes subject and body, where it is given; a subject beside it stands instead of its own.
        context: what the template is rendered with.
    """

    to_email: OneOrMore
    subject: str = ""
    body: str = ""
    from_email: str | None = None
    cc: Addresses | None = None
    bcc: Addresses | None = None
    html_body: str | None = None
    reply_to: OneOrMore | None = None
    headers: dict[str, str] | None = None
    attachments: Attachments | None = None
    inline_images: dict[str, Attachment] | None = Field(default=None, max_length=MAX_ENCLOSED)
    unsubscribe: Leaving | None = None
    critical: bool = False
    list_name: ListName | None = None
    template: TemplateName | None = None
    context: Context | None = None

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, value: str) -> str:
        return check_line(value)

    @field_validator("body", "html_body")
    @classmethod
    def _check_body(cls, value: str | None) -> str | None:
        return None if value is None else storable(value)

    @field_validator("to_email", "cc", "bcc", "reply_to")
    @classmethod
    def _check_list(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value == []:
            raise ValueError("must not be an empty list")
        return value

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, value: dict[str, str] | None) -> dict[str, str] | None:
        return None if value is None else dict(checked_headers(value))

    @field_validator("inline_images")
    @classmethod
    def _check_cids(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if value is None else checked_cids(value)

    @field_validator("unsubscribe")
    @classmethod
    def _check_unsubscribe(cls, value: str | Unsubscribe | None) -> str | Unsubscribe | None:
        return unsubscribe_address(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        given = self.recipients()
        if len(given) > MAX_RECIPIENTS:
            raise ValueError(
                f"to_email: with cc and bcc, a mail has at most {MAX_RECIPIENTS} recipients; got {len(given)}: "
                "use send_bulk_emails for more"
            )
        return self

    @model_validator(mode="after")
    def _check_content(self) -> Self:
        given = self.model_fields_set
        if self.template is None:
            content = {"body"} if self.html_body is None else set[str]()
            missing = sorted(({"subject"} | content) - given, reverse=True)
            if missing:
                raise ValueError(f"{' and '.join(missing)} must be given, or a template that makes them")
            if self.context is not None:
                raise ValueError("context: is for a template; give its name as template")
        elif twice := sorted({"body", "html_body"} & given):
            raise ValueError(f"{twice[0]}: is made by the template; give one of the two")
        return self

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.inline_images and self.page is None and self.template is None:
            raise ValueError("inline_images: need a page that shows them; give html_body")
        if self.unsubscribe and self._own_unsubscribe:
            raise ValueError(f"headers: must not set {min(self._own_unsubscribe)} beside unsubscribe, which does")
        return self

    @property
    def _own_unsubscribe(self) -> frozenset[str]:
        return OF_UNSUBSCRIBE & {name.lower() for name in self.headers or {}}

    @property
    def says_how_to_unsubscribe(self) -> bool:
        """Whether it has an address for that, or a header field of its caller's: there may be no second one."""
        return self.unsubscribe is not None or bool(self._own_unsubscribe)

    @property
    def page(self) -> str | None:
        """The HTML, where there is any."""
        return self.html_body if self.html_body is not None else self.body if is_html(self.body) else None

    @property
    def text(self) -> str | None:
        """The text; None where it is to be made from the page."""
        if self.html_body is None:
            return None if is_html(self.body) else self.body
        return self.body if self.body.strip() else None

    def recipients(self) -> list[tuple[Role, str]]:
        """Return every recipient as it was given, with its role."""
        roles: list[tuple[Role, list[str]]] = [
            ("to", _listed(self.to_email)),
            ("cc", self.cc or []),
            ("bcc", self.bcc or []),
        ]
        return [(role, text) for role, texts in roles for text in texts]

    def answered_to(self) -> list[str]:
        """Return who gets the answers, as it was given."""
        return _listed(self.reply_to or [])

    def unsubscribe_addresses(self) -> list[str]:
        """Return what stands in `List-Unsubscribe`, the https address first."""
        if isinstance(self.unsubscribe, Unsubscribe):
            return [self.unsubscribe.url, *([self.unsubscribe.mailto] if self.unsubscribe.mailto else [])]
        return [self.unsubscribe] if self.unsubscribe else []


class SendEmail(Mail):
    """One mail with a checked sender; an address that is the only one is checked too.

    Attributes:
        preview: show what would be sent, and send nothing.
    """

    preview: bool = False

    @field_validator("from_email", "reply_to")
    @classmethod
    def _check_address(cls, value: str | list[str] | None) -> str | list[str] | None:
        for text in _listed(value or []):
            parse(text)
        return value

    @model_validator(mode="after")
    def _check_only_recipient(self) -> Self:
        given = self.recipients()
        if len(given) == 1:
            try:
                parse(given[0][1])
            except ValueError as error:
                raise ValueError(f"to_email: {error}") from error
        return self


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


class Refusal(Result):
    """What the server said of one recipient."""

    code: int | None = None
    enhanced: str | None = None
    text: str = ""


MailStatus = Literal["sent", "partial", "deferred", "failed", "skipped", "suppressed", "unknown"]


class EmailSent(Result):
    """What became of one mail, recipient by recipient.

    Attributes:
        size: bytes of the message.
        duration_ms: milliseconds of the attempt that ended it, with composing and looking at its rows.
        attempts: how often it was handed over, or put off, for the recipient where that was most often.
        response: what the server said when it took it, by which its log tells more.
    """

    status: MailStatus
    id: str
    message_id: str
    transport: str
    size: int
    duration_ms: int = 0
    attempts: int = 0
    response: str = ""
    accepted: list[str] = []
    deferred: dict[str, Refusal] = {}
    refused: dict[str, Refusal] = {}
    skipped: dict[str, str] = {}
    invalid: dict[str, str] = {}
    suppressed: dict[str, str] = {}
    unknown: list[str] = []

    def failure(self) -> str | None:
        """Nobody got it, as far as is known, and not because nobody was to."""
        if self.accepted or self.status in {"suppressed", "skipped"}:
            return None
        if self.unknown:
            return f"It is not known whether the mail arrived at {', '.join(self.unknown[:3])}."
        return f"No recipient was accepted: {self.first_reason()}"

    def first_reason(self) -> str:
        """Tell why the first of those who did not get it did not."""
        if reason := first_of({**self.refused, **self.deferred}):
            return reason
        others = {**self.skipped, **self.invalid}
        return next((f"{given}: {_ended(why)}" for given, why in others.items()), "there is none.")


def first_of(refusals: Mapping[str, Refusal]) -> str:
    """Return what the server said of the first of some recipients; nothing where there are none."""
    for address, refusal in refusals.items():
        return f"{address}: " + _ended(f"{refusal.code or ''} {refusal.text or 'no answer'}".strip())
    return ""


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
