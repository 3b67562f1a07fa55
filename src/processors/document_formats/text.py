"""Plain text, whatever its encoding."""

import codecs
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

from charset_normalizer import from_bytes

from processors.document_formats.content import Allowance, Content, Page
from processors.document_formats.latin_pages import is_latin, latin_page
from processors.errors import FileError
from processors.file_types import wide_encoding
from processors.interfaces import Report

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ESCAPES = (b"\x1b$B", b"\x1b$@")
ENCODINGS = [
    *("cp1251", "cp1253", "cp1255", "cp1256", "koi8_r"),
    *("cp932", "euc_jp", "gb18030", "big5", "euc_kr"),
]
"""What files are in that have no mark and no Latin letters; of all that Python knows, a text looks like several."""

WIDER = {
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_jp": "euc_jis_2004",
    "big5": "big5hkscs",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
}
"""What is meant by the names of older encodings (WHATWG Encoding Standard, 4.2), as Python calls both."""

OTHER_NAMES = {
    **{f"x-cp{page}": f"cp{page}" for page in range(1250, 1259)},
    **{f"windows-{page}": f"cp{page}" for page in (874, 932, 936, 949, 950)},
    **dict.fromkeys(("windows-31j", "x-sjis"), "cp932"),
    **dict.fromkeys(("cseucpkdfmtjapanese", "x-euc-jp"), "euc_jp"),
    **dict.fromkeys(("csgb2312", "gb_2312-80", "x-gbk"), "gbk"),
    **dict.fromkeys(("cn-big5", "x-x-big5"), "big5"),
    **dict.fromkeys(("iso-8859-8-e", "iso-8859-8-i"), "iso8859_8"),
    **dict.fromkeys(("mac", "x-mac-roman"), "mac_roman"),
    "cseuckr": "euc_kr",
    "koi8-ru": "koi8_u",
    "x-mac-cyrillic": "mac_cyrillic",
}
"""Names of encodings that are met in pages and mails, and that Python does not know, by one that it does."""

NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape"})
"""What Python decodes too and no text is in; the time of some grows with the square of the length."""

WIDE = ("utf-16", "utf-32")
"""A text in these has NULs at the ends of its lines at least; programs name them where they write ASCII."""

SAID_OF_ANY = ("cp1252", "utf-")
"""How encodings begin that programs say of any text; nearly all bytes would do for them, whatever the text is in."""

ASCII = bytes(range(0x80))
SAMPLE_BYTES = 256 * 1024
LONGEST_CHARACTER = 4
GOOD_FOR_ONE_BAD = 10
CUT = re.compile(rb"[\xc0-\xff][\x80-\xbf]{0,2}\Z")
"""The beginning of a character of UTF-8, perhaps all of it."""


def read(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read plain text, and of a long one no more than what may be kept."""
    report(10, "finding the encoding")
    content = Content(engine="python")
    allowance = Allowance(options, content)
    whole, encoding = decode(_beginning(file, allowance.left))
    text = allowance.take(whole)
    if unknown := text.count("\ufffd"):
        message = f"{unknown} characters are not of the encoding {encoding} and are shown as U+FFFD."
        content.warnings.append({"code": "encoding_uncertain", "message": message})
    content.pages.append(Page(1, text))
    content.metadata = {"encoding": encoding, "lines": text.count("\n") + 1} if options["extract_metadata"] else {}
    return content


def _beginning(file: BinaryIO, characters: int) -> bytes:
    """Return the bytes of so many characters of a text and one more, whatever their encoding, and half of none."""
    raw = file.read(LONGEST_CHARACTER * (characters + 3))  # a mark, one that is not kept, and one that is cut
    if any(escape in raw for escape in ESCAPES):
        raw += file.read(len(raw))  # with the escapes around it a character has 8 bytes
    last = CUT.search(raw[-LONGEST_CHARACTER:]) if file.read(1) else None
    return raw if last is None else raw[: last.start() - LONGEST_CHARACTER]


def decode(raw: bytes) -> tuple[str, str]:
    """Return a text and its encoding: by its mark, as UTF-8, else by what its bytes look like.

    Raises:
        FileError: it is no text in any encoding.
    """
    for mark, encoding in MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), encoding
    if b"\0" in raw and (wide := wide_encoding(raw)):
        return raw.decode(wide, "replace"), wide
    if any(escape in raw for escape in ESCAPES):
        return raw.decode("iso2022_jp", "replace"), "iso2022_jp"
    encoding = "utf-8" if _nearly(raw, "utf-8") else _looks_like(raw)
    return raw.decode(encoding, "replace"), encoding


def decode_as(raw: bytes, named: str) -> tuple[str, str] | None:
    """Return a text that is in the encoding that was named for it, and that encoding; None where it is not.

    A mark of another encoding says more than a name (WHATWG Encoding Standard, 6). So does the text itself where it
    has bytes that the encoding does not have: but for a few among many good characters.
    """
    if any(raw.startswith(mark) for mark, _ in MARKS):
        return None
    with suppress(LookupError, ValueError):
        name = codecs.lookup(OTHER_NAMES.get(named, named)).name
        encoding = WIDER.get(name, name)
        if name in NO_CHARSETS or (name.startswith(WIDE) and raw.isascii() and b"\0" not in raw):
            return None
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding), encoding
        if not encoding.startswith(SAID_OF_ANY) and not _nearly(raw, "utf-8") and _nearly(raw, encoding):
            return raw.decode(encoding, "replace"), encoding
    return None


def _nearly(raw: bytes, encoding: str) -> bool:
    """Tell whether it is in an encoding; a bad byte among many good characters does not make it another one."""
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        text = raw.decode(encoding, "replace")
        bad = text.count("\ufffd")
        good = sum(character > "\x7f" for character in text) - bad
        return good >= GOOD_FOR_ONE_BAD * bad
    return True


def _looks_like(raw: bytes) -> str:
    """Return the encoding of a text that is no UTF-8 by its bytes from the first one beyond ASCII on."""
    start = len(raw) - len(raw.lstrip(ASCII))
    sample = raw[start : start + SAMPLE_BYTES]
    if is_latin(sample):
        return latin_page(sample)
    for short in range(LONGEST_CHARACTER):  # the sample's end must not cut a character
        best = from_bytes(sample[: len(sample) - short], cp_isolation=ENCODINGS).best()
        if best is not None:
            return best.encoding
    raise FileError("The file is no text in any known encoding.", "unsupported_type")
