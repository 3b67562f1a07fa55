"""What a file is: told by its content; its name only decides between kinds of text."""

import hashlib
import io
import re
import zipfile
import zlib
from importlib import import_module
from pathlib import PurePath
from typing import Any, BinaryIO, cast

from processors.compound_files import compound_kind
from processors.errors import FileError
from processors.media_types import media_kind, tag_bytes

HEAD_BYTES = 64 * 1024
PDF_MARK_WITHIN = 1024
PDF_MARK = re.compile(rb"(?:\A|[\r\n])[^\r\nA-Za-z]*%PDF-")
OFFICE_PART = re.compile(r"(word/document|xl/workbook|ppt/presentation)\d*\.xml")
OFFICE_KINDS = {"word/document": "docx", "xl/workbook": "xlsx", "ppt/presentation": "pptx"}
MIME_MEMBER, LONGEST_MIME, EPUB_PART = "mimetype", 128, "META-INF/container.xml"
COMPOUND_FILE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
RICH_TEXT = b"{\\rtf"
ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")
"""The first member, or the end of an archive that has none (APPNOTE.TXT 4.3)."""

CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""What no text has, and the head of every packed format."""

EMPTY_TAG = b"ID3\x04" + bytes(6)
FRAMES = frozenset({"aac", "mp3"})
"""What begins with a frame, as words do that begin with the letter of byte 255: in Cyrillic a small `я`."""

WIDE_MARKS = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
WIDE_SAMPLE = 4096
LEAST_NUL_SHARE, LEAST_PRINTABLE_SHARE = 0.3, 0.95
TAGS_WITHIN = 4096
BEFORE_TAGS = b"\xef\xbb\xbf \t\r\n\f"
"""A byte order mark and white space; what begins with other text is about pages, or a table or program with some."""

HTML = re.compile(rb"<!doctype\s+html|<(?:html|head|body)[\s>]", re.IGNORECASE)
MAIL_HEADER = re.compile(rb"(?mi)^(from|to|subject|date|received|message-id|mime-version|return-path):[ \t]")
FEWEST_MAIL_HEADERS = 3

DOCUMENTS = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "html": "text/html",
    "markdown": "text/markdown",
    "csv": "text/csv",
    "eml": "message/rfc822",
    "text": "text/plain",
    "rtf": "application/rtf",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "epub": "application/epub+zip",
    "msg": "application/vnd.ms-outlook",
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
}
SAID_KINDS = {DOCUMENTS[kind]: kind for kind in ("odt", "ods", "odp", "epub")}
IMAGES = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "heic": "image/heic",
    "tiff": "image/tiff",
    "gif": "image/gif",
    "bmp": "image/bmp",
}
AUDIO = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
    "amr": "audio/amr",
    "wma": "audio/x-ms-wma",
    "au": "audio/basic",
    "ac3": "audio/ac3",
    "wv": "audio/x-wavpack",
    "tta": "audio/x-tta",
    "w64": "audio/x-w64",
    "voc": "audio/x-voc",
}
VIDEO = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "3gp": "video/3gpp",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "avi": "video/x-msvideo",
    "ogv": "video/ogg",
    "ts": "video/mp2t",
    "flv": "video/x-flv",
    "wmv": "video/x-ms-wmv",
    "mpg": "video/mpeg",
    "m2v": "video/mpeg",
    "mxf": "application/mxf",
    "ivf": "video/x-ivf",
}
ARCHIVES = {
    "zip": "application/zip",
    "tar": "application/x-tar",
    "gz": "application/gzip",
    "bz2": "application/x-bzip2",
    "xz": "application/x-xz",
}
ROUTES = {"document": DOCUMENTS, "image": IMAGES, "audio": AUDIO, "video": VIDEO, "archive": ARCHIVES}
MIME = {kind: mime for kinds in ROUTES.values() for kind, mime in kinds.items()}
OTHER_ENDINGS = {
    "txt": "text",
    "md": "markdown",
    "tsv": "csv",
    "htm": "html",
    "jpg": "jpeg",
    "jpe": "jpeg",
    "tif": "tiff",
    "heif": "heic",
    "wave": "wav",
    "oga": "ogg",
    "snd": "au",
    "mpeg": "mpg",
    "vob": "mpg",
    "m1v": "m2v",
    "opus": "ogg",
    "aif": "aiff",
    "m4v": "mp4",
    "m2ts": "ts",
    "mts": "ts",
    "tgz": "gz",
    "tbz2": "bz2",
    "txz": "xz",
}
BY_ENDING = {kind: kind for kind in MIME} | OTHER_ENDINGS


def identity(file: BinaryIO, name: str) -> dict[str, Any]:
    """Return what a file is: `kind`, `mime`, `declared` (what its name claims), `sha256` and `bytes`.

    Args:
        file: open, seekable; left at its start.
        name: its name.

    Raises:
        FileError: it is empty, encrypted as a whole, or of no kind that is known here.
    """
    kind = sniff(file, name)
    digest = hashlib.file_digest(cast("Any", file), "sha256").hexdigest()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    declared = MIME.get(named_by_ending(name) or "")
    return {"kind": kind, "mime": MIME[kind], "declared": declared, "sha256": digest, "bytes": size}


def route_of(kind: str) -> str:
    """Return which method reads a kind: `document`, `image`, `audio`, `video` or `archive`."""
    return next(route for route, kinds in ROUTES.items() if kind in kinds)


def refuse_other_than(route: str, kind: str) -> None:
    """Let a kind pass that this route's method reads.

    Raises:
        FileError: another method reads it.
    """
    if kind not in ROUTES[route]:
        other = route_of(kind)
        method = "process_file" if other == "archive" else f"process_{other}"
        read = ", ".join(ROUTES[route])
        raise FileError(f"The file is {MIME[kind]}; read are {read}, and {method} reads it.", "unsupported_type")


def sniff(file: BinaryIO, name: str) -> str:
    """Return which kind an open file is, one of `MIME`.

    Args:
        file: seekable; left at its start.
        name: its name; decides only between kinds of text, and whether a text is what it begins like.

    Raises:
        FileError: it is empty, encrypted as a whole, or of a kind that is not read.
    """
    head = _head(file)
    if not head:
        raise FileError("The file is empty.", "empty_file")
    if (kind := media_kind(head)) and (named_by_ending(name) == kind or not _may_be_text(head, kind)):
        return kind
    if PDF_MARK.search(head[:PDF_MARK_WITHIN]):
        return "pdf"
    if head.startswith(ZIP_MARKS):
        return _office(file)
    if head.startswith(COMPOUND_FILE):
        return compound_kind(file)
    if head.startswith(RICH_TEXT):
        return "rtf"
    kind = _text(head, name)
    packed = b"\0" in head and not head.startswith(tuple(WIDE_MARKS)) and wide_encoding(head) is None
    if packed and kind != "eml":  # a mail may have any bytes behind its headers (RFC 3030, BINARYMIME)
        raise FileError(f"The file is {_named(head)}; read are {', '.join(MIME)}.", "unsupported_type")
    return kind


def _head(file: BinaryIO) -> bytes:
    """Return the first bytes of a file; of a sound with a long tag, such as a cover picture, those behind it."""
    head = file.read(HEAD_BYTES)
    if (behind := tag_bytes(head)) > HEAD_BYTES // 2 and not _may_be_text(head, "mp3"):
        file.seek(behind)
        head = EMPTY_TAG + file.read(HEAD_BYTES)
    file.seek(0)
    return head


def named_by_ending(name: str) -> str | None:
    """Return the kind that a file's name claims, or None where it claims none of ours."""
    return BY_ENDING.get(PurePath(name).suffix.lower().lstrip("."))


def wide_encoding(raw: bytes) -> str | None:
    """Return `utf-16-le` or `utf-16-be` for text of two bytes a character that has no mark, else None.

    Letters of western languages have a NUL in every second byte, and only there.
    """
    sample = raw[:WIDE_SAMPLE]
    low, high = sample[1::2].count(0), sample[::2].count(0)
    encoding = "utf-16-le" if low > high else "utf-16-be"
    if max(low, high) < LEAST_NUL_SHARE * len(sample) / 2:
        return None
    text = sample.decode(encoding, "ignore")
    printable = sum(character.isprintable() or character in "\t\r\n\f" for character in text)
    return encoding if text and printable >= LEAST_PRINTABLE_SHARE * len(text) else None


def _may_be_text(head: bytes, kind: str) -> bool:
    """Tell whether what begins like a packed format may be words: `caffeine`, `GIF89a is`, `ID3 trees`, `ясно`."""
    return (head[:1].isascii() or kind in FRAMES) and not CONTROL.search(head)


def _office(file: BinaryIO) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            said = _said_kind(archive) if MIME_MEMBER in names else None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, RuntimeError, EOFError, zlib.error) as error:
        raise FileError(f"The file begins like an archive and is damaged: {error}.", "corrupt") from error
    finally:
        file.seek(0)
    if said in SAID_KINDS:
        return SAID_KINDS[said]
    if EPUB_PART in names:
        return "epub"
    for name in names:
        if part := OFFICE_PART.fullmatch(name):
            return OFFICE_KINDS[part[1]]
    return "zip"


def _said_kind(archive: zipfile.ZipFile) -> str:
    """Return the type that OpenDocument (1.3, part 2, 3.3) and EPUB (3.3, 4.3) say in a member of their own."""
    with archive.open(MIME_MEMBER) as stream:
        return stream.read(LONGEST_MIME).decode("ascii", "replace").strip()


def _text(head: bytes, name: str) -> str:
    kind = named_by_ending(name)
    block = head.replace(b"\r\n", b"\n").split(b"\n\n")[0]
    if b"\0" not in block and len({match.lower() for match in MAIL_HEADER.findall(block)}) >= FEWEST_MAIL_HEADERS:
        return "eml"
    beginning = _narrow(head[:TAGS_WITHIN])
    if HTML.search(beginning) and (kind == "html" or beginning.lstrip(BEFORE_TAGS).startswith(b"<")):
        return "markdown" if kind == "markdown" else "html"
    return kind if kind in {"markdown", "csv"} else "text"


def _narrow(head: bytes) -> bytes:
    """Return text of two or four bytes a character as UTF-8; any other as it is."""
    for mark, encoding in WIDE_MARKS.items():
        if head.startswith(mark):
            return head.decode(encoding, "ignore").encode("utf-8", "ignore")
    wide = wide_encoding(head) if b"\0" in head else None
    return head.decode(wide, "ignore").encode("utf-8", "ignore") if wide else head


def _named(head: bytes) -> str:
    puremagic: Any = import_module("puremagic")  # on first use: workers know the kinds of files and open none
    try:
        return str(puremagic.from_string(head, mime=True)) or "of an unknown type"
    except puremagic.PureError:
        return "of an unknown type"
