"""PDF in depth: what stands beside the text, what runs along pages, Markdown, tables, and which text says something."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from processors.document_formats import attachments, pdf_tables
from processors.document_formats.content import Content
from processors.document_formats.pdf_pictures import in_columns, read_upright
from processors.document_formats.pdf_text import usable
from processors.document_reading import draw_pages, read_pictures, read_tables
from processors.interfaces import TextLine
from reading import pdf, read, silent

SENTENCE = "The pump moved water all night, as it should, and nobody had to look after it."


def drawn(*pages, **more) -> bytes:
    """A PDF of pages that are drawn by functions of a canvas."""
    stored = io.BytesIO()
    canvas = Canvas(stored, pagesize=A4, **more)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return stored.getvalue()


def grid(canvas, left, top, rows, width=80, height=20) -> None:
    """Draw a table with lines around its cells."""
    right, bottom = left + width * len(rows[0]), top - height * len(rows)
    for n in range(len(rows) + 1):
        canvas.line(left, top - n * height, right, top - n * height)
    for n in range(len(rows[0]) + 1):
        canvas.line(left + n * width, top, left + n * width, bottom)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            canvas.drawString(left + x * width + 4, top - y * height - 14, cell)


def tables_of(raw: bytes, **more) -> dict:
    content = read(raw)["content"]
    options = {"pages": content["table_pages"], "layout": content["layout"], "seconds": 60.0, "password": None}
    return read_tables(io.BytesIO(raw), options | more, silent)["content"]


def with_objects(raw: bytes, catalog: bytes, *objects: bytes) -> bytes:
    """A PDF to whose catalog a piece is added, and objects from number 90 on; the reader mends its table of places."""
    added = b"".join(b"%d 0 obj\n%s\nendobj\n" % (90 + n, one) for n, one in enumerate(objects))
    raw = raw.replace(b"/Type /Catalog", b"/Type /Catalog " + catalog, 1)
    return raw.replace(b"xref\n", added + b"xref\n", 1)


def with_files(raw: bytes, *files: tuple[str, bytes]) -> bytes:
    """A PDF with files attached to it."""
    names = b" ".join(b"(%s) %d 0 R" % (name.encode(), 90 + 2 * n) for n, (name, _) in enumerate(files))
    objects = []
    for n, (name, content) in enumerate(files):
        objects += [
            b"<< /Type /Filespec /F (%s) /UF (%s) /EF << /F %d 0 R >> >>" % (name.encode(), name.encode(), 91 + 2 * n),
            b"<< /Type /EmbeddedFile /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        ]
    return with_objects(raw, b"/Names << /EmbeddedFiles << /Names [%s] >> >>" % names, *objects)


# --- Beside the text -------------------------------------------------------------------------------------------


def test_links_lead_to_addresses_and_to_pages():
    def first(canvas):
        canvas.drawString(72, 700, "our harbour")
        canvas.linkURL("https://example.com/pumps", (70, 695, 140, 712))
        canvas.drawString(72, 600, "see page two")
        canvas.linkAbsolute("", "two", (70, 595, 150, 612))

    def second(canvas):
        canvas.bookmarkPage("two")
        canvas.drawString(72, 700, "Page two")

    assert read(drawn(first, second))["content"]["links"] == [
        {"text": "our harbour", "url": "https://example.com/pumps", "page": 1},
        {"text": "see page two", "url": "#page=2", "page": 1},
    ]


def test_fields_of_a_form_have_their_type_and_value_and_a_password_is_not_shown():
    def page(canvas):
        canvas.drawString(72, 780, "A form")
        form = canvas.acroForm
        form.textfield(name="pump", value="North", x=72, y=700)
        form.textfield(name="code", value="4711", x=72, y=650, fieldFlags="password")
        form.checkbox(name="runs", checked=True, x=72, y=600)
        form.choice(name="state", value="good", options=["good", "bad"], x=72, y=550)
        form.radio(name="side", value="left", selected=True, x=72, y=500)
        form.radio(name="side", value="right", selected=False, x=112, y=500)

    assert read(drawn(page))["content"]["forms"] == [
        {"name": "pump", "type": "text", "value": "North", "page": 1},
        {"name": "code", "type": "text", "value": None, "page": 1},
        {"name": "runs", "type": "checkbox", "value": True, "page": 1},
        {"name": "state", "type": "choice", "value": "good", "page": 1},
        {"name": "side", "type": "radio", "value": "left", "page": 1},
    ]


def test_an_xfa_form_is_said_to_be_one():
    raw = with_objects(
        pdf("A form"), b"/AcroForm << /Fields [] /XFA 90 0 R >>", b"<< /Length 7 >>\nstream\n<xdp/> \nendstream"
    )
    assert "xfa_form" in [one["code"] for one in read(raw)["content"]["warnings"]]


def test_annotations_have_their_text_and_author():
    def page(canvas):
        canvas.drawString(72, 700, "marked words")
        canvas.textAnnotation("Is that right?", (300, 690, 320, 710))
        canvas.highlightAnnotation("", (70, 695, 150, 712))

    raw = drawn(page).replace(b"/Contents (Is", b"/T (Ann) /Contents (Is")
    notes = {one["type"]: one for one in read(raw)["content"]["annotations"]}
    assert notes["note"] == {"type": "note", "text": "Is that right?", "author": "Ann", "page": 1}
    assert notes["highlight"]["text"] == "marked words"


def test_attached_files_are_described_kept_and_read():
    inner = pdf("A page inside")
    content = read(with_files(pdf("Outside"), ("inner.pdf", inner), ("odd.bin", b"\0\1\2")))["content"]
    document, other = content["attachments"]
    assert (document["name"], document["bytes"]) == ("inner.pdf", len(inner))
    assert document["sha256"] == hashlib.sha256(inner).hexdigest()
    assert (document["result"]["kind"], document["result"]["text"]) == ("pdf", "A page inside")
    assert "result" not in other
    assert [(one["kind"], one["name"]) for one in content["made"]] == [
        ("attachment", "inner.pdf"),
        ("attachment", "odd.bin"),
    ]


def test_attachments_in_attachments_are_read_to_a_depth_and_said_beyond_it():
    raw = pdf("Level 0")
    for level in range(1, 8):
        raw = with_files(pdf(f"Level {level}"), ("inner.pdf", raw))
    content = read(raw)["content"]
    depth, inside = 0, content["attachments"]
    while inside and "result" in inside[0]:
        depth, inside = depth + 1, inside[0]["result"]["attachments"]
    assert depth == attachments.DEEPEST
    assert content["limits_hit"] == ["attachment_depth"]


def test_a_file_that_holds_itself_is_read_once():
    reads = []

    def itself(raw, name):
        reads.append(name)
        content = Content()
        content.attached.append(attachments.Attached("again.pdf", raw))
        return "pdf", content

    outer = Content()
    outer.attached.append(attachments.Attached("self.pdf", b"x"))
    attachments.Attachments(itself, "other").open(outer)
    assert reads == ["self.pdf"]
    (entry,) = outer.attachments
    assert [one["name"] for one in entry["result"]["attachments"]] == ["again.pdf"]


def test_an_attached_document_that_cannot_be_read_is_a_warning():
    content = read(with_files(pdf("Outside"), ("broken.pdf", b"%PDF-1.7 and nothing more")))["content"]
    (warning,) = content["warnings"]
    assert (warning["code"], warning["cause"]) == ("attachment_unread", "corrupt")
    assert content["pages"][0]["text"] == "Outside"


def test_pages_that_hold_themselves_and_a_hundred_thousand_pages_end_in_time():
    looping = (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        b"2 0 obj\n<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 4 >>\nendobj\ntrailer << /Root 1 0 R >>\n"
    )
    content = read(looping)["content"]
    assert (content["pages"], {one["code"] for one in content["errors"]}) == ([], {"page_failed"})
    kids = b"3 0 R " * 100_000
    many = (
        b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
        b"2 0 obj\n<< /Type /Pages /Kids [" + kids + b"] /Count 100000 >>\nendobj\n"
        b"3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>\nendobj\ntrailer << /Root 1 0 R >>\n"
    )
    content = read(many, max_pages=20)["content"]
    assert (len(content["pages"]), content["limits_hit"], content["pages_skipped"]) == (20, ["max_pages"], 99_980)


# --- Layout ----------------------------------------------------------------------------------------------------


def test_what_runs_along_the_pages_is_marked_and_kept_out_of_the_markdown():
    def page(number):
        def draw(canvas):
            canvas.drawString(72, 810, "Harbour office, pumps")
            for line in range(10):
                canvas.drawString(72, 700 - 15 * line, f"{SENTENCE} {number * 10 + line}")
            canvas.drawString(280, 30, f"Page {number}")

        return draw

    pages = read(drawn(*map(page, range(1, 6))))["content"]["pages"]
    assert [(one["header"], one["footer"]) for one in pages] == [
        ("Harbour office, pumps", f"Page {n}") for n in range(1, 6)
    ]
    assert all("Harbour office" in one["text"] and "Harbour office" not in one["markdown"] for one in pages)
    assert all(f"Page {one['n']}" not in one["markdown"] for one in pages)


def test_larger_letters_are_headings_and_lines_are_joined_to_paragraphs():
    def page(canvas):
        canvas.setFont("Helvetica-Bold", 24)
        canvas.drawString(72, 700, "Harbour pumps")
        canvas.setFont("Helvetica-Bold", 16)
        canvas.drawString(72, 660, "North")
        canvas.setFont("Helvetica", 11)
        for n, line in enumerate(
            ("The north pump ran for all of the nights of", "this winter, and nobody saw it stop or inter-")
        ):
            canvas.drawString(72, 630 - 14 * n, line)
        canvas.drawString(72, 602, "rupt its work.")
        for n, line in enumerate(("\u2022 It is a_new one.", "\u2022 It is loud.")):
            canvas.drawString(72, 570 - 14 * n, line)
        canvas.drawString(72, 530, "1. First of all, clean it.")
        canvas.drawString(72, 490, "Another paragraph that stands alone.")

    (one,) = read(drawn(page))["content"]["pages"]
    assert one["markdown"].split("\n\n") == [
        "# Harbour pumps",
        "## North",
        "The north pump ran for all of the nights of this winter, and nobody saw it stop or interrupt its work.",
        "- It is a\\_new one.",
        "- It is loud.",
        "1. First of all, clean it.",
        "Another paragraph that stands alone.",
    ]


def test_a_page_that_is_turned_to_be_read_is_laid_out_as_it_is_read():
    def page(canvas):
        canvas.setPageRotation(90)
        canvas.rotate(90)
        canvas.setFont("Helvetica", 20)
        canvas.drawString(100, -100, "A heading")
        canvas.setFont("Helvetica", 11)
        for line in range(3):
            canvas.drawString(100, -150 - 14 * line, SENTENCE)

    (one,) = read(drawn(page))["content"]["pages"]
    assert one["rotation"] == 90
    assert one["markdown"].split("\n\n") == ["# A heading", " ".join([SENTENCE] * 3)]


def test_what_would_be_markup_in_markdown_is_shown_as_it_is():
    (one,) = read(pdf("# 1 < 2 and *all* of [it] <script>"))["content"]["pages"]
    assert one["markdown"] == "\\# 1 \\< 2 and \\*all\\* of \\[it\\] \\<script>"


# --- Tables ----------------------------------------------------------------------------------------------------

ROWS = [["Pump", "Hours", "State"], ["North", "812", "good"], ["South", "790", "bad"]]


def test_a_table_between_lines_has_its_rows_place_and_markdown():
    def page(canvas):
        canvas.drawString(72, 760, "Before the table there is a line.")
        grid(canvas, 72, 700, ROWS)
        canvas.drawString(72, 500, "After the table there is another.")

    raw = drawn(page, lambda canvas: canvas.drawString(72, 700, "No table"))
    assert read(raw)["content"]["table_pages"] == [1]
    content = tables_of(raw)
    (table,) = content["tables"]
    assert (table["page"], table["rows"]) == (1, ROWS)
    assert table["bbox"] == pytest.approx([72 / 595.28, 142 / 841.89, 312 / 595.28, 202 / 841.89], abs=0.003)
    assert content["pages"][0]["markdown"].split("\n\n") == [
        "Before the table there is a line.",
        "| Pump | Hours | State |\n| --- | --- | --- |\n| North | 812 | good |\n| South | 790 | bad |",
        "After the table there is another.",
    ]


@pytest.mark.parametrize("turn", [90, -90])
def test_a_table_that_lies_on_its_side_is_read_as_rows(turn):
    def page(canvas):
        canvas.translate(300, 400)
        canvas.rotate(turn)
        grid(canvas, -100, 80, ROWS)

    (table,) = tables_of(drawn(page))["tables"]
    assert table["rows"] == ROWS


def test_the_search_for_tables_ends_in_time_and_says_so():
    content = tables_of(drawn(lambda canvas: grid(canvas, 72, 700, ROWS)), seconds=0.0)
    assert (content["tables"], content["limits_hit"]) == ([], ["table_seconds"])


def test_a_page_whose_tables_cannot_be_told_costs_only_itself(monkeypatch):
    def broken(page):
        if page.page_number == 1:
            raise ValueError("odd")
        return found(page)

    found = pdf_tables._tables
    monkeypatch.setattr(pdf_tables, "_tables", broken)
    content = tables_of(drawn(*[lambda canvas: grid(canvas, 72, 700, ROWS)] * 2))
    assert [one["page"] for one in content["errors"]] == [1]
    assert [one["page"] for one in content["tables"]] == [2]


# --- Which text is worth reading -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        "Größe der Schläuche: fünf Zoll. Die Pumpe läuft über Nacht weiter, wie sie soll.",
        "4711 0815 12.5 1999-12-31 " * 20,
        "北边的水泵又开始运转了。" * 10,
        "Насос снова работает, и начальник порта доволен. " * 5,
        "Strč prst skrz krk. Příliš žluťoučký kůň úpěl ďábelské ódy na nádvoří hradu.",
        "Máy bơm nước lại chạy suốt đêm như thường lệ, và ông chủ cảng rất hài lòng.",
    ],
)
def test_text_of_any_language_is_worth_reading(text):
    assert usable(text)


@pytest.mark.parametrize(
    "text",
    [
        "".join(chr(ord(letter) - 29) for letter in SENTENCE * 3),
        "".join(chr(0xE000 + ord(letter)) for letter in SENTENCE),
        "\ufffd" * 10 + "a",
        "Thpmpmvdwtrllnghtsthshldndnbdyhdtlkftrt " * 5,
        SENTENCE.replace(" ", "") * 5,
        ("Größe für Wärmepumpen läßt " * 5).encode().decode("cp1252"),
    ],
    ids=["shifted", "private", "replaced", "no vowels", "no spaces", "mojibake"],
)
def test_a_text_layer_that_means_nothing_is_not(text):
    assert not usable(text)


# --- Pictures --------------------------------------------------------------------------------------------------


class Reader:
    """Reads a picture whose upper left corner is dark as one that stands upright, another with little confidence."""

    name, version = "corner", "1"

    def __init__(self):
        self.reads = 0

    def read(self, pixels):
        self.reads += 1
        upright = pixels[:20, :20].mean() < 100
        box = (0.1, 0.1, 0.9, 0.15) if upright else (0.1, 0.1, 0.12, 0.9)
        return [TextLine("A line that is read", 0.95 if upright else 0.3, box)]


def scan(turn: int = 0) -> bytes:
    """A page of nothing but a picture that has been turned anticlockwise."""
    picture = Image.new("RGB", (400, 400), "white")
    picture.paste("black", (0, 0, 60, 60))

    def page(canvas):
        canvas.drawImage(ImageReader(picture.rotate(turn)), 0, 0, 400, 400)

    stored = io.BytesIO()
    canvas = Canvas(stored, pagesize=(400, 400))
    page(canvas)
    canvas.save()
    return stored.getvalue()


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_scan_is_turned_until_it_is_read(turn):
    content = read_pictures(io.BytesIO(scan(turn)), {"pages": [1], "password": None}, silent, Reader())["content"]
    (page,) = content["pages"]
    assert (page["rotation"], page["confidence"], page["source"]) == (turn, 0.95, "ocr")


def test_a_page_that_is_read_well_is_read_once():
    reader = Reader()
    read_pictures(io.BytesIO(scan()), {"pages": [1], "password": None}, silent, reader)
    assert reader.reads == 1


def test_lines_that_stood_upside_down_come_in_the_order_in_which_they_are_read():
    class UpsideDown:
        def read(self, pixels):
            return [
                TextLine("second", 0.9, (0.5, 0.1, 0.9, 0.2), upside_down=True),
                TextLine("first", 0.9, (0.5, 0.8, 0.9, 0.9), upside_down=True),
            ]

    turn, lines = read_upright(np.zeros((10, 10, 3), dtype="uint8"), UpsideDown())
    assert (turn, [line.text for line in lines]) == (180, ["first", "second"])
    assert lines[0].box == pytest.approx((0.1, 0.1, 0.5, 0.2))


def test_columns_are_read_one_after_another_and_rows_stay_rows():
    def line(text, left, right, top):
        return TextLine(text, 0.9, (left, top, right, top + 0.02))

    title = line("title", 0.1, 0.9, 0.05)
    left = [line(f"left {n}", 0.1, 0.45, 0.1 + 0.03 * n) for n in range(4)]
    right = [line(f"right {n}", 0.55, 0.9, 0.1 + 0.03 * n) for n in range(4)]
    rows = [title, *(one for pair in zip(left, right, strict=True) for one in pair)]
    assert in_columns(rows) == [title, *left, *right]
    cells = [line(f"{n}{side}", x, x + 0.08, 0.1 + 0.03 * n) for n in range(4) for side, x in (("a", 0.1), ("b", 0.5))]
    assert in_columns(cells) == cells


def test_a_big_picture_beside_little_text_is_read_too():
    def page(canvas):
        canvas.drawImage(ImageReader(Image.new("RGB", (60, 60), "grey")), 50, 100, 500, 600)
        canvas.drawString(72, 800, "Scanned by the harbour office")

    assert read(drawn(page))["content"]["picture_pages"] == [1]
    assert read(drawn(lambda canvas: canvas.drawString(72, 700, SENTENCE)))["content"]["picture_pages"] == []


def test_a_page_that_shows_nothing_of_itself_costs_no_other_one_its_picture():
    class NoText:
        name, version = "none", "1"

        def read(self, pixels):
            return []

    stored = io.BytesIO()
    canvas = Canvas(stored)
    for place in (0, 9000, 0):
        canvas.setCropBox((place, place, place + 100, place + 100))
        canvas.showPage()
    canvas.save()
    asked = {"pages": [1, 2, 3], "password": None}
    drawn = draw_pages(io.BytesIO(stored.getvalue()), asked, silent)["content"]
    assert [one["page"] for one in drawn["made"]] == [1, 3]
    assert [(one["code"], one["page"]) for one in drawn["warnings"]] == [("no_page_image", 2)]
    seen = read_pictures(io.BytesIO(stored.getvalue()), asked, silent, NoText())["content"]
    assert [page["n"] for page in seen["pages"]] == [1, 3]
    assert [(one["code"], one["page"]) for one in seen["errors"]] == [("page_failed", 2)]


@pytest.mark.parametrize("size", [A4, (35_000, 35_000), (3, 14_000)])
def test_the_picture_of_a_page_is_small_whatever_its_size(size):
    stored = io.BytesIO()
    canvas = Canvas(stored, pagesize=size)
    canvas.drawString(1, 1, "x")
    canvas.save()
    (image,) = draw_pages(io.BytesIO(stored.getvalue()), {"pages": [1], "password": None}, silent)["content"]["made"]
    assert (image["kind"], image["mime"]) == ("page_image", "image/webp")
    assert max(image["width"], image["height"]) in range(990, 1011)
