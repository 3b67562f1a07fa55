"""Outlook's messages and the files in mail: read as what they are, as deep as the limits allow."""

import base64
import io
import struct
from email.message import EmailMessage
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compound_files import compound, message, properties
from examples.celery_example import SAMPLES
from processors.document_formats import attachments
from processors.document_formats.compressed_rtf import unpacked
from processors.errors import FileError
from processors.file_types import sniff
from reading import archive, read, warned

SUBJECT, BODY, SENDER, SENDER_ADDRESS, DISPLAY_TO = 0x0037, 0x1000, 0x0C1A, 0x5D01, 0x0E04
NAME, ADDRESS, RECIPIENT_TYPE, SENT, HTML_STREAM = 0x3001, 0x39FE, 0x0C15, 0x0039, "__substg1.0_10130102"
ATTACHED, INNER, RICH = "__substg1.0_37010102", "__substg1.0_3701000D", "__substg1.0_10090102"
PACKED_EXAMPLE = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)
"""MS-OXRTFCP 3.1.1."""


def attachment(name: str, raw: bytes | dict) -> dict:
    """An attachment: bytes, or another message."""
    part = {ATTACHED: raw} if isinstance(raw, bytes) else {INNER: raw}
    return message({0x3707: name}, {}, 8, parts=part)


def recipient(name: str, address: str, kind: int) -> dict:
    """A recipient: 1 is `to`, 2 is `cc`."""
    return message({NAME: name, ADDRESS: address}, {RECIPIENT_TYPE: (3, kind)}, 8)


def whole(**parts) -> bytes:
    """A message with a sender, a date and two recipients."""
    own = {
        "__recip_version1.0_#00000000": recipient("Bob", "bob@example.com", 1),
        "__recip_version1.0_#00000001": recipient("Cy", "cy@example.com", 2),
    }
    texts = {SUBJECT: "Größe", BODY: "It works.\r\nBye.", SENDER: "Ann", SENDER_ADDRESS: "ann@example.com"}
    return compound(message(texts, {SENT: (0x40, 133_500_000_000_000_000)}, parts=own | parts))


# --- Messages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        ("WordDocument", "doc"),
        ("Workbook", "xls"),
        ("Book", "xls"),
        ("PowerPoint Document", "ppt"),
        ("__properties_version1.0", "msg"),
    ],
)
def test_compound_files_are_told_by_their_streams(stream, kind):
    assert sniff(io.BytesIO(compound({stream: b"x" * 40})), "x.bin") == kind


def test_a_compound_file_of_another_kind_is_not_read():
    with pytest.raises(FileError, match="no kind that is read") as error:
        read(compound({"Something": b"x"}))
    assert error.value.code == "unsupported_type"


def test_a_message_is_read_with_its_headers():
    found = read(whole())
    assert found["kind"] == "msg"
    assert found["content"]["pages"][0]["text"] == "It works.\nBye."
    assert found["content"]["metadata"] == {
        "subject": "Größe",
        "from": "Ann <ann@example.com>",
        "to": "Bob <bob@example.com>",
        "cc": "Cy <cy@example.com>",
        "date": "Wed, 17 Jan 2024 21:20:00 +0000",
    }


def test_texts_of_one_byte_a_character_are_in_the_code_page_that_the_message_names():
    raw = compound(
        {
            "__properties_version1.0": properties({0x3FFD: (3, 1251)}, 32),
            "__substg1.0_1000001E": "Привет".encode("cp1251"),
        }
    )
    assert read(raw)["content"]["pages"][0]["text"] == "Привет"


def test_html_is_read_where_there_is_no_plain_text():
    raw = compound(message({}, {0x3FDE: (3, 65001)}, parts={HTML_STREAM: "<p>Es <b>läuft</b>.</p>".encode()}))
    assert read(raw)["content"]["pages"][0]["text"] == "Es läuft."


def test_packed_rich_text_is_read_where_there_is_nothing_else():
    assert unpacked(PACKED_EXAMPLE) == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    assert read(compound(message({}, parts={RICH: PACKED_EXAMPLE})))["content"]["pages"][0]["text"] == "hello world"


def test_packed_rich_text_repeats_across_its_ring():
    body = b"\x02a\x0c\xff" + bytes([0xFF]) + struct.pack(">8H", *[((207 + 1) << 4 | 15)] * 8)
    raw = struct.pack("<IIII", len(body) + 12, 200, 0x75465A4C, crc32(body, 0xFFFFFFFF) ^ 0xFFFFFFFF) + body
    assert len(unpacked(raw)) <= 200


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"short", "corrupt"),
        (PACKED_EXAMPLE[:-1] + b"\0", "corrupt"),
        (PACKED_EXAMPLE[:4] + b"\xff\xff\xff\x7f" + PACKED_EXAMPLE[8:], "too_large"),
    ],
    ids=["short", "wrong sum", "huge"],
)
def test_packed_rich_text_that_is_damaged_is_said_and_costs_nothing_else(raw, code):
    with pytest.raises(FileError) as error:
        unpacked(raw)
    assert error.value.code == code
    found = read(compound(message({SUBJECT: "x"}, parts={RICH: raw})))
    assert warned(found) == ["text_unread", "no_text"]
    assert found["content"]["metadata"]["subject"] == "x"


def test_attachments_of_a_message_are_read_and_kept():
    report = (SAMPLES / "report.docx").read_bytes()
    content = read(whole(**{"__attach_version1.0_#00000000": attachment("report.docx", report)}))["content"]
    (one,) = content["attachments"]
    assert (one["name"], one["result"]["kind"]) == ("report.docx", "docx")
    assert "812 hours" in one["result"]["text"]
    assert base64.b64decode(content["made"][0]["data"]) == report


def test_a_message_inside_a_message_is_read():
    inner = message(
        {SUBJECT: "The old one", BODY: "inside", SENDER_ADDRESS: "a@example.com", DISPLAY_TO: "b@example.com"}, {}, 24
    )
    (one,) = read(whole(**{"__attach_version1.0_#00000000": attachment("old", inner)}))["content"]["attachments"]
    assert (one["type"], one["result"]["kind"], one["result"]["text"]) == ("message/rfc822", "eml", "inside")


def test_messages_in_each_other_are_read_as_deep_as_ten():
    tree = message({SUBJECT: "end"}, {}, 24)
    for _ in range(12):
        tree = message({SUBJECT: "on"}, {}, 24, parts={"__attach_version1.0_#00000000": attachment("on", tree)})
    found = read(compound(tree))
    assert "more than 10 deep" in found["content"]["warnings"][0]["message"]


@pytest.mark.parametrize(
    "parts",
    [
        {"__properties_version1.0": b""},
        {"__properties_version1.0": b"\xff" * 45},
        {"__properties_version1.0": properties({SENT: (0x40, 2**63 - 1), 0x3FFD: (3, 31_337)}, 32)},
        {"__substg1.0_0037001F": b"a\0b", "__substg1.0_1000001F": b"\x00\xd8x"},
        {"__recip_version1.0_#00000000": {}, "__attach_version1.0_#00000000": {}},
        {"__substg1.0_0C1A001F": "a\r\nBcc: x@example.com".encode("utf-16-le")},
    ],
    ids=["no properties", "odd properties", "wild values", "odd text", "empty storages", "line in a header"],
)
def test_broken_properties_are_as_if_they_were_not_there(parts):
    found = read(compound(message({SUBJECT: "x", BODY: "y"}) | parts))
    assert "bcc" not in found["content"]["metadata"]


def fat_of(raw: bytes) -> int:
    """Where the first sector of the table of sectors begins."""
    return 512 * (1 + int.from_bytes(raw[76:80], "little"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("to", [0, 1, 0x7FFFFFFF], ids=["itself", "another", "outside"])
def test_chains_of_sectors_that_go_round_come_to_an_end(to):
    raw = bytearray(whole(**{"__attach_version1.0_#00000000": attachment("big", b"x" * 50_000)}))
    at = fat_of(bytes(raw))
    for number in range(100):
        raw[at + 4 * number : at + 4 * number + 4] = to.to_bytes(4, "little")
    try:
        read(bytes(raw))
    except FileError as error:
        assert error.code == "corrupt"  # noqa: PT017 - both ends are good


WHOLE = whole(**{"__attach_version1.0_#00000000": attachment("notes.txt", b"some notes " * 500)})


@settings(max_examples=80, deadline=None)
@given(at=st.integers(8, len(WHOLE) - 1), bytes_=st.binary(min_size=1, max_size=8))
def test_a_message_with_wrong_bytes_is_read_or_refused(at, bytes_):
    try:
        read(WHOLE[:at] + bytes_ + WHOLE[at + len(bytes_) :], "x.msg")
    except FileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are good


# --- Files in mail ---------------------------------------------------------------------------------------------


def mail(*parts: tuple[str, bytes]) -> bytes:
    """A mail with files."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.com", "b@example.com", "Files"
    made.set_content("see below")
    for name, raw in parts:
        made.add_attachment(raw, "application", "octet-stream", filename=name)
    return made.as_bytes()


def test_files_in_a_mail_are_read_and_mail_in_mail_too():
    inner = mail(("hours.xlsx", (SAMPLES / "hours.xlsx").read_bytes()))
    (one,) = read(mail(("inner.eml", inner)))["content"]["attachments"]
    assert one["result"]["kind"] == "eml"
    assert one["result"]["attachments"][0]["result"]["kind"] == "xlsx"


def test_mail_in_mail_is_read_five_deep():
    raw = mail()
    for number in range(8):
        raw = mail((f"{number}.eml", raw))
    found = read(raw)["content"]
    depth, entries = 0, found["attachments"]
    while entries and "result" in entries[0]:
        depth, entries = depth + 1, entries[0]["result"]["attachments"]
    assert (depth, found["limits_hit"]) == (attachments.DEEPEST, ["attachment_depth"])


def test_the_same_file_twice_is_read_once():
    first, second = read(mail(("a.txt", b"the same text"), ("b.txt", b"the same text")))["content"]["attachments"]
    assert ("result" in first, "result" in second, first["sha256"] == second["sha256"]) == (True, False, True)


def test_a_damaged_file_in_a_mail_costs_only_itself():
    found = read(mail(("a.docx", archive({"word/document.xml": b"<oops"})), ("b.txt", b"fine")))
    assert warned(found) == ["attachment_unread"]
    assert found["content"]["attachments"][1]["result"]["text"] == "fine"


def test_a_document_of_the_old_office_in_a_mail_is_said_not_to_be_read():
    found = read(mail(("a.doc", compound({"WordDocument": b"x" * 600}))))
    assert found["content"]["warnings"][0]["cause"] == "dependency_missing"
