"""Header fields of a mail, written here, and those that a caller may add.

`email` reads what looks like encoded words in a value before it writes it, and a crafted one (`=?utf-8?q?=0D…` without
its end) comes out as a line of its own.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from email.headerregistry import Address

from processors.addresses import check_line, decoded

FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
"""Printable ASCII but the colon (RFC 5322 3.6.8)."""

OWN = frozenset(
    {
        *("from", "to", "cc", "bcc", "subject", "date", "message-id", "sender", "reply-to", "return-path", "received"),
        *("dkim-signature", "domainkey-signature", "authentication-results", "delivered-to", "apparently-to"),
    }
)
OWN_BEGINNINGS = ("mime-", "content-", "resent-", "arc-")
LANGUAGE_FIELD = "Content-Language"
"""What a mail is written in (RFC 3282): of the fields of its content the one that the service does not know itself."""

OF_UNSUBSCRIBE = frozenset({"list-unsubscribe", "list-unsubscribe-post"})
MAX_HEADERS = 100

PLAIN_CHARACTERS = 66
WORD_BYTES = 39
"""A header's lines have at most 76 characters where they carry encoded words (RFC 2047 2), so those carry 39 bytes."""

FOLDED_LINE = 76
LONGEST_TOKEN = 900
"""What has no space to fold at stays below the 998 characters of a line (RFC 5322 2.1.1)."""

VALUE_CHARACTER = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]")
"""What stands in an extended parameter as it is (attribute-char of RFC 5987 3.2.1, a part of RFC 2231's)."""

QUOTED_PARAMETER = re.compile(r"[A-Za-z0-9 !#$&'()+,.;@^_`{}~-]{1,60}")
PARAMETER_LINE = 60


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return header fields that a caller may add to a mail.

    Raises:
        ValueError: one is not of RFC 5322's form, or is set by the service itself.
    """
    if len(headers) > MAX_HEADERS:
        raise ValueError(f"must be at most {MAX_HEADERS}; got {len(headers)}")
    seen: set[str] = set()
    for name, value in headers.items():
        small = name.lower()
        if not FIELD_NAME.fullmatch(name):
            raise ValueError(f"must be named by printable ASCII without : and spaces; got {ascii(name)[:80]}")
        if small in OWN or (small.startswith(OWN_BEGINNINGS) and small != LANGUAGE_FIELD.lower()):
            raise ValueError(f"must not set {name}, which the service writes itself; use the argument for it")
        if small in seen:
            raise ValueError(f"must have each name once, whatever its case; got {name} twice")
        seen.add(small)
        check_line(value)
    return headers


def text_line(name: str, text: str) -> str:
    """Return a field of free text; what is not plain goes into encoded words."""
    return f"{name}: {words(text)}"


def extra_line(name: str, text: str) -> str:
    """Return a field whose syntax only its caller knows: plain text is folded at its spaces and never encoded."""
    first, *rest = re.findall(r" *[^ ]+", text) or [""]
    plain = text.isascii() and text.isprintable() and "=?" not in text and text == text.strip()
    if not plain or max(map(len, (first, *rest))) > LONGEST_TOKEN:
        return text_line(name, text)
    lines = [f"{name}: {first}"]
    for token in rest:
        if len(lines[-1]) + len(token) > FOLDED_LINE:
            lines.append(token)
        else:
            lines[-1] += token
    return "\r\n".join(lines)


def address_line(name: str, addresses: Sequence[Address]) -> str:
    """Return a field of addresses, one a line."""
    return f"{name}: " + ",\r\n ".join(map(_mailbox, addresses))


def _mailbox(address: Address) -> str:
    if not address.display_name:
        return address.addr_spec
    name = words(address.display_name)
    if "=?" not in name:
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'  # a quoted string (RFC 5322 3.2.4)
    return f"{name}\r\n <{address.addr_spec}>"


def words(text: str) -> str:
    """Return a text as it stands where that is one short plain line, else in encoded words (RFC 2047)."""
    text = decoded(text)
    plain = text.isascii() and text.isprintable() and "=?" not in text
    if plain and text == text.strip() and len(text) <= PLAIN_CHARACTERS:
        return text
    encoded = (base64.b64encode(part.encode()).decode() for part in _pieces(text))
    return "\r\n ".join(f"=?utf-8?b?{word}?=" for word in encoded)


def _pieces(text: str) -> Iterator[str]:
    """Cut a text into pieces that fit an encoded word each; no character is cut.

    Where it can be, all but the last have whole groups of base64: GMime joins the words of a header before it decodes
    them, and so what comes behind the padding of one is lost to its users.
    """
    start = whole = size = 0
    for at, character in enumerate(text):
        length = len(character.encode())
        while size + length > WORD_BYTES:
            end = whole or at
            yield text[start:end]
            start, whole, size = end, 0, len(text[end:at].encode())
        size += length
        whole = at + 1 if size % 3 == 0 else whole
    yield text[start:]


def parameter(name: str, value: str) -> str:
    """Return a parameter of a field with the `;` before it, on lines of its own.

    What is not plain is written in UTF-8 and percent signs, a long one in numbered pieces (RFC 2231 3, 4).
    """
    if QUOTED_PARAMETER.fullmatch(value) and value == value.strip():
        return f';\r\n {name}="{value}"'
    whole = [
        character if VALUE_CHARACTER.fullmatch(character) else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in value
    ]
    pieces = ["utf-8''"]
    for part in whole:
        if len(pieces[-1]) + len(part) > PARAMETER_LINE:
            pieces.append("")
        pieces[-1] += part
    if len(pieces) == 1:
        return f";\r\n {name}*={pieces[0]}"
    return "".join(f";\r\n {name}*{number}*={piece}" for number, piece in enumerate(pieces))
