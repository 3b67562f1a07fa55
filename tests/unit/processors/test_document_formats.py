"""Formats: what people really have in their files is read, and what is left out is said."""

import hashlib
import io
import lzma
import struct
from email.message import EmailMessage

import openpyxl
import pytest
from docx import Document
from hypothesis import given, settings
from hypothesis import strategies as st
from pptx import Presentation
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from examples.celery_example import SAMPLES
from processors import document_reading
from processors.document_formats import mail as mail_reading
from processors.errors import FileError
from processors.file_types import sniff
from reading import archive, part, pdf, read, repacked, text_of, warned

ENTITIES = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "hahahahaha">' + b"".join(
    b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12)
)
BOMB = ENTITIES + b"]>"
NO_WORDS = b"<w:document xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:body/></w:document>"
REACHING_OUT = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY m SYSTEM "file:///etc/passwd">]>'


def body(xml: bytes) -> bytes:
    """An XML part without its declaration."""
    return xml[xml.index(b"<", xml.index(b"?>") + 1) :] if xml.startswith(b"<?xml") else xml


# --- Kinds -----------------------------------------------------------------------------------------------------


def test_a_mail_of_html_is_a_mail():
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "Pumps"
    mail.set_content("<html><body><p>It <b>works</b> again.</p></body></html>", subtype="html")
    assert read(mail.as_bytes())["kind"] == "eml"
    assert text_of(mail.as_bytes()) == "It works again."


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"A PDF begins with %PDF-1.7, as everybody knows.", "text"),
        (b"<?xml version='1.0'?><root><header>x</header></root>", "text"),
        (b"\n%PDF-1.7", "pdf"),
        (b"\xef\xbb\xbf%PDF-1.7", "pdf"),
        (archive({"word/document2.xml": b"<x/>"}), "docx"),
    ],
    ids=range(5),
)
def test_a_word_of_another_format_does_not_make_a_file_that_format(raw, kind):
    assert sniff(io.BytesIO(raw), "file") == kind


def test_what_only_looks_like_a_document_is_not_read_as_one():
    with pytest.raises(FileError, match="application/zip; read are") as error:
        read(archive({"xl/workbook.bin": b"x"}))
    assert error.value.code == "unsupported_type"


def test_a_document_with_macros_is_told_apart_from_a_damaged_one():
    types = part("report.docx", "[Content_Types].xml").replace(
        b"vnd.openxmlformats-officedocument.wordprocessingml.document.main", b"vnd.ms-word.document.macroEnabled.main"
    )
    with pytest.raises(FileError, match="has macros or is a template") as error:
        read(repacked("report.docx", {"[Content_Types].xml": types}))
    assert error.value.code == "unsupported_type"


# --- Text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_wide_text_without_a_mark_is_text(encoding):
    assert text_of("Größe der Schläuche: vierzig Meter.\r\n".encode(encoding)).startswith("Größe der Schläuche")


def test_wide_numbers_are_not_text():
    with pytest.raises(FileError) as error:
        read(b"".join(n.to_bytes(2, "little") for n in range(1, 30)) * 5)
    assert error.value.code == "unsupported_type"


def test_utf_32_of_either_order_is_text():
    assert text_of(b"\0\0\xfe\xff" + "Größe".encode("utf-32-be")).strip("\ufeff") == "Größe"


def test_one_bad_byte_does_not_make_utf_8_another_encoding():
    found = read("Größe und Schläuche. ".encode() * 20 + b"\xff", "x.txt")
    assert found["content"]["metadata"]["encoding"] == "utf-8"
    assert found["content"]["pages"][0]["text"] == "Größe und Schläuche. " * 20 + "\ufffd"
    assert warned(found) == ["encoding_uncertain"]


def test_a_text_longer_than_the_sample_is_read_wherever_the_sample_ends():
    text = "ポンプは再び動いています。a" * 30_000
    assert text_of(text.encode("shift_jis")) == text


def test_text_that_switches_its_characters_by_escapes_is_read():
    assert text_of("ポンプは再び動いています。".encode("iso2022_jp")) == "ポンプは再び動いています。"


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1).map(lambda one: one + " ok")
)
def test_utf_8_comes_back_as_it_was(text):
    found = read(text.encode(), "x.md")
    if found["kind"] == "markdown":
        assert found["content"]["pages"][0]["text"] == text.removeprefix("\ufeff")


def test_what_is_code_in_markdown_makes_no_heading():
    content = read(b"# One\n\n```sh\n# not\n~~~\n# nor this\n```\n\n## Two\n", "x.md")["content"]
    assert [one["title"] for one in content["outline"]] == ["One", "Two"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('id,name\n1,"Smith, John"\n2,"O""Neil, P"\n', [["id", "name"], ["1", "Smith, John"], ["2", 'O"Neil, P']]),
        ("1,5;2,5;3,5\n2,5;3,5;4,5\n", [["1,5", "2,5", "3,5"], ["2,5", "3,5", "4,5"]]),
        ('a, "b, c", d\n1, "2, 3", 4\n', [["a", "b, c", "d"], ["1", "2, 3", "4"]]),
        ("id,text\n1,it's so\n2,isn't it\n", [["id", "text"], ["1", "it's so"], ["2", "isn't it"]]),
        ("name\nalpha\n", [["name"], ["alpha"]]),
    ],
    ids=["doubled quotes", "decimal commas", "space before quotes", "apostrophes", "one column"],
)
def test_a_csv_is_cut_where_its_writer_cut_it(text, rows):
    assert read(text.encode(), "x.csv")["content"]["tables"][0]["rows"] == rows


def test_a_csv_with_a_very_long_field_is_a_table():
    content = read(b'a,b\n"' + b"x" * 200_000 + b'",2\n', "x.csv")["content"]
    assert [len(row) for row in content["tables"][0]["rows"]] == [2, 2]


def test_one_long_row_among_short_ones_makes_no_page_of_empty_cells():
    raw = ",".join(["a"] * 1_000).encode() + b"\n" + b"b,c\n" * 1_000
    content = read(raw, "x.csv")["content"]
    assert len(content["pages"][0]["markdown"]) < 10 * len(raw)
    assert (content["limits_hit"], len(content["tables"][0]["rows"])) == ([], 1_001)


# --- HTML ------------------------------------------------------------------------------------------------------


def test_of_tables_in_tables_the_innermost_are_tables_however_deep_they_lie():
    deep = b"<table><tr><td>" * 2_000 + b"deep" + b"</table>" * 2_000
    content = read(b"<html><body>" + deep + b"<table><tr><td>plain</td></tr></table>", "x.html")["content"]
    assert [table["rows"] for table in content["tables"]] == [[["deep"]], [["plain"]]]
    assert content["pages"][0]["markdown"] == "| deep |\n| --- |\n\n| plain |\n| --- |"


@pytest.mark.parametrize(("span", "columns"), [("3", 3), ("0", 1), ("three", 1), ("9" * 5_000, 64)])
def test_a_cell_stands_over_as_many_columns_as_can_be_believed(span, columns):
    raw = f'<html><table><tr><td colspan="{span}">a</td></tr></table>'.encode()
    assert read(raw, "x.html")["content"]["tables"][0]["rows"] == [["a"] + [""] * (columns - 1)]


def test_more_headings_than_are_shown_are_told_of():
    content = read(b"<html>" + b"<h1>a</h1>" * 1_500, "x.html")["content"]
    assert (len(content["outline"]), content["limits_hit"]) == (1_000, ["max_outline"])


def test_a_page_is_a_line_per_block_and_cells_stand_between_tabs():
    page = (
        b"<!doctype html><div>It <b>works</b>\n well.<p>Next</p>after<br>break<!-- no --></div>"
        b"<table><tr><th>Pump<th>Hours<tr><td>North</td><td>812</td></table>"
    )
    assert text_of(page) == "It works well.\nNext\nafter\nbreak\nPump\tHours\nNorth\t812"
    assert read(page)["content"]["tables"][0]["rows"] == [["Pump", "Hours"], ["North", "812"]]


def test_headings_of_a_page_come_in_its_order():
    content = read(b"<html><h2>Second level</h2><h1>First level</h1>")["content"]
    assert [(one["title"], one["level"]) for one in content["outline"]] == [("Second level", 2), ("First level", 1)]


@pytest.mark.parametrize("root", ["html", "note"])
def test_xml_with_a_body_is_a_page(root):
    assert text_of(f'<?xml version="1.0"?><{root}><body><p>Hi</p></body></{root}>'.encode()) == "Hi"


def test_a_page_nested_a_hundred_thousand_deep_is_read():
    assert text_of(b"<html>" + b"<div>" * 100_000 + b"deep") == "deep"


# --- Mail ------------------------------------------------------------------------------------------------------


def test_headers_that_the_parser_stumbles_over_are_shown_as_they_were_written():
    raw = b'From: a@example.com\nTo: "\nSubject: =?bad?x?y?=\nMessage-ID: <\nDate: \n\nhello'
    found = read(raw)["content"]
    assert found["metadata"]["subject"] == "=?bad?x?y?="
    assert found["metadata"]["message-id"] == "<"
    assert found["pages"][0]["text"] == "hello"


def test_a_header_in_plain_eight_bits_keeps_its_letters():
    raw = "From: a@example.com\nTo: b@example.com\nSubject: Grüße\n\nhello"
    for encoding in ("utf-8", "latin-1"):
        assert read(raw.encode(encoding))["content"]["metadata"]["subject"] == "Grüße"


def test_a_forwarded_mail_is_an_attachment_with_its_subject_and_size():
    inner, outer = EmailMessage(), EmailMessage()
    inner["From"], inner["Subject"] = "x@example.com", "The old one"
    inner.set_content("inside")
    outer["From"], outer["To"], outer["Subject"] = "a@example.com", "b@example.com", "Forwarded"
    outer.set_content("see below")
    outer.add_attachment(inner)
    (attached,) = read(outer.as_bytes())["content"]["attachments"]
    assert (attached["name"], attached["type"], attached["bytes"]) == (
        "The old one",
        "message/rfc822",
        len(inner.as_bytes()),
    )


def test_a_mail_whose_parts_cannot_be_told_apart_still_has_its_text():
    head = b"From: a@example.com\nTo: b@example.com\nSubject: x\n"
    assert text_of(head + b"Content-Type: multipart/mixed; boundary=zz\n\nno boundary here") == "no boundary here"


def test_a_mail_that_is_one_file_lists_it_and_says_that_it_has_no_text():
    head = b"From: a@example.com\nTo: b@example.com\nSubject: x\n"
    found = read(head + b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n")
    assert [(one["type"], one["bytes"]) for one in found["content"]["attachments"]] == [("application/pdf", 5)]
    assert warned(found) == ["attachment_unread", "no_text"]


HEAD = b"From: a@example.com\nTo: b@example.com\nSubject: x\nMIME-Version: 1.0\n"


def compound(subtype: str, *parts: bytes) -> bytes:
    """A mail, or a part of one, that has parts."""
    kind = b"Content-Type: multipart/%s; boundary=%s\n\n" % (subtype.encode(), subtype.encode())
    return kind + b"".join(b"--%s\n%s\n" % (subtype.encode(), one) for one in parts) + b"--%s--\n" % subtype.encode()


BINARY = b"Content-Type: image/bmp; name=x.bmp\nContent-Transfer-Encoding: binary\n\nBM"
PLAIN, HTML_PART = b"Content-Type: text/plain\n\n", b"Content-Type: text/html\n\n"
FILE = b"Content-Type: application/pdf; name=x.pdf\nContent-Disposition: attachment\n\nx"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Cc: \x01\xff\xfe\x02\n\nthe text\n",
        HEAD + compound("mixed", PLAIN + b"the text", PLAIN + b"\x01\xff\xfe\x02\x90"),
        HEAD + compound("mixed", PLAIN + b"the text", BINARY + bytes(9)),
    ],
    ids=["header", "part", "file"],
)
def test_what_is_no_text_in_a_mail_costs_only_itself(raw):
    assert text_of(raw, "x.eml").startswith("the text")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_file_in_a_mail_whose_bytes_are_not_written_as_text_is_kept_byte_by_byte(end):
    packed = bytes(range(256)) * 2
    mail = HEAD + "Cc: Jörg\n Müller\n".encode() + compound("mixed", PLAIN + b"the\ntext", BINARY + b"HERE")
    found = read(mail.replace(b"\n", end).replace(b"HERE", packed), "x.eml")
    assert found["content"]["pages"][0]["text"] == "the\ntext"
    assert found["content"]["metadata"]["cc"] == "Jörg Müller"
    assert found["content"]["attachments"][0]["sha256"] == hashlib.sha256(b"BM" + packed).hexdigest()


def test_what_holds_mails_and_is_packed_is_no_mail():
    with pytest.raises(FileError) as error:
        read(b"\0\x01" + HEAD + b"\n\0", "box.dat")
    assert error.value.code == "unsupported_type"


@pytest.mark.parametrize(
    ("named", "encoding", "text"),
    [
        ("us-ascii", "utf-8", "Größe"),
        ("us-ascii", "cp1252", "Größe „schön“"),
        ("utf-8", "cp1252", "Größe „schön“"),
        ("unknown-8bit", "cp1252", "Größe „schön“"),
        ("euc-jp", "euc_jp", "ポンプの点検記録です。"),
        ("iso-8859-1", "cp1252", "“Größe” €5"),
        ("shift_jis", "cp932", "①株式会社㈱"),
        ("gb2312", "gbk", "朱镕基说"),
        ("iso-8859-1", "utf-8-sig", "Größe"),
        ("utf-16", "ascii", "The parcel is here."),
        ("utf-16", "utf-16-le", "Größe"),
    ],
)
def test_a_mail_is_read_whatever_its_header_calls_its_encoding(named, encoding, text):
    for kind, shown in (("html", f"<p>{text}</p>"), ("plain", text)):
        head = f"Content-Type: text/{kind}; charset={named}\nContent-Transfer-Encoding: 8bit\n\n".encode()
        assert text_of(HEAD + head + shown.encode(encoding)) == text


@pytest.mark.parametrize("kind", ["plain", "html"])
@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("idna", "xn--maana-pta"),
        ("punycode", "maana-pta"),
        ("raw-unicode-escape", r"\u00f1"),
        ("unicode_escape", r"\xf1"),
    ],
)
def test_a_mail_cannot_choose_a_decoder_that_is_no_encoding_and_may_take_for_ever(kind, named, text):
    head = f"Content-Type: text/{kind}; charset={named}\nContent-Transfer-Encoding: 8bit\n\n".encode()
    assert text_of(HEAD + head + text.encode()) == text


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("filename*=utf-8''%E2%82%AC.pdf", "€.pdf"),
        ("filename*=punycode''a.pdf", "a.pdf"),
        ("filename*=unicode_escape''%5Cx.pdf", r"\x.pdf"),
    ],
)
def test_a_name_in_an_encoding_that_is_none_costs_neither_the_file_nor_the_mail(parameter, name):
    file = f"Content-Type: application/pdf\nContent-Disposition: attachment; {parameter}\n\n%PDF".encode()
    mail = HEAD + compound("mixed", PLAIN + b"hello", file)
    (attached,) = read(mail)["content"]["attachments"]
    assert (text_of(mail), attached["name"]) == ("hello", name)


def test_a_header_of_many_parameters_in_no_encoding_takes_no_time_that_grows_with_its_square():
    head = b"Content-Type: text/plain; title*=punycode''x; " + b"*=" * 400_000 + b"\n\n"
    assert text_of(HEAD + head + b"hello") == "hello"


def test_a_mails_html_is_in_the_encoding_that_its_header_names():
    kind = b"Content-Type: text/html; charset=koi8-r\nContent-Transfer-Encoding: 8bit\n\n"
    assert text_of(HEAD + kind + "<p>Привет</p>".encode("koi8-r")) == "Привет"
    kind = kind.replace(b"koi8-r", b"utf-8")
    assert text_of(HEAD + kind + "<html><meta charset=iso-8859-1><p>Grüße".encode()) == "Grüße"


@pytest.mark.parametrize("charset", [b"undefined", b"hex", b"nonsense"])
def test_a_charset_that_is_none_costs_no_text(charset):
    assert text_of(HEAD + b"Content-Type: text/plain; charset=" + charset + b"\n\nhello") == "hello"


def test_of_alternatives_the_first_that_says_something_is_read():
    assert text_of(HEAD + compound("alternative", PLAIN + b" \n", HTML_PART + b"<p>the text</p>")) == "the text"
    assert text_of(HEAD + compound("alternative", PLAIN + b"plain", HTML_PART + b"<p>html</p>")) == "plain"


def test_all_text_in_line_is_read_and_all_else_is_listed_however_deep():
    signed = compound("signed", compound("related", PLAIN + b"first", FILE), b"Content-Type: x/signature\n\nzz")
    found = read(HEAD + compound("mixed", signed, HTML_PART + b"<p>second</p>", PLAIN + b"third"))
    assert found["content"]["pages"][0]["text"] == "first\nsecond\nthird"
    assert [one["type"] for one in found["content"]["attachments"]] == ["application/pdf", "x/signature"]


MAIL = (SAMPLES / "mail.eml").read_bytes()


@settings(max_examples=80, deadline=None)
@given(at=st.integers(0, len(MAIL) - 1), bytes_=st.binary(max_size=8))
def test_a_mail_with_wrong_bytes_is_read_or_refused(at, bytes_):
    try:
        read(MAIL[:at] + bytes_ + MAIL[at + len(bytes_) :], "x.eml")
    except FileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are good


# --- Office ----------------------------------------------------------------------------------------------------


def test_text_in_changes_and_content_controls_is_text_and_deleted_text_is_not():
    document = part("report.docx", "word/document.xml").replace(
        b"<w:body>",
        b"<w:body><w:p><w:ins w:id='1'><w:r><w:t>inserted</w:t></w:r></w:ins><w:del w:id='2'><w:r><w:delText>gone"
        b"</w:delText></w:r></w:del><w:moveFrom w:id='3'><w:r><w:t>moved away</w:t></w:r></w:moveFrom></w:p>"
        b"<w:sdt><w:sdtContent><w:p><w:r><w:t>in a</w:t><w:tab/><w:t>control</w:t></w:r></w:p></w:sdtContent></w:sdt>",
    )
    text = text_of(repacked("report.docx", {"word/document.xml": document}))
    assert text.startswith("inserted\nin a\tcontrol\nHarbour pumps")
    assert "gone" not in text
    assert "moved away" not in text


def test_a_cell_over_two_columns_keeps_the_columns_in_their_places():
    document = part("report.docx", "word/document.xml")
    start, end = document.index(b"<w:tbl>"), document.index(b"</w:tbl>")
    table = (
        b"<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr><w:p><w:r><w:t>wide</w:t></w:r></w:p></w:tc>"
        b"<w:tc><w:p><w:r><w:t>last</w:t></w:r></w:p></w:tc></w:tr>"
    )
    raw = repacked("report.docx", {"word/document.xml": document[:start] + table + document[end:]})
    assert read(raw)["content"]["tables"][0]["rows"] == [["wide", "", "last"]]


def test_footnotes_are_text():
    relations = part("report.docx", "word/_rels/document.xml.rels").replace(
        b"</Relationships>",
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"'
        b' Target="footnotes.xml"/></Relationships>',
    )
    types = part("report.docx", "[Content_Types].xml").replace(
        b"</Types>",
        b'<Override PartName="/word/footnotes.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        b'wordprocessingml.footnotes+xml"/></Types>',
    )
    notes = (
        b"<w:footnotes xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'><w:footnote w:id='2'>"
        b"<w:p><w:r><w:t>See the log book.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    changes = {"word/_rels/document.xml.rels": relations, "[Content_Types].xml": types, "word/footnotes.xml": notes}
    assert text_of(repacked("report.docx", changes)).endswith("See the log book.")


def test_heads_feet_and_comments_of_a_document_are_text():
    document = Document()
    section = document.sections[0]
    section.header.paragraphs[0].text, section.footer.paragraphs[0].text = "At the head", "At the foot"
    document.add_comment(document.add_paragraph("The text.").runs, "Is it?", author="x")
    stored = io.BytesIO()
    document.save(stored)
    assert text_of(stored.getvalue()) == "The text.\nAt the head\nAt the foot\nIs it?"


def test_formulas_and_text_boxes_are_text_that_sticks_to_nothing():
    document = part("report.docx", "word/document.xml").replace(
        b"<w:body>",
        b"<w:body><w:p xmlns:m='http://schemas.openxmlformats.org/officeDocument/2006/math'>"
        b"<w:r><w:t>Let </w:t></w:r><m:oMath><m:r><m:t>E=mc</m:t></m:r></m:oMath>"
        b"<w:r><w:pict><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent></w:pict></w:r>"
        b"<w:r><w:t>after</w:t></w:r></w:p>",
    )
    assert text_of(repacked("report.docx", {"word/document.xml": document})).startswith("Let E=mc\nbox\nafter\n")


def test_a_cell_far_out_costs_nothing_and_of_empty_rows_one_is_kept():
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "first", "last"
    stored = io.BytesIO()
    book.save(stored)
    rows = read(stored.getvalue())["content"]["tables"][0]["rows"]
    assert [len(row) for row in rows] == [1, 0, 16_384]
    assert (rows[0][0], rows[2][-1]) == ("first", "last")


def test_formulas_that_were_never_calculated_are_told():
    book = openpyxl.Workbook()
    book.active["A1"], book.active["A2"] = 1, "=A1+1"
    stored = io.BytesIO()
    book.save(stored)
    assert warned(read(stored.getvalue())) == ["formulas_not_calculated"]
    assert warned(read((SAMPLES / "hours.xlsx").read_bytes())) == []


def test_rows_end_where_the_characters_do():
    content = read((SAMPLES / "hours.xlsx").read_bytes(), max_characters=30)["content"]
    assert sum(len("\t".join(row)) for row in content["tables"][0]["rows"]) == 30
    assert (content["limits_hit"], content["pages_skipped"]) == (["max_characters"], 1)


def test_a_notes_page_without_a_place_for_text_is_no_damage():
    deck = Presentation(SAMPLES / "slides.pptx")
    for shape in list(deck.slides[0].notes_slide.placeholders):
        shape._element.getparent().remove(shape._element)
    stored = io.BytesIO()
    deck.save(stored)
    assert "Thank the night shift." not in text_of(stored.getvalue())


@pytest.mark.parametrize("head", [BOMB, REACHING_OUT], ids=["bomb", "reaching out"])
@pytest.mark.parametrize(
    ("sample", "name", "found"),
    [
        ("report.docx", "word/document.xml", b"812 hours"),
        ("hours.xlsx", "xl/worksheets/sheet1.xml", b"<v>270</v>"),
        ("slides.pptx", "ppt/slides/slide1.xml", b"Harbour pumps"),
    ],
    ids=["docx", "xlsx", "pptx"],
)
def test_entities_in_office_xml_neither_grow_nor_reach_out(sample, name, found, head):
    xml = body(part(sample, name))
    assert found in xml
    new = found.replace(b"270", b"&m;") if b"<v>" in found else b"&m;"
    raw = repacked(sample, {name: head + xml.replace(found, new)})
    try:
        text = text_of(raw)
    except FileError as error:
        assert error.code == "corrupt"  # noqa: PT017 - both ends are good
    else:
        assert head is REACHING_OUT
        assert "root:" not in text


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("report.docx", "word/document.xml"),
        ("hours.xlsx", "xl/worksheets/sheet1.xml"),
        ("slides.pptx", "ppt/slides/slide1.xml"),
        ("slides.pptx", "docProps/core.xml"),
    ],
)
def test_a_damaged_part_is_one_sentence(sample, name):
    with pytest.raises(FileError, match=f"The {sample[-4:]} document is damaged and cannot be read") as error:
        read(repacked(sample, {name: b"<oops"}))
    assert error.value.code == "corrupt"
    assert "\n" not in str(error.value)


# --- PDF -------------------------------------------------------------------------------------------------------


def test_a_word_divided_at_a_lines_end_is_one_word():
    stored = io.BytesIO()
    canvas = Canvas(stored)
    canvas.drawString(72, 700, "The inter-")
    canvas.drawString(72, 685, "national pump.")
    canvas.save()
    assert text_of(stored.getvalue()) == "The international pump."


def test_bookmarks_are_the_outline():
    stored = io.BytesIO()
    canvas = Canvas(stored)
    for level, title in enumerate(("Pumps", "North")):
        canvas.drawString(72, 700, title)
        canvas.bookmarkPage(title)
        canvas.addOutlineEntry(title, title, level)
        canvas.showPage()
    canvas.save()
    assert read(stored.getvalue())["content"]["outline"] == [
        {"title": "Pumps", "level": 1, "page": 1},
        {"title": "North", "level": 2, "page": 2},
    ]


def test_a_pdf_that_only_its_owner_may_change_is_read():
    assert (
        text_of(pdf("locked text", encrypt=StandardEncryption("", ownerPassword="owner", canCopy=0))) == "locked text"
    )


# --- All -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name", "words"),
    [
        (b" \n\t\n", "x.txt", "white space"),
        (b"<html><script>1</script></html>", "x.html", "shows no text"),
        (repacked("report.docx", {"word/document.xml": NO_WORDS}), "x.docx", "pictures in it are not read"),
    ],
    ids=["text", "html", "docx"],
)
def test_a_document_without_text_says_why(raw, name, words):
    (warning,) = read(raw, name)["content"]["warnings"]
    assert warning["code"] == "no_text"
    assert words in warning["message"]


def test_what_stands_beside_the_text_is_kept_within_reason():
    content = read(b"<html><title>" + b"t" * 9_000 + b"</title>" + b"<h1>aaaaaaaaaa</h1>" * 1_200)["content"]
    assert len(content["outline"]) == 1_000
    assert len(content["metadata"]["title"]) == 2_000
    assert content["limits_hit"] == ["max_outline"]


def test_a_damaged_attachment_costs_only_itself():
    raw = pdf("Page one")
    raw = raw.replace(b"/Type /Catalog", b"/Type /Catalog /Names << /EmbeddedFiles << /Names [(a.txt) 99 0 R] >> >>")
    content = read(raw)["content"]
    assert content["pages"][0]["text"] == "Page one"
    assert [one["sha256"] for one in content["attachments"]] == [None]


def test_a_page_without_text_among_others_says_why():
    deck, book = Presentation(), openpyxl.Workbook()
    for title in ("Pumps", ""):
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = title
    book.active["A1"] = "value"
    book.create_sheet("Empty")
    for made in (deck, book):
        stored = io.BytesIO()
        made.save(stored)
        (told,) = read(stored.getvalue())["content"]["warnings"]
        assert (told["code"], told["page"]) == ("no_text", 2)


# --- What costs itself alone -----------------------------------------------------------------------------------


def mail_with(raw: bytes, name: str) -> bytes:
    mail = EmailMessage()
    mail["Subject"], mail["From"] = "two files", "a@example.com"
    mail.set_content("hello there")
    mail.add_attachment(raw, "application", "octet-stream", filename=name)
    return mail.as_bytes()


@pytest.mark.parametrize(
    ("error", "code"),
    [(MemoryError(), "memory_limit"), (lzma.LZMAError("bad"), "corrupt"), (struct.error(), "corrupt")],
)
def test_a_file_inside_that_cannot_be_read_costs_the_mail_nothing(monkeypatch, error, code):
    def fail(*_):
        raise error

    monkeypatch.setitem(document_reading.READERS, "csv", fail)
    content = read(mail_with(b"a,b\n1,2\n", "x.csv"), "x.eml")["content"]
    assert content["pages"][0]["text"] == "hello there\n"
    assert [(one["code"], one["cause"]) for one in content["warnings"]] == [("attachment_unread", code)]
    assert content["attachments"][0]["bytes"] == len(b"a,b\n1,2\n")


@pytest.mark.parametrize("value", ["(" * 5_000, '"a" <a@example.com>, ' * 2_000], ids=["brackets", "many"])
def test_a_header_that_is_too_much_for_its_parser_is_shown_as_it_was_written(value, monkeypatch):
    monkeypatch.setattr(mail_reading, "LONGEST_PARSED", 10_000)
    content = read(f"From: a@example.com\nTo: b@example.com\nSubject: a\nCc: {value}\n\nhello\n".encode(), "x.eml")[
        "content"
    ]
    assert content["metadata"]["cc"] == value.strip()[:2_000]
    assert content["pages"][0]["text"] == "hello\n"
