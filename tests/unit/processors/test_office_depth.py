"""Office files and pages in depth: what stands beside the text is read, and what is hidden is said."""

import io
import socket
from datetime import date, datetime, time

import openpyxl
import pytest
from docx import Document
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI as DocxURI
from docx.opc.part import Part as DocxPart
from docx.oxml.ns import qn
from openpyxl.comments import Comment
from PIL import Image
from pptx import Presentation
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI

from processors.document_formats import archives
from processors.document_formats.blocks import Block, escaped, markdown_of, table_of
from processors.errors import FileError
from reading import archive, part, read, repacked, text_of, warned


def saved(document) -> bytes:
    """What a library writes."""
    stored = io.BytesIO()
    document.save(stored)
    return stored.getvalue()


def picture() -> io.BytesIO:
    """A small picture."""
    stored = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stored, "PNG")
    stored.seek(0)
    return stored


def with_body(xml: str) -> bytes:
    """A DOCX that begins with this."""
    document = part("report.docx", "word/document.xml").replace(b"<w:body>", b"<w:body>" + xml.encode())
    return repacked("report.docx", {"word/document.xml": document})


def run(text: str) -> str:
    """A run of text."""
    return f"<w:r><w:t>{text}</w:t></w:r>"


def field(instruction: str, shown: str, data: str = "") -> str:
    """A field as Word composes it."""
    marks = [f"<w:r><w:fldChar w:fldCharType='{kind}'>{{}}</w:fldChar></w:r>" for kind in ("begin", "separate", "end")]
    code = f"<w:r><w:instrText>{instruction}</w:instrText></w:r>"
    return marks[0].format(data) + code + marks[1].format("") + run(shown) + marks[2].format("")


# --- Markdown --------------------------------------------------------------------------------------------------


def test_blocks_become_markdown_of_their_kind():
    blocks = [
        Block("heading", "Pumps", 9),
        Block("paragraph", "It works."),
        Block("item", "one", 1),
        Block("item", "two\nlines", 2),
        Block("code", "a = `b`"),
        table_of([["a|b", "c\nd"], ["e"]]),
        Block("paragraph", "  "),
        table_of([]),
    ]
    assert markdown_of(blocks) == (
        "###### Pumps\n\nIt works.\n\n- one\n  - two\n    lines\n\n```\na = `b`\n```\n\n"
        "| a\\|b | c d |\n| --- | --- |\n| e |"
    )


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("# no heading", "\\# no heading"),
        ("#5 is a number", "#5 is a number"),
        ("- no item", "\\- no item"),
        ("1. no item", "1\\. no item"),
        ("> no quote", "\\> no quote"),
        ("a*b* [c] <d> `e`", "a\\*b\\* \\[c\\] \\<d> \\`e\\`"),
        ("--- a line", "\\--- a line"),
        ("3.5 metres", "3.5 metres"),
    ],
)
def test_text_is_not_taken_for_markdown(text, markdown):
    assert escaped(text) == markdown


# --- DOCX ------------------------------------------------------------------------------------------------------


def test_a_docx_is_markdown_with_headings_items_and_tables():
    document = Document()
    document.add_heading("Pumps", 2)
    document.add_paragraph("It works.")
    document.add_paragraph("one", style="List Bullet")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    assert read(saved(document))["content"]["pages"][0]["markdown"] == (
        "## Pumps\n\nIt works.\n\n- one\n\n| a | b |\n| --- | --- |"
    )


def test_links_of_every_making_are_listed():
    document = Document()
    paragraph = document.add_paragraph()
    relation = document.part.relate_to("https://example.com/a", RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    link = paragraph._p.makeelement(qn("w:hyperlink"), {})
    link.set(qn("r:id"), relation)
    link.append(paragraph.add_run("element")._r)
    paragraph._p.append(link)
    assert read(saved(document))["content"]["links"] == [{"text": "element", "url": "https://example.com/a", "page": 1}]
    simple = f"<w:p><w:fldSimple w:instr='HYPERLINK \"https://example.com/b\"'>{run('simple')}</w:fldSimple></w:p>"
    composed = f"<w:p>{field('HYPERLINK &quot;https://example.com/c&quot;', 'composed')}</w:p>"
    inside = f"<w:p><w:hyperlink w:anchor='here'>{run('inside')}</w:hyperlink></w:p>"
    assert [(one["text"], one["url"]) for one in read(with_body(simple + composed + inside))["content"]["links"]] == [
        ("simple", "https://example.com/b"),
        ("inside", "#here"),
        ("composed", "https://example.com/c"),
    ]


def test_heads_feet_and_comments_are_marked():
    document = Document()
    section = document.sections[0]
    section.header.paragraphs[0].text, section.footer.paragraphs[0].text = "At the head", "At the foot"
    document.add_comment(document.add_paragraph("The text.").runs, "Is it?", author="Ann")
    content = read(saved(document))["content"]
    (page,) = content["pages"]
    assert (page["header"], page["footer"], page["markdown"]) == ("At the head", "At the foot", "The text.")
    assert content["annotations"] == [{"type": "comment", "text": "Is it?", "author": "Ann", "page": 1}]


def test_tracked_changes_are_said():
    inserted = "".join(f"<w:ins w:id='{number}'>{run('new')}</w:ins>" for number in (1, 2))
    deleted = "<w:del w:id='3'><w:r><w:delText>old</w:delText></w:r></w:del>"
    found = read(with_body(f"<w:p>{inserted}{deleted}</w:p>"))
    assert warned(found) == ["tracked_changes"]
    assert "2 insertions are part of the text, 1 deletions are not" in found["content"]["warnings"][0]["message"]


def test_fields_of_forms_new_and_old_are_read():
    control = (
        "<w:sdt><w:sdtPr><w:alias w:val='Owner'/><w:text/></w:sdtPr>"
        f"<w:sdtContent><w:p>{run('Ann')}</w:p></w:sdtContent></w:sdt>"
    )
    check = (
        "<w:sdt xmlns:w14='http://schemas.microsoft.com/office/word/2010/wordml'><w:sdtPr><w:tag w:val='ready'/>"
        "<w14:checkbox><w14:checked w14:val='1'/></w14:checkbox></w:sdtPr><w:sdtContent><w:p/></w:sdtContent></w:sdt>"
    )
    contents = "<w:sdt><w:sdtPr><w:docPartObj/></w:sdtPr><w:sdtContent><w:p/></w:sdtContent></w:sdt>"
    named = "<w:ffData><w:name w:val='who'/></w:ffData>"
    unchecked = "<w:ffData><w:checkBox><w:default w:val='0'/></w:checkBox></w:ffData>"
    old = f"<w:p>{field('FORMTEXT', 'Bob', named)}</w:p>"
    box = f"<w:p>{field('FORMCHECKBOX', '', unchecked)}</w:p>"
    forms = read(with_body(control + check + contents + old + box))["content"]["forms"]
    assert [(one["name"], one["type"], one["value"]) for one in forms] == [
        ("Owner", "text", "Ann"),
        ("ready", "checkbox", True),
        ("who", "text", "Bob"),
        (None, "checkbox", False),
    ]


def test_pictures_in_a_document_are_listed_and_kept():
    document = Document()
    document.add_picture(picture())
    kept = read(saved(document))["content"]
    assert [one["type"] for one in kept["attachments"]] == ["image/png"]
    assert kept["made"][0]["sha256"] == kept["attachments"][0]["sha256"]


# --- XLSX ------------------------------------------------------------------------------------------------------


def workbook() -> bytes:
    """A workbook with all that a sheet may have beside its values."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Hours"
    sheet["A1"], sheet["B2"] = "Pump", date(2026, 3, 2)
    sheet["C2"], sheet["D2"] = datetime.fromisoformat("2026-03-02T10:05"), time(10, 5)
    sheet.merge_cells("A1:D1")
    sheet["A2"] = "log"
    sheet["A2"].hyperlink = "https://example.com/"
    sheet["A2"].comment = Comment("sure?", "Ann")
    for state in ("hidden", "veryHidden"):
        hidden = book.create_sheet(state)
        hidden["A1"], hidden.sheet_state = "secret", state
    return saved(book)


def test_a_sheet_has_its_merged_cells_links_comments_and_dates():
    content = read(workbook())["content"]
    table = content["tables"][0]
    assert table["merged"] == ["A1:D1"]
    assert table["rows"] == [["Pump"], ["log", "2026-03-02", "2026-03-02T10:05:00", "10:05:00"]]
    assert content["links"] == [{"text": "A2", "url": "https://example.com/", "cell": "A2", "page": 1}]
    assert content["annotations"] == [{"type": "comment", "text": "sure?", "author": "Ann", "cell": "A2", "page": 1}]
    assert content["pages"][0]["markdown"].startswith("| Pump |  |  |  |\n| --- |")


def test_hidden_sheets_are_read_and_said():
    content = read(workbook())["content"]
    assert [one["page"] for one in content["warnings"]] == [2, 3]
    assert content["pages"][1]["text"] == "secret"


def test_the_rows_of_a_large_sheet_are_not_kept_to_find_what_follows_them():
    row = "<row><c t='inlineStr'><is><t>x</t></is></c></row>"
    sheet = (
        "<worksheet xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'><sheetData>"
        f"{row * 50_000}</sheetData><mergeCells><mergeCell ref='A1:B2'/></mergeCells></worksheet>"
    )
    content = read(repacked("hours.xlsx", {"xl/worksheets/sheet1.xml": sheet.encode()}), max_characters=100)["content"]
    assert content["tables"][0]["merged"] == ["A1:B2"]


# --- PPTX ------------------------------------------------------------------------------------------------------


def deck() -> Presentation:
    """A slide with a title, items, a link, a table and notes."""
    made = Presentation()
    slide = made.slides.add_slide(made.slide_layouts[1])
    slide.shapes.title.text = "Pumps"
    frame = slide.placeholders[1].text_frame
    frame.text = "one"
    second = frame.add_paragraph()
    second.text, second.level = "two", 1
    run_ = second.add_run()
    run_.text, run_.hyperlink.address = " linked", "https://example.com/"
    table = slide.shapes.add_table(1, 2, 0, 0, 10, 10).table
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    slide.notes_slide.notes_text_frame.text = "Thank the crew."
    slide.shapes.add_picture(picture(), 0, 0)
    return made


def test_a_slide_is_markdown_with_its_table_notes_and_links():
    content = read(saved(deck()))["content"]
    assert (
        content["pages"][0]["markdown"]
        == "# Pumps\n\n- one\n  - two linked\n\n| a | b |\n| --- | --- |\n\nThank the crew."
    )
    assert content["links"] == [{"text": " linked", "url": "https://example.com/", "page": 1}]
    assert content["outline"] == [{"title": "Pumps", "level": 1, "page": 1}]
    assert [one["type"] for one in content["attachments"]] == ["image/png"]


def test_a_hidden_slide_is_read_and_said():
    made = deck()
    made.slides[0]._element.set("show", "0")
    found = read(saved(made))
    assert warned(found) == ["hidden_slide"]
    assert found["content"]["pages"][0]["title"] == "Pumps"


def with_diagram(kind: str, data: bytes, relation: str = RELATIONSHIP_TYPE.DIAGRAM_DATA) -> bytes:
    """A document that says "Steps" and has a diagram, or another part, of these data."""
    if kind == "pptx":
        made = Presentation()
        slide = made.slides.add_slide(made.slide_layouts[5])
        slide.shapes.title.text = "Steps"
        whole, new = slide.part, Part(PackURI("/ppt/diagrams/data1.xml"), "application/xml", slide.part.package, data)
    else:
        made = Document()
        made.add_paragraph("Steps")
        whole, new = made.part, DocxPart(DocxURI("/word/diagrams/data1.xml"), "application/xml", data)
    whole.relate_to(new, relation)
    return saved(made)


@pytest.mark.parametrize("kind", ["docx", "pptx"])
def test_what_a_diagram_says_is_text(kind):
    points = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in ("Fill the tank", "Open the valve", ""))
    name = "http://schemas.openxmlformats.org/drawingml/2006/"
    data = f"<dgm:dataModel xmlns:dgm='{name}diagram' xmlns:a='{name}main'>{points}</dgm:dataModel>".encode()
    assert text_of(with_diagram(kind, data)).splitlines() == ["Steps", "Fill the tank", "Open the valve"]


@pytest.mark.parametrize("data", [b"", b"<broken"])
@pytest.mark.parametrize(
    ("kind", "relation"),
    [
        ("docx", RELATIONSHIP_TYPE.DIAGRAM_DATA),
        ("docx", RELATIONSHIP_TYPE.FOOTNOTES),
        ("docx", RELATIONSHIP_TYPE.COMMENTS),
        ("pptx", RELATIONSHIP_TYPE.DIAGRAM_DATA),
        ("pptx", RELATIONSHIP_TYPE.COMMENTS),
    ],
)
def test_a_damaged_part_beside_the_text_costs_only_itself(kind, relation, data):
    found = read(with_diagram(kind, data, relation))
    assert found["content"]["pages"][0]["text"] == "Steps"
    assert [(one["code"], one["page"]) for one in found["content"]["warnings"]] == [("part_unreadable", 1)]


def test_comments_on_a_slide_are_annotations():
    made = deck()
    namespace = "xmlns:p='http://schemas.openxmlformats.org/presentationml/2006/main'"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    for owner, kind, xml in (
        (made.part, "commentAuthors", f"<p:cmAuthorLst {namespace}><p:cmAuthor id='0' name='Ann'/></p:cmAuthorLst>"),
        (
            made.slides[0].part,
            "comments",
            f"<p:cmLst {namespace}><p:cm authorId='0'><p:text>sure?</p:text></p:cm></p:cmLst>",
        ),
    ):
        added = Part(PackURI(f"/ppt/{kind}.xml"), "application/xml", made.part.package, xml.encode())
        owner.relate_to(added, f"{relations}/{kind}")
    assert read(saved(made))["content"]["annotations"] == [
        {"type": "comment", "text": "sure?", "author": "Ann", "page": 1}
    ]


# --- Pages and tables ------------------------------------------------------------------------------------------

PAGE = b"""<!doctype html><title>T</title><h2>Pumps</h2><p>It <b>works</b>.<ul><li>one<ul><li>two</ul></ul>
<pre>a  = 1
b</pre><table><tr><th colspan=2>Wide<th>Last<tr><td>1<td>2<td>3</table><a href="https://example.com/a">the log</a>
<form><input name=who value=Ann><input type=password name=key value=secret><input type=checkbox name=ok checked>
<select name=pump><option>North<option selected>South</select><textarea name=note>fine</textarea><input type=submit>
</form>"""


def test_a_page_is_markdown_with_headings_lists_code_and_tables():
    markdown = read(PAGE)["content"]["pages"][0]["markdown"]
    assert markdown.startswith(
        "## Pumps\n\nIt works.\n\n- one\n  - two\n\n```\na  = 1\nb\n```\n\n"
        "| Wide |  | Last |\n| --- | --- | --- |\n| 1 | 2 | 3 |"
    )


def test_a_page_has_links_and_fields_but_no_passwords():
    content = read(PAGE)["content"]
    assert content["links"] == [{"text": "the log", "url": "https://example.com/a", "page": 1}]
    assert [(one["name"], one["type"], one["value"]) for one in content["forms"]] == [
        ("who", "text", "Ann"),
        ("key", "password", None),
        ("ok", "checkbox", True),
        ("pump", "select", "South"),
        ("note", "textarea", "fine"),
    ]


def test_nothing_that_a_page_refers_to_is_fetched(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("reached out"))
    outside = b"<base href='http://192.0.2.1/'><link rel=stylesheet href=a.css><img src=b.png><iframe src=c></iframe>"
    page = b"<html>" + outside + b"<p>x"
    assert text_of(page) == "x"


def test_tables_in_tables_are_read_to_any_depth():
    page = b"<html>" + b"<table><tr><td>" * 2_000 + b"deep"
    assert text_of(page) == "deep"


def test_a_csv_and_a_markdown_file_are_markdown():
    assert read(b"a,b\n1,2\n", "x.csv")["content"]["pages"][0]["markdown"] == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert read(b"# One\n\n*two*\n", "x.md")["content"]["pages"][0]["markdown"] == "# One\n\n*two*\n"


# --- Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("odt", {"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"x"}),
        ("epub", {"mimetype": b"application/epub+zip", "META-INF/container.xml": b"x"}),
        ("docx", {"word/document.xml": b"x"}),
    ],
)
def test_a_part_that_unpacks_to_far_more_than_it_is_is_refused(kind, members, monkeypatch):
    monkeypatch.setattr(archives, "RATIO_FROM_BYTES", 1024**2)
    with pytest.raises(FileError) as error:
        read(archive(members | {"bomb": bytes(4 * 1024**2)}), f"x.{kind}")
    assert error.value.code == "archive_ratio"


def test_names_of_members_that_climb_lead_nowhere():
    raw = repacked("report.docx", {"word/../../../etc/x.xml": b"<x/>", "/word/media/y.png": b"z"})
    assert "812 hours" in text_of(raw)


def test_a_slide_that_misses_what_its_library_needs_is_one_sentence():
    relations = part("slides.pptx", "ppt/_rels/presentation.xml.rels").replace(b"Target=", b"Tarjet=", 1)
    with pytest.raises(FileError, match="The pptx document is damaged and cannot be read") as error:
        read(repacked("slides.pptx", {"ppt/_rels/presentation.xml.rels": relations}))
    assert error.value.code == "corrupt"


def test_broken_xml_of_a_slide_is_one_sentence():
    broken = part("slides.pptx", "ppt/slides/slide1.xml")[:-40]
    with pytest.raises(FileError, match="The pptx document is damaged and cannot be read") as error:
        read(repacked("slides.pptx", {"ppt/slides/slide1.xml": broken}))
    assert "\n" not in str(error.value)
