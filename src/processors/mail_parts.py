"""The body of a mail: text, page, images and files as MIME parts (RFC 2045, 2046, 2183, 2387), written as bytes.

Everything is 7-bit with lines of at most 998 octets and CRLF ends, so that every server takes it as it is. Boundaries
come from the content: the same body is the same bytes in every mail that has it.
"""

import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count

from processors.mail_headers import parameter

LONGEST_LINE = 998
PLAIN_TEXT = re.compile(rb"[\t\n -~]*")
LINE_ENDS = re.compile(r"\r\n|\r|\n")
ASCII = bytes(range(128))
BASE64_LINE = 76
QUOTED_SHARE = 6
"""Above one byte in six that must be quoted, base64 is shorter."""


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A file in a mail.

    Attributes:
        name: what it is shown as.
        media_type: its type, without parameters.
        content: its bytes, which `digest` stands for in comparisons.
        digest: their SHA-256, in hex digits.
        cid: by which a page shows it, where it is an inline image.
    """

    name: str
    media_type: str
    content: bytes = field(repr=False, compare=False)
    digest: str
    cid: str | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """What a mail says: a text, a page, or both, with the images in the page and the files beside it.

    A page without a text gets the one that is readable in it.
    """

    text: str | None
    html: str | None = None
    images: tuple[Enclosed, ...] = ()
    files: tuple[Enclosed, ...] = ()


@dataclass(frozen=True)
class Built:
    """A part as bytes: its header fields, folded, and what stands below them."""

    lines: tuple[str, ...]
    content: bytes

    @cached_property
    def body_hash(self) -> bytes:
        """The SHA-256 of the content in DKIM's relaxed form (RFC 6376 3.4.4)."""
        relaxed = re.sub(rb"[ \t]+", b" ", self.content).replace(b" \r\n", b"\r\n").rstrip(b"\r\n ")
        return hashlib.sha256(relaxed + b"\r\n" if relaxed else b"").digest()


def build(body: Body, text: str) -> Built:
    """Return a body as one part with all it has inside; `text` is the readable one."""
    built = _text(text, "plain")
    if body.html is not None:
        page = _text(body.html, "html")
        if body.images:
            page = _multipart("related", [page, *map(_image, body.images)], ';\r\n type="text/html"')
        built = _multipart("alternative", [built, page])
    if body.files:
        built = _multipart("mixed", [built, *map(_file, body.files)])
    return built


def _text(text: str, subtype: str) -> Built:
    """Return a text, in the shortest form that every server takes."""
    lines = LINE_ENDS.sub("\n", text)
    raw = (lines if lines.endswith("\n") else lines + "\n").encode()
    kind = f'Content-Type: text/{subtype}; charset="utf-8"'
    if PLAIN_TEXT.fullmatch(raw) and max(map(len, raw.split(b"\n"))) <= LONGEST_LINE:
        return Built((kind, "Content-Transfer-Encoding: 7bit"), raw.replace(b"\n", b"\r\n"))
    if len(raw.translate(None, ASCII)) * QUOTED_SHARE > len(raw):
        return Built((kind, "Content-Transfer-Encoding: base64"), _base64(raw.replace(b"\n", b"\r\n")))
    quoted = binascii.b2a_qp(raw, istext=True).replace(b"\n", b"\r\n")
    return Built((kind, "Content-Transfer-Encoding: quoted-printable"), quoted)


def _image(image: Enclosed) -> Built:
    return _enclosed(image, (f"Content-ID: <{image.cid}>",), "inline")


def _file(file: Enclosed) -> Built:
    return _enclosed(file, (), "attachment")


def _enclosed(file: Enclosed, more: tuple[str, ...], disposition: str) -> Built:
    charset = '; charset="utf-8"' if file.media_type.startswith("text/") and _is_utf8(file.content) else ""
    lines = (
        f"Content-Type: {file.media_type}{charset}",
        "Content-Transfer-Encoding: base64",
        *more,
        f"Content-Disposition: {disposition}{parameter('filename', file.name)}",
    )
    return Built(lines, _base64(file.content))


def _multipart(subtype: str, parts: Sequence[Built], more: str = "") -> Built:
    pieces = [b"\r\n".join([*(line.encode("ascii") for line in part.lines), b"", part.content]) for part in parts]
    boundary = _boundary(subtype, pieces)
    mark = f"--{boundary}".encode()
    content = b"".join(mark + b"\r\n" + piece + b"\r\n" for piece in pieces) + mark + b"--\r\n"
    return Built((f'Content-Type: multipart/{subtype}{more};\r\n boundary="{boundary}"',), content)


def _boundary(subtype: str, pieces: Sequence[bytes]) -> str:
    """Return a boundary that occurs in none of the pieces; `=_` is never in what is quoted-printable (RFC 2045 6.7)."""
    hashed = hashlib.sha256(subtype.encode())
    for piece in pieces:
        hashed.update(hashlib.sha256(piece).digest())
    tries = (hashlib.sha256(hashed.digest() + bytes(number)).hexdigest()[:32] for number in count())
    return next(mark for one in tries if not any((mark := f"=_{one}").encode() in piece for piece in pieces))


def _base64(content: bytes) -> bytes:
    encoded = binascii.b2a_base64(content, newline=False)
    return b"".join(encoded[at : at + BASE64_LINE] + b"\r\n" for at in range(0, len(encoded), BASE64_LINE))


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
