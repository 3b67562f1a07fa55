"""OpenDocument: texts, sheets and slides are read with all they have, and no repetition makes them large."""

import io
import zipfile

import pytest

from processors.errors import FileError
from processors.file_types import sniff
from reading import archive, read, warned

NAMES = "".join(
    f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "style", "form", "presentation", "meta", "manifest")
) + (
    ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" xmlns:xlink="http://www.w3.org/1999/xlink"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
TYPES = {"odt": "text", "ods": "spreadsheet", "odp": "presentation"}


def document(kind: str, body: str, automatic: str = "", **members: str) -> bytes:
    """A document of a kind: what stands in its body, its automatic styles, and further members by name."""
    inner = f"<office:{TYPES[kind]}>{body}</office:{TYPES[kind]}>"
    content = f"<office:automatic-styles>{automatic}</office:automatic-styles><office:body>{inner}</office:body>"
    return archive(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{TYPES[kind]}".encode(),
            "content.xml": f"<office:document-content{NAMES}>{content}</office:document-content>".encode(),
            **{
                f"{name}.xml": f"<office:document-{name}{NAMES}>{value}</office:document-{name}>".encode()
                for name, value in members.items()
            },
        }
    )


def content_of(kind: str, body: str, automatic: str = "", **members: str) -> dict:
    """What is read of it."""
    return read(document(kind, body, automatic, **members))["content"]


@pytest.mark.parametrize("kind", TYPES)
def test_each_kind_is_told_by_the_type_that_it_says(kind):
    assert sniff(io.BytesIO(document(kind, "")), "x.zip") == kind


@pytest.mark.parametrize("name", ["meta", "styles"])
def test_a_damaged_part_that_the_text_does_not_need_costs_itself_alone(name):
    content = content_of("odt", "<text:p>It works.</text:p>", **{name: "<office:meta>"})
    assert content["pages"][0]["text"] == "It works."
    assert [one["code"] for one in content["warnings"]] == ["part_unreadable"]


def test_a_note_that_says_nothing_and_a_count_of_thousands_of_digits_cost_nothing():
    note = "<text:note><text:note-citation>1</text:note-citation></text:note>"
    content = content_of("odt", f"<text:p>It{note}<text:s text:c='{'9' * 5_000}'/>works.</text:p>")
    assert content["pages"][0]["text"] == "It[1]" + " " * 1_000 + "works."


def test_a_text_comes_in_its_order_as_text_and_as_markdown():
    content = content_of(
        "odt",
        '<text:h text:outline-level="2">Pumps</text:h><text:p>It <text:span>works</text:span>'
        '<text:s text:c="3"/>well<text:line-break/>again.</text:p>'
        "<text:list><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>two</text:p>"
        "</text:list-item></text:list></text:list-item></text:list>"
        "<table:table><table:table-header-rows><table:table-row><table:table-cell><text:p>Pump</text:p>"
        "</table:table-cell><table:table-cell><text:p>Hours</text:p></table:table-cell></table:table-row>"
        "</table:table-header-rows><table:table-row><table:table-cell><text:p>North</text:p></table:table-cell>"
        "<table:table-cell><text:p>812</text:p></table:table-cell></table:table-row></table:table>",
    )
    (page,) = content["pages"]
    assert page["text"] == "Pumps\nIt works   well\nagain.\none\ntwo\nPump\tHours\nNorth\t812"
    assert page["markdown"] == (
        "## Pumps\n\nIt works   well\nagain.\n\n- one\n  - two\n\n| Pump | Hours |\n| --- | --- |\n| North | 812 |"
    )
    assert content["outline"] == [{"title": "Pumps", "level": 2, "page": 1}]
    assert content["tables"][0]["rows"] == [["Pump", "Hours"], ["North", "812"]]


def test_links_notes_remarks_and_fields_stand_beside_the_text():
    content = content_of(
        "odt",
        '<office:forms><form:form><form:text form:name="owner" form:current-value="Ann"/>'
        '<form:password form:name="secret" form:value="hidden"/></form:form></office:forms>'
        '<text:p>See <text:a xlink:href="https://example.com/">the log</text:a><text:note><text:note-citation>1'
        "</text:note-citation><text:note-body><text:p>In the log book.</text:p></text:note-body></text:note>."
        "<office:annotation><dc:creator>Ann</dc:creator><text:p>Is it?</text:p></office:annotation></text:p>",
    )
    assert content["pages"][0]["text"] == "See the log[1].\n[1] In the log book."
    assert content["links"] == [{"text": "the log", "url": "https://example.com/", "page": 1}]
    assert content["annotations"] == [{"type": "comment", "text": "Is it?", "author": "Ann", "page": 1}]
    assert [(one["name"], one["type"], one["value"]) for one in content["forms"] if one["name"]] == [
        ("owner", "text", "Ann"),
        ("secret", "password", None),
    ]


def test_deleted_text_is_no_text_and_that_changes_are_tracked_is_said():
    content = content_of(
        "odt",
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region><text:changed-region><text:insertion/></text:changed-region></text:tracked-changes>"
        "<text:p>kept</text:p>",
    )
    assert content["pages"][0]["text"] == "kept"
    assert "1 insertions are part of the text, 1 deletions are not" in content["warnings"][0]["message"]


def test_metadata_heads_and_feet_are_read_from_their_own_parts():
    content = content_of(
        "odt",
        "<text:p>body</text:p>",
        meta="<office:meta><dc:title>Pumps</dc:title><meta:initial-creator>Ann</meta:initial-creator>"
        "<meta:keyword>a</meta:keyword><meta:keyword>b</meta:keyword></office:meta>",
        styles="<office:master-styles><style:master-page><style:header><text:p>Head</text:p></style:header>"
        "<style:footer><text:p>Foot</text:p></style:footer></style:master-page></office:master-styles>",
    )
    assert content["metadata"] == {"title": "Pumps", "author": "Ann", "keywords": "a, b"}
    (page,) = content["pages"]
    assert (page["text"], page["header"], page["footer"], page["markdown"]) == (
        "body\nHead\nFoot",
        "Head",
        "Foot",
        "body",
    )


def test_a_sheet_shows_values_dates_as_iso_and_what_is_hidden_is_said():
    content = content_of(
        "ods",
        '<table:table table:name="Hours" table:style-name="off"><table:table-row><table:table-cell><text:p>Day</text:p>'
        '</table:table-cell><table:table-cell office:value-type="date" office:date-value="2026-03-02"><text:p>2 March'
        '</text:p></table:table-cell></table:table-row><table:table-row table:number-rows-repeated="7">'
        "<table:table-cell/></table:table-row><table:table-row><table:table-cell/><table:table-cell><text:p>812</text:p>"
        "<office:annotation><dc:creator>Ann</dc:creator><text:p>sure?</text:p></office:annotation></table:table-cell>"
        "</table:table-row></table:table>",
        '<style:style style:name="off"><style:table-properties table:display="false"/></style:style>',
    )
    assert content["tables"][0]["rows"] == [["Day", "2026-03-02"], [""], ["", "812"]]
    assert content["pages"][0]["title"] == "Hours"
    assert [one["code"] for one in content["warnings"]] == ["hidden_sheet"]
    assert [one["text"] for one in content["annotations"]] == ["sure?"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filled", ["", "<text:p>x</text:p>"], ids=["empty", "filled"])
def test_a_cell_repeated_a_thousand_million_times_takes_no_room(filled):
    content = content_of(
        "ods",
        '<table:table table:name="big"><table:table-row table:number-rows-repeated="1000000000">'
        f'<table:table-cell table:number-columns-repeated="1000000000">{filled}</table:table-cell></table:table-row>'
        "</table:table>",
    )
    cells = sum(map(len, content["tables"][0]["rows"]))
    assert cells <= 1_000_000


def test_slides_are_pages_with_titles_notes_and_a_word_on_hidden_ones():
    content = content_of(
        "odp",
        '<draw:page draw:name="p1" draw:style-name="off"><draw:frame presentation:class="title"><draw:text-box>'
        "<text:p>Pumps</text:p></draw:text-box></draw:frame><presentation:notes><draw:frame><draw:text-box>"
        "<text:p>Thank the crew.</text:p></draw:text-box></draw:frame></presentation:notes></draw:page>"
        "<draw:page><draw:frame><draw:text-box><text:p>Two</text:p></draw:text-box></draw:frame></draw:page>",
        '<style:style style:name="off"><style:drawing-page-properties presentation:visibility="hidden"/></style:style>',
    )
    assert [(page["text"], page["title"]) for page in content["pages"]] == [
        ("Pumps\nThank the crew.", "Pumps"),
        ("Two", None),
    ]
    assert content["warnings"][0]["page"] == 1
    assert content["outline"] == [{"title": "Pumps", "level": 1, "page": 1}]


def test_pages_end_where_the_limit_does():
    found = read(document("odp", "<draw:page/>" * 5), max_pages=2)["content"]
    assert (len(found["pages"]), found["pages_skipped"], found["limits_hit"]) == (2, 3, ["max_pages"])


def test_an_encrypted_document_is_said_to_be_one():
    manifest = f"<manifest:manifest{NAMES}><manifest:encryption-data/></manifest:manifest>".encode()
    kind = b"application/vnd.oasis.opendocument.text"
    with pytest.raises(FileError, match="encrypted") as error:
        read(archive({"mimetype": kind, "META-INF/manifest.xml": manifest, "content.xml": b"\x93garbage"}))
    assert error.value.code == "encrypted"


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE l [<!ENTITY m SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY m "' + "&a;" * 10_000 + '">]>',
    ],
    ids=["reaching out", "growing"],
)
def test_entities_neither_grow_nor_reach_out(head):
    content = f"{head}<office:document-content{NAMES}><office:body><office:text><text:p>a&m;b</text:p></office:text>"
    content += "</office:body></office:document-content>"
    raw = archive({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": content.encode()})
    text = read(raw)["content"]["pages"][0]["text"]
    assert text in {"ab", "a"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<table:table><table:table-row><table:table-cell>" * 1_000, "damaged"),
        ("<text:p>" + "<text:span>" * 300 + "</text:span>" * 300 + "</text:p>", "depth"),
    ],
    ids=["unclosed", "deep"],
)
def test_damage_is_one_sentence(body, words):
    with pytest.raises(FileError, match=words) as error:
        read(document("odt", body))
    assert "\n" not in str(error.value)


def test_a_document_without_text_says_why():
    assert warned(read(document("odt", "<text:p/>"))) == ["no_text"]


def test_pictures_inside_are_listed_and_kept():
    stored = io.BytesIO(document("odt", "<text:p>x</text:p>"))
    with zipfile.ZipFile(stored, "a") as added:
        added.writestr("Pictures/a.png", b"\x89PNG\r\n\x1a\n rest")
    (picture,) = read(stored.getvalue())["content"]["attachments"]
    assert (picture["name"], picture["type"], picture["bytes"]) == ("a.png", "image/png", 13)
