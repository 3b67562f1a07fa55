"""Mail addresses: only what was checked here may reach an envelope or a header."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.headerregistry import Address
from functools import lru_cache
from itertools import groupby
from typing import Literal

from email_validator import EmailNotValidError, validate_email

Role = Literal["to", "cc", "bcc"]

CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")
ENCODED_WORD = r"=\?[^?]*\?[bq]\?[^?]*\?="
"""RFC 2047 2; what goes past a question mark is none, and so a text of any length is read in one go."""

ONE_WORD = re.compile(ENCODED_WORD, re.IGNORECASE)
ENCODED_WORDS = re.compile(rf"{ENCODED_WORD}(?:\s+{ENCODED_WORD})*", re.IGNORECASE)
LONGEST = 320
PLAIN = re.compile(r"([a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*)@([A-Za-z0-9.-]+)")
"""Addresses as nearly all are: of their part before the @ nothing is left to be checked."""

LONGEST_PLAIN = 254
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
    if CONTROLS.search(text) or ("=?" in text and CONTROLS.search(decoded(text))):
        raise ValueError(f"must not contain control characters or line breaks; got {text[:80]!r}")
    return text


@lru_cache(maxsize=4_096)
def parse(text: str) -> Address:
    """Return the one address in `name@domain` or `Display Name <name@domain>`; a non-ASCII domain becomes IDNA.

    Raises:
        ValueError: it is not one valid address; the message says why.
    """
    check_line(text)
    if len(text) > LONGEST:
        raise ValueError(f"must be one mail address of at most {LONGEST} characters; got {len(text)}")
    named = NAMED.fullmatch(text.strip())
    name, address = (named["name"].strip().strip('"'), named["address"]) if named else ("", text.strip())
    try:
        local, domain = _checked(address)
    except EmailNotValidError as error:
        raise ValueError(
            f"must be one mail address like name@example.com; got {text[:80]!r}: {str(error).rstrip('.')}"
        ) from error
    if not local.isascii():
        raise ValueError(f"must have an ASCII name before the @ (SMTPUTF8 is not supported); got {text[:80]!r}")
    return Address(name, local, domain)


def _checked(address: str) -> tuple[str, str]:
    """Return what stands before the @ and after it, the domain in ASCII."""
    plain = PLAIN.fullmatch(address)
    if plain is not None and len(address) <= LONGEST_PLAIN:
        return plain[1], _domain(plain[2])
    found = validate_email(address, check_deliverability=False, test_environment=True)
    return found.local_part, found.ascii_domain or ""


@lru_cache(maxsize=4_096)
def _domain(text: str) -> str:
    """Return a domain of letters, digits, dots and hyphens as it is written in an envelope: many mails share theirs."""
    return validate_email(f"a@{text}", check_deliverability=False, test_environment=True).ascii_domain or ""


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


def decoded(text: str) -> str:
    """Return a text with its encoded words read (RFC 2047); what only looks like one stays as it is."""
    return ENCODED_WORDS.sub(lambda found: _read(found[0]), text) if "=?" in text else text


def _read(words: str) -> str:
    """Read encoded words that follow each other; one by one, as `decode_header` takes a square of their number."""
    try:
        parts = [part for word in ONE_WORD.findall(words) for part in decode_header(word)]
    except HeaderParseError:
        return words
    same = groupby(parts, key=lambda part: part[1])  # a character may be cut between two words of one charset
    return "".join(_known(b"".join(part for part, _ in some), charset) for charset, some in same)


def _known(part: bytes, charset: str | None) -> str:
    """Read bytes; in a charset that nobody knows as Latin-1, which shows every control character."""
    try:
        return part.decode(charset or "latin-1", "replace")
    except (LookupError, ValueError):
        return part.decode("latin-1")
