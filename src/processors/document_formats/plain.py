"""Text in any encoding, Markdown, CSV, HTML and mail."""

import codecs
import csv
import hashlib
import importlib.metadata
import io
import re
from collections.abc import Mapping
from email import policy
from email.parser import BytesParser
from typing import Any, BinaryIO, cast

from bs4 import BeautifulSoup
from charset_normalizer import from_bytes

from processors.document_formats.content import Allowance, Content, Page, Table
from processors.errors import FileError
from processors.interfaces import Report

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ENCODINGS = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
    *("koi8_r", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
]
"""What files without a mark are in; among all that Python knows, a short text looks like several."""

SAMPLE_BYTES = 256 * 1024
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$", re.MULTILINE)
HIDDEN_TAGS = ["script", "style", "noscript", "template"]
MAIL_HEADERS = ("from", "to", "cc", "subject", "date", "message-id", "in-reply-to")


def read_text(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read plain text, whatever its encoding."""
    report(10, "finding the encoding")
    content = Content(engine="python")
    text, encoding = decode(file.read())
    content.pages.append(Page(1, Allowance(options, content).take(text)))
    content.metadata = {"encoding": encoding, "lines": text.count("\n") + 1} if options["extract_metadata"] else {}
    return content


def read_markdown(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read Markdown: the text as it is, and its headings as outline."""
    content = read_text(file, options, report)
    found = HEADING.findall(content.pages[0].text)
    content.outline = [{"title": title, "level": len(marks), "page": 1} for marks, title in found]
    return content


def read_csv(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a table of values between commas, semicolons, tabs or bars (RFC 4180)."""
    content = read_text(file, options, report)
    text = content.pages[0].text
    try:
        dialect: Any = csv.Sniffer().sniff(text[:SAMPLE_BYTES], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), dialect))
    except csv.Error as error:
        raise FileError(f"The table cannot be read: {error}.", "corrupt") from error
    content.tables.append(Table(1, rows))
    content.metadata |= {"rows": len(rows), "delimiter": dialect.delimiter} if options["extract_metadata"] else {}
    return content


def read_html(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read what a page shows; nothing it refers to is fetched."""
    report(10, "reading the page")
    content = Content(engine=f"beautifulsoup4 {importlib.metadata.version('beautifulsoup4')}")
    soup = BeautifulSoup(file.read(), "lxml")
    if options["extract_metadata"]:
        content.metadata = _page_metadata(soup)
    for level in range(1, 7):
        content.outline += [
            {"title": one.get_text(" ", strip=True), "level": level, "page": 1} for one in soup.find_all(f"h{level}")
        ]
    content.pages.append(Page(1, Allowance(options, content).take(shown(soup))))
    return content


def read_mail(file: BinaryIO, options: Mapping[str, Any], report: Report) -> Content:
    """Read a mail (RFC 5322): its headers, its text, and what is attached to it."""
    report(10, "reading the mail")
    content = Content(engine="python email")
    mail: Any = BytesParser(policy=policy.default).parse(file)
    body = mail.get_body(("plain", "html"))
    text = ""
    if body is not None:
        text = _body_text(body)
    content.pages.append(Page(1, Allowance(options, content).take(text)))
    if options["extract_metadata"]:
        content.metadata = {name: str(mail[name]) for name in MAIL_HEADERS if mail[name]}
    content.attachments = [_attachment(part) for part in mail.iter_attachments()]
    return content


def decode(raw: bytes) -> tuple[str, str]:
    """Return a text and its encoding: by its mark, as UTF-8, else by what its bytes look like.

    Raises:
        FileError: it is no text in any encoding.
    """
    for mark, encoding in BOMS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace"), encoding
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        best = from_bytes(raw[:SAMPLE_BYTES], cp_isolation=ENCODINGS).best()
    if best is None:
        raise FileError("The file is no text in any known encoding.", "unsupported_type")
    return raw.decode(best.encoding, "replace"), best.encoding


def shown(soup: BeautifulSoup) -> str:
    """Return the text that a page shows, a line per block."""
    for hidden in soup.find_all(HIDDEN_TAGS):
        hidden.decompose()
    lines = (" ".join(line.split()) for line in (soup.body or soup).get_text("\n").splitlines())
    return "\n".join(line for line in lines if line)


def _page_metadata(soup: BeautifulSoup) -> dict[str, Any]:
    found: dict[str, Any] = {"encoding": soup.original_encoding}
    if soup.title is not None:
        found["title"] = soup.title.get_text(strip=True)
    for tag in soup.find_all("meta", attrs={"name": True, "content": True}):
        if str(tag["name"]).lower() in {"author", "description", "keywords"}:
            found[str(tag["name"]).lower()] = str(tag["content"])
    return {name: value for name, value in found.items() if value}


def _body_text(body: Any) -> str:
    raw = cast("bytes", body.get_payload(decode=True) or b"")
    if body.get_content_type() == "text/html":
        return shown(BeautifulSoup(raw, "lxml"))
    charset = body.get_content_charset()
    try:
        return raw.decode(charset) if charset else decode(raw)[0]
    except (LookupError, UnicodeDecodeError):
        return decode(raw)[0]


def _attachment(part: Any) -> dict[str, Any]:
    raw = cast("bytes", part.get_payload(decode=True) or b"")
    return {
        "name": part.get_filename(),
        "type": part.get_content_type(),
        "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
    }
