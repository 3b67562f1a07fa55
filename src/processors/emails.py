"""Mail: what one message is, and what is told of it, recipient by recipient."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from processors.addresses import Role, check_line, parse
from processors.results import Request, Result
from processors.suppression import ListName

MAX_RECIPIENTS = 1_000
Addresses = Annotated[list[str], Field(strict=False)]
"""A list of texts, or a tuple: both are lists once they are JSON."""

NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Mail(Request):
    """One mail to at most 1 000 recipients, whose addresses are not looked at yet.

    Attributes:
        critical: it goes to those, too, who have unsubscribed or are suppressed by hand.
        list_name: the list that it belongs to, whose unsubscriptions count.
    """

    to_email: str | Addresses
    subject: str
    body: str
    from_email: str | None = None
    cc: Addresses | None = None
    bcc: Addresses | None = None
    critical: bool = False
    list_name: ListName | None = None

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, value: str) -> str:
        return check_line(value)

    @field_validator("body")
    @classmethod
    def _check_body(cls, value: str) -> str:
        if NO_TEXT.search(value):
            raise ValueError("must be text without NUL and lone surrogates")
        return value

    @field_validator("to_email", "cc", "bcc")
    @classmethod
    def _check_list(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value == []:
            raise ValueError("must not be an empty list")
        return value

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        given = self.recipients()
        if len(given) > MAX_RECIPIENTS:
            raise ValueError(
                f"a mail has at most {MAX_RECIPIENTS} recipients; got {len(given)}: use send_bulk_emails for more"
            )
        return self

    def recipients(self) -> list[tuple[Role, str]]:
        """Return every recipient as it was given, with its role."""
        to = [self.to_email] if isinstance(self.to_email, str) else self.to_email
        roles: list[tuple[Role, list[str]]] = [("to", to), ("cc", self.cc or []), ("bcc", self.bcc or [])]
        return [(role, text) for role, texts in roles for text in texts]


class SendEmail(Mail):
    """One mail with a checked sender; an address that is the only one is checked too."""

    @field_validator("from_email")
    @classmethod
    def _check_sender(cls, value: str | None) -> str | None:
        if value is not None:
            parse(value)
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


class Refusal(Result):
    """What the server said of one recipient."""

    code: int | None = None
    enhanced: str | None = None
    text: str = ""


class EmailSent(Result):
    """What became of one mail, recipient by recipient."""

    status: Literal["sent", "partial", "deferred", "failed", "suppressed", "unknown"]
    id: str
    message_id: str
    transport: str
    size: int
    accepted: list[str] = []
    deferred: dict[str, Refusal] = {}
    refused: dict[str, Refusal] = {}
    invalid: dict[str, str] = {}
    suppressed: dict[str, str] = {}
    unknown: list[str] = []

    def failure(self) -> str | None:
        """Nobody got it, as far as is known, and not because nobody was to."""
        if self.accepted or self.status == "suppressed":
            return None
        if self.unknown:
            return f"It is not known whether the mail arrived at {', '.join(self.unknown[:3])}."
        return f"No recipient was accepted: {self.first_reason()}"

    def first_reason(self) -> str:
        """Tell why the first of those who did not get it did not."""
        for address, refusal in [*self.refused.items(), *self.deferred.items()]:
            return f"{address}: {refusal.code or ''} {refusal.text or 'no answer'}".strip() + "."
        return next((f"{given}: {why}." for given, why in self.invalid.items()), "there is none.")
