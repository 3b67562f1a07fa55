"""Rich text: what it says is read, what only weighs is left out, and no file makes it hang."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.document_formats.rtf import body_text
from processors.errors import FileError
from processors.file_types import sniff
from reading import read, text_of

FONTS = rb"{\fonttbl{\f0\fswiss\fcharset0 Arial;}{\f1\fcharset204 Arial Cyr;}{\f2\fcharset128 Mincho;}}"


def rich(body: bytes) -> bytes:
    """A document of rich text."""
    return rb"{\rtf1\ansi\ansicpg1252\deff0" + FONTS + body + b"}"


def page(body: bytes) -> dict:
    """Its one page."""
    return read(rich(body))["content"]["pages"][0]


def test_rich_text_is_told_by_its_content():
    assert sniff(io.BytesIO(rich(b"x")), "letter.txt") == "rtf"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"Caf\'e9", "Café"),
        (b"Caf\xe9", "Café"),
        (rb"{\f1 \'cf\'f0\'e8\'e2\'e5\'f2}", "Привет"),
        (rb"{\f2 \'83\'7c\'83\'93\'83\'76}", "ポンプ"),
        (rb"\u8364?20", "€20"),
        (rb"\uc2\u8364??20", "€20"),
        (rb"\u-10179?\u-8704?", "😀"),
        (rb"a\~b\emdash c\line d", "a\xa0b\u2014c\nd"),
        (rb"co\-operate", "cooperate"),
    ],
    ids=[
        "escape",
        "raw byte",
        "cyrillic font",
        "japanese font",
        "unicode",
        "two skipped",
        "two halves",
        "signs",
        "soft",
    ],
)
def test_characters_are_read_in_whichever_way_they_are_written(raw, text):
    assert page(raw + rb"\par")["text"] == text


def test_the_code_page_of_the_document_holds_where_no_font_says_otherwise():
    assert text_of(rb"{\rtf1\ansi\ansicpg1251 \'cf\'f0\'e8}") == "При"
    assert text_of(rb"{\rtf1\mac \'8e}") == "é"


def test_headings_lists_and_tables_come_in_their_order():
    content = read(
        rich(
            rb"\pard\outlinelevel0 Pumps\par\pard It works.\par"
            rb"{\listtext\'b7\tab}\pard\ilvl0 one\par{\listtext -\tab}\pard\ilvl1 two\par\pard"
            rb"\trowd\cellx1\cellx2\intbl Pump\cell Hours\cell\row"
            rb"\trowd\intbl North\cell 8\u8364?\cell\row\pard End.\par"
        )
    )["content"]
    assert content["pages"][0]["text"] == "Pumps\nIt works.\none\ntwo\nPump\tHours\nNorth\t8€\nEnd."
    assert content["pages"][0]["markdown"] == (
        "# Pumps\n\nIt works.\n\n- one\n  - two\n\n| Pump | Hours |\n| --- | --- |\n| North | 8€ |\n\nEnd."
    )
    assert content["outline"] == [{"title": "Pumps", "level": 1, "page": 1}]
    assert [one["rows"] for one in content["tables"]] == [[["Pump", "Hours"], ["North", "8€"]]]


def test_links_notes_heads_and_remarks_are_put_where_they_belong():
    content = read(
        rich(
            rb"{\header At the head\par}{\footer At the foot\par}See {\field{\*\fldinst{HYPERLINK "
            rb'"https://example.com/a"}}{\fldrslt{\ul the log}}}{\footnote In the log book.}.'
            rb"{\*\atnauthor Ann}\chatn{\*\annotation Is it?}\par"
        )
    )["content"]
    assert content["pages"][0]["text"] == "See the log.\nIn the log book.\nAt the head\nAt the foot"
    assert (content["pages"][0]["header"], content["pages"][0]["footer"]) == ("At the head", "At the foot")
    assert content["links"] == [{"text": "the log", "url": "https://example.com/a", "page": 1}]
    assert content["annotations"] == [{"type": "comment", "text": "Is it?", "author": "Ann", "page": 1}]


def test_what_a_document_says_about_itself_is_metadata():
    info = rb"{\info{\title Harbour pumps}{\author M\'fcller}{\creatim\yr2026\mo3\dy2\hr10\min5}}"
    metadata = read(rich(info + rb"x\par"))["content"]["metadata"]
    assert metadata == {
        "title": "Harbour pumps",
        "author": "Müller",
        "created": "2026-03-02T10:05:00",
        "encoding": "cp1252",
    }


def test_pictures_and_objects_are_left_out_whatever_their_bytes_look_like():
    pictures = rb"{\pict\bin6 }}}}}}}{\*\shppict{\pict 89504e47}}{\object\objdata 0105}{\*\themedata 504b}"
    assert page(b"before " + pictures + rb"after\par")["text"].split() == ["before", "after"]


def test_html_inside_of_rich_text_leaves_its_tags_and_its_doubles_out():
    doubles = rb"\htmlrtf {\par\htmlrtf0 It works.\htmlrtf }\htmlrtf0"
    raw = rb"{\rtf1\ansi\fromhtml1 {\*\htmltag64 <p>}" + doubles + rb"{\*\htmltag72 </p>}}"
    assert body_text(raw).strip() == "It works."


@pytest.mark.parametrize(
    "raw",
    [
        rb"\bin999999999 short",
        rb"\bin-5 short",
        rb"\u99999999999 short",
        rb"\uc\u\f-1\'zz short",
        rb"\ansicpg31337 short",
        rb"{\fonttbl{\f1\fcharset78 X;}{\f99999999\fcharset9999 Y;}}\f1 short",
        b"\\'1d\x1ds9\x1d\\u29 short",
        b"}}}} short",
    ],
    ids=["long data", "negative data", "no character", "half words", "code page", "fonts", "our own marks", "ends"],
)
def test_words_that_mean_nothing_cost_nothing_else(raw):
    page(raw)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b'{\\field{\\*\\fldinst HYPERLINK "x"}' * 450,
        b"\\trowd a\\cell" * 100_000,
        b"\\f1\\fcharset" * 200_000,
        b"{}" * 300_000,
        b"{\\pict " + b"00" * 5_000_000 + b"}",
    ],
    ids=["fields", "rows", "fonts", "groups", "picture"],
)
def test_a_document_made_to_cost_time_costs_little(body):
    page(body)


def test_groups_may_not_be_nested_without_end():
    with pytest.raises(FileError, match="more than 500 deep") as error:
        read(rich(b"{" * 100_000))
    assert error.value.code == "archive_depth"


WHOLE = rich(
    rb"{\info{\title T}}\pard\outlinelevel0 A\par\trowd\intbl b\cell\row{\footnote c}\u8364?\'e9{\pict 00}d\par"
)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(6, len(WHOLE) - 1), bytes_=st.binary(max_size=12))
def test_rich_text_with_wrong_bytes_is_read_or_refused(at, bytes_):
    try:
        read(WHOLE[:at] + bytes_ + WHOLE[at + len(bytes_) :], "x.rtf")
    except FileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are good
