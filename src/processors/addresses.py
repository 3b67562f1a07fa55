"""Mail addresses: only what was checked here may reach an envelope or a header."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.header import decode_header
from email.headerregistry import Address
from typing import Literal

from email_validator import EmailNotValidError, validate_email

Role = Literal["to", "cc", "bcc"]

CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
LONGEST = 320
NAMED = re.compile(r'(?P<name>[^"<>]*|"[^"<>]*")\s*<(?P<address>[^<>]*)>')


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient: the envelope's address, its role, and how it stands in a header."""

    address: str
    role: Role
    header: Address


@dataclass(frozen=True, slots=True)
class InvalidRecipient:
    """A recipient that cannot be mailed, and why."""

    given: str
    why: str


def check_line(text: str) -> str:
    """Return a text that may become a header; refuses control characters, hidden in encoded words too (RFC 2047).

    Raises:
        ValueError: it has a control character.
    """
    if CONTROLS.search(text) or CONTROLS.search(_decoded(text)):
        raise ValueError(f"must not contain control characters or line breaks; got {text[:80]!r}")
    return text


def parse(text: str) -> Address:
    """Return the one address in `name@domain` or `Display Name <name@domain>`; a non-ASCII domain becomes IDNA.

    Raises:
        ValueError: it is not one valid address; the message says why.
    """
    check_line(text)
    if len(text) > LONGEST:
        raise ValueError(f"must be one mail address of at most {LONGEST} characters; got {len(text)}")
    named = NAMED.fullmatch(text.strip())
    name, address = (named["name"].strip().strip('"'), named["address"]) if named else ("", text)
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"must be one mail address like name@example.com; got {text[:80]!r}: {error}") from error
    if not found.local_part.isascii():
        raise ValueError(f"must have an ASCII name before the @ (SMTPUTF8 is not supported); got {text[:80]!r}")
    return Address(display_name=name, addr_spec=f"{found.local_part}@{found.ascii_domain}")


def sort_out(given: Sequence[tuple[Role, str]]) -> tuple[list[Recipient], list[InvalidRecipient]]:
    """Return the recipients, each address once in its first role, and those that cannot be mailed."""
    valid: dict[str, Recipient] = {}
    invalid: list[InvalidRecipient] = []
    for role, text in given:
        try:
            address = parse(text)
        except ValueError as error:
            invalid.append(InvalidRecipient(text, str(error)))
        else:
            valid.setdefault(address.addr_spec.lower(), Recipient(address.addr_spec, role, address))
    return list(valid.values()), invalid


def _decoded(text: str) -> str:
    """Decode encoded words; a charset that nobody knows is read as Latin-1, which shows every control character."""
    parts: list[tuple[str | bytes, str | None]] = decode_header(text)
    return "".join(
        part if isinstance(part, str) else part.decode(_known(charset), "replace") for part, charset in parts
    )


def _known(charset: str | None) -> str:
    try:
        return codecs.lookup(charset or "latin-1").name
    except LookupError:
        return "latin-1"
