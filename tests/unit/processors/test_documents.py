"""Documents: every kind is read whole, its type is told by its content, and what cannot be read says why."""

import io
import json
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

import make_samples
from adapters.file_sandbox import FIRST
from compound_files import compound
from examples.celery_example import SAMPLES
from processors import document_pictures, documents, summaries
from processors.document_formats import archives, pdf_pictures
from processors.document_formats import text as plain_text
from processors.document_formats.pdf_text import usable
from processors.document_formats.text import decode
from processors.document_reading import draw_pages, read_document, read_pictures, read_tables
from processors.documents import DocumentTools, ProcessDocument, process_document
from processors.envelopes import packed
from processors.errors import FileError
from processors.file_types import named_by_ending, sniff
from processors.files import ProcessFile
from processors.interfaces import TextLine
from processors.languages import language_of
from processors.results import sentence_of
from reading import archive, options, pdf, read, silent


def sample(name: str, **more) -> dict:
    return read((SAMPLES / name).read_bytes(), name, **more)


# --- Each kind -------------------------------------------------------------------------------------------------


def test_a_pdf_is_read_page_by_page_with_its_metadata():
    found = sample("report.pdf")
    content = found["content"]
    assert (found["kind"], found["mime"], found["bytes"]) == ("pdf", "application/pdf", 3329)
    assert [page["n"] for page in content["pages"]] == [1, 2, 3, 4]
    assert "ran for 812 hours" in content["pages"][0]["text"]
    assert content["pages"][0]["source"] == "text_layer"
    assert (content["metadata"]["title"], content["metadata"]["pages"]) == ("Harbour pumps, first quarter", 4)
    assert content["metadata"]["created"].startswith("20")


def test_a_scanned_page_has_no_text_of_its_own():
    (page,) = sample("scan.pdf")["content"]["pages"]
    assert (page["source"], page["text"]) == ("none", "")


def test_a_docx_is_read_in_order_with_headings_and_tables():
    content = sample("report.docx")["content"]
    text = content["pages"][0]["text"]
    assert text.index("Harbour pumps, first quarter") < text.index("ran for 812 hours") < text.index("North\t812")
    assert [one["title"] for one in content["outline"]] == [heading for heading, _ in make_samples.REPORT]
    assert content["tables"] == [
        {"page": 1, "rows": [["Pump", "Hours"], ["North", "812"]], "title": None, "bbox": None, "merged": None}
    ]
    assert content["metadata"]["author"] == "Harbour office"


def test_an_xlsx_is_read_sheet_by_sheet():
    content = sample("hours.xlsx")["content"]
    assert [table["title"] for table in content["tables"]] == ["Hours", "Costs"]
    assert content["tables"][0]["rows"][1] == ["January", "270", "255"]
    assert "Electricity\t9450" in content["pages"][1]["text"]


def test_a_pptx_is_read_slide_by_slide_with_its_notes():
    content = sample("slides.pptx")["content"]
    assert [page["title"] for page in content["pages"]] == ["Harbour pumps, first quarter", "What failed"]
    assert "Thank the night shift." in content["pages"][0]["text"]


def test_a_mail_is_read_with_its_headers_and_attachments():
    content = sample("mail.eml")["content"]
    assert content["metadata"]["subject"] == "Pumpe läuft wieder"
    assert "runs again" in content["pages"][0]["text"]
    assert [(one["name"], one["type"], one["bytes"]) for one in content["attachments"]] == [
        ("invoice.csv", "text/csv", 17)
    ]


def test_a_mail_of_html_only_is_read_as_text():
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "s"
    mail.set_content("<style>p{}</style><p>It <b>works</b></p>", subtype="html")
    assert read(mail.as_bytes(), "m.eml")["content"]["pages"][0]["text"].split() == ["It", "works"]


def test_latin_1_is_read_with_the_right_letters():
    assert "Größe der Schläuche" in sample("latin-1.txt")["content"]["pages"][0]["text"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1251", "shift_jis"])
def test_text_in_any_encoding_is_read(encoding):
    text = {"cp1251": "Насос снова работает. ", "shift_jis": "ポンプは再び動いています。"}.get(
        encoding, "Größe, 42 €. "
    ) * 20
    raw = text.encode(encoding)
    if encoding == "utf-16-be":
        raw = b"\xfe\xff" + raw
    assert read(raw, "note.txt")["content"]["pages"][0]["text"].strip() == text.strip()


WESTERN, CENTRAL = "cp1252", "cp1250"
LATIN = [
    (WESTERN, "Die Straße ist schön und die Bäume sind grün: „Größe“ der Schläuche, 30 m³."),
    (WESTERN, "Le café à côté de l’hôtel est fermé à midi, déjà."),
    (WESTERN, "A reunião não começará às três horas; o relatório será enviado amanhã à direção."),
    (WESTERN, "La città è più bella di sera, perché le luci si riflettono sull’acqua."),
    (WESTERN, "¿Cuándo llegará el próximo camión? El niño comió una manzana más."),
    (WESTERN, "Flygplatsen är öppen på söndagar, även för små båtar på sjön."),
    (WESTERN, "Båten går på lørdag, og pumpene må være klare før det."),
    (WESTERN, "It’s £5 – “yes”."),
    (WESTERN, "1½ hours"),
    (CENTRAL, "Proszę o odpowiedź do końca miesiąca."),
    (CENTRAL, "Děkujeme za vaši objednávku."),
    (CENTRAL, "Köszönjük a megrendelést, az áru hétfőn érkezik."),
    ("cp1254", "Suyun basıncı doğru; siparişiniz için teşekkür ederiz."),
    ("cp1257", "Dėkojame už jūsų užsakymą, šį mėnesį."),
]


@pytest.mark.parametrize(("encoding", "text"), LATIN, ids=range(len(LATIN)))
def test_latin_letters_are_those_of_the_texts_language(encoding, text):
    assert decode(text.encode(encoding))[0] == text
    page = f"<html><title>x</title><p>{text}</p></html>".encode(encoding)
    assert read(page, "x.html")["content"]["pages"][0]["text"] == text


def test_a_page_that_says_no_encoding_is_read_in_one_that_its_parser_calls_otherwise():
    text = "ポンプの点検記録です。今日は晴れです。"
    found = read(f"<html><title>x</title><p>{text}</p></html>".encode("euc_jp"), "x.html")["content"]
    assert (found["pages"][0]["text"], found["metadata"]["encoding"]) == (text, "euc_jp")


@pytest.mark.parametrize(
    ("named", "encoding", "text"),
    [
        ("us-ascii", "utf-8", "Größe"),
        ("shift_jis", "cp932", "①株式会社㈱"),
        ("iso-8859-1", WESTERN, "“Größe” €5"),
        ("no-such", WESTERN, "Größe"),
        ("utf-16", "utf-8", "Größe"),
        ("windows-874", "cp874", "สวัสดี “ครับ”"),
        ("tis-620", "cp874", "สวัสดี “ครับ”"),
        ("x-sjis", "cp932", "①株式会社㈱"),
        ("euc-jp", "euc_jis_2004", "①株式会社㈱"),
        ("big5", "cp950", "名字裏"),
        ("csGB2312", "gb2312", "名字"),
        ("windows-949", "cp949", "이름 똠"),
        ("koi8-ru", "koi8_u", "Їжак"),
        ("x-cp1255", "cp1255", "שלום"),
    ],
)
def test_a_page_is_read_in_what_is_meant_by_the_encoding_that_it_names(named, encoding, text):
    raw = f"<html><meta charset={named}><title>x</title><p>{text}</p></html>".encode(encoding)
    assert read(raw, "x.html")["content"]["pages"][0]["text"] == text


@pytest.mark.parametrize("bad", [b"\x98 ", b"\xff "])
@pytest.mark.parametrize(
    ("named", "text"),
    [
        ("shift_jis", "ポンプの点検記録です。"),
        ("gbk", "今天的天气很好,水泵的检查记录如下。"),
        ("windows-1251", "Насос снова работает."),
        ("windows-1255", "שלום לכולם"),
    ],
)
def test_a_bad_byte_in_a_page_does_not_make_it_empty_or_of_another_encoding(named, text, bad):
    raw = f"<html><meta charset={named}><p>{text * 2}BAD{text}</p></html>".encode(named).replace(b"BAD", bad)
    shown = read(raw, "x.html")["content"]["pages"][0]["text"]
    assert shown.startswith(text * 2)
    assert shown.endswith(text)


def test_a_page_that_names_a_common_encoding_and_is_in_another_one_is_read_in_that():
    text = "ポンプの点検記録です。" * 5
    for named in ("iso-8859-1", "utf-8"):
        raw = f"<html><meta charset={named}><p>{text}</p></html>".encode("shift_jis")
        assert read(raw, "x.html")["content"]["pages"][0]["text"] == text


@pytest.mark.parametrize("named", ["iso-8859-1", "windows-1251", "shift_jis"])
def test_a_page_with_a_byte_order_mark_is_in_that_encoding_whatever_it_names(named):
    raw = f"<html><meta charset={named}><p>Größe</p></html>".encode("utf-8-sig")
    found = read(raw, "x.html")["content"]
    assert (found["pages"][0]["text"], found["metadata"]["encoding"]) == ("Größe", "utf-8")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_page_of_two_or_four_bytes_a_character_is_a_page(encoding):
    raw = "<!doctype html>\n<html><title>x</title><p>Die Größe der Pumpe</p></html>".encode(encoding)
    assert sniff(io.BytesIO(raw), "page") == "html"
    assert read(raw, "page")["content"]["pages"][0]["text"] == "Die Größe der Pumpe"


@pytest.mark.parametrize("encoding", [WESTERN, CENTRAL])
def test_a_text_in_several_languages_of_one_code_page_is_read(encoding):
    text = "\n".join(text for page, text in LATIN if page == encoding)
    assert decode(text.encode(encoding))[0] == text


def test_words_in_other_letters_are_no_latin_ones():
    text = "Адрес: office@harbour.example, телефон 555 01 02, понедельник."
    assert decode(text.encode("cp1251"))[0] == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp932", "データベース"),
        ("cp932", "ヤマダ タロウ,トウキョウ\nスズキ ハナコ,オオサカ\n"),
        ("cp932", "①株式会社㈱ヤマダの点検記録です。"),
        ("cp932", "髙橋さんの記録。今日は晴れ。"),
        ("big5", "名字"),
        ("big5", "客戶名稱,地址,電話"),
        (WESTERN, "Änderung: 25 °C, ±5 °C, §5, £7 ©"),
        (WESTERN, "ÄRÄR"),
    ],
)
def test_characters_whose_second_byte_is_one_of_ascii_are_told_from_letters_that_stand_alone(encoding, text):
    assert decode(text.encode(encoding)) == (text, encoding)


def test_letters_far_from_the_beginning_are_read():
    text = "x" * 300_000 + "Насос снова работает."
    assert decode(text.encode("cp1251"))[0] == text


def test_html_shows_what_a_reader_sees():
    page = (
        b"<!doctype html><title>Pumps</title><meta name=author content=Ann><script>no()</script>"
        b"<h1>North</h1><p>It <b>runs</b>"
    )
    content = read(page, "x.html")["content"]
    assert content["pages"][0]["text"].split() == ["North", "It", "runs"]
    assert content["metadata"] | {"encoding": ""} == {"title": "Pumps", "author": "Ann", "encoding": ""}
    assert content["outline"] == [{"title": "North", "level": 1, "page": 1}]


def test_markdown_keeps_its_text_and_gives_its_headings():
    content = read(b"# One\n\ntext\n\n## Two ##\n", "x.md")["content"]
    assert [(one["title"], one["level"]) for one in content["outline"]] == [("One", 1), ("Two", 2)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_is_a_table_whatever_separates_it(delimiter):
    raw = delimiter.join(("a", "b")).encode() + b"\n" + delimiter.join(('"x, y; z"', "2")).encode() + b"\n"
    content = read(raw, "x.csv")["content"]
    assert content["tables"][0]["rows"] == [["a", "b"], ["x, y; z", "2"]]
    assert content["metadata"]["delimiter"] == delimiter


# --- Types -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.iterdir()))
def test_the_type_is_told_by_the_content_whatever_the_name_says(name):
    raw = (SAMPLES / name).read_bytes()
    assert sniff(io.BytesIO(raw), "wrong.jpg") == named_by_ending(name)


@pytest.mark.parametrize(
    "begins",
    ["caffeine is", "ID3 trees", "GIF89a is", "BZhang", "TTA1", "wvpk", ".snd files", "the ftyp", "OggS", "fLaC"],
)
def test_a_text_that_begins_like_a_packed_format_is_a_text(begins):
    raw = f"{begins} what this text is about.\n".encode()
    assert sniff(io.BytesIO(raw), "notes.txt") == "text"
    assert read(raw, "notes.txt")["content"]["pages"][0]["text"].startswith(begins)


@pytest.mark.parametrize("begins", ["ясно", "яма"])
def test_a_text_that_begins_like_a_frame_of_sound_is_a_text(begins):
    raw = f"{begins}, что насос снова работает.\n".encode("cp1251")
    assert sniff(io.BytesIO(raw), "notes.txt") == "text"
    assert read(raw, "notes.txt")["content"]["pages"][0]["text"].startswith(begins)


def test_letters_at_the_places_of_a_films_packets_make_no_film():
    assert sniff(io.BytesIO((b"G" + b"ATTACA" * 31 + b"T") * 9), "sequence.txt") == "text"


@pytest.mark.parametrize(
    ("raw", "name", "kind"),
    [
        (b'page,source\nhome,"<html><body>x</body></html>"\n', "pages.csv", "csv"),
        (b"The <body> of a page stands in its <html>.\n", "notes.txt", "text"),
        (b'{"source": "<html>x</html>"}', "page.json", "text"),
        (b"\xef\xbb\xbf\n <!-- --><HTML><p>x", "page", "html"),
        (b"left over <html><p>x", "page.html", "html"),
    ],
    ids=range(5),
)
def test_tags_in_the_middle_make_no_page(raw, name, kind):
    assert sniff(io.BytesIO(raw), name) == kind


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"", "empty_file", "is empty"),
        (b"%PDF-1.7 and nothing more", "corrupt", "cannot be read as one"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "unsupported_type", "image/png; read are pdf, docx.*process_image"),
        (b"\0\1\2\3" * 50, "unsupported_type", "unknown type"),
        (b"PK\x03\x04 broken", "corrupt", "damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "corrupt", "compound file is damaged"),
        (compound({"EncryptedPackage": b"x"}), "encrypted", "encrypted as a whole"),
    ],
    ids=range(7),
)
def test_what_cannot_be_read_says_what_it_is(raw, code, words):
    with pytest.raises(FileError, match=words) as error:
        read(raw, "file.pdf")
    assert error.value.code == code


def test_an_archive_that_is_no_document_is_said_to_be_one():
    with pytest.raises(FileError, match="application/zip"):
        read(archive({"a": b"x"}), "x.docx")


@pytest.mark.parametrize("part", ["word/document.xml", "xl/workbook.xml", "ppt/presentation.xml"])
def test_a_damaged_office_document_is_one_sentence(part):
    with pytest.raises(FileError) as error:
        read(archive({part: b"<not xml"}), "x.docx")
    assert error.value.code == "corrupt"
    assert "\n" not in str(error.value)


def test_a_zip_bomb_is_refused_before_a_library_unpacks_it():
    with pytest.raises(FileError, match="packed more than 100 to 1") as error:
        read(archive({"word/document.xml": b"0" * 60_000_000}), "x.docx")
    assert error.value.code == "archive_ratio"


def test_too_many_members_and_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    with pytest.raises(FileError) as error:
        read(archive({"word/document.xml": b"a", "b": b"b", "c": b"c"}), "x.docx")
    assert error.value.code == "archive_members"
    monkeypatch.setattr(archives, "MOST_BYTES", 10)
    with pytest.raises(FileError) as error:
        read(archive({"word/document.xml": b"a" * 20}), "x.docx")
    assert error.value.code == "too_large"


def test_an_encrypted_pdf_wants_its_password_and_only_that_one():
    raw = pdf("a secret", encrypt=StandardEncryption("open", ownerPassword="owner", canPrint=0))
    with pytest.raises(FileError, match="give its password") as missing:
        read(raw)
    with pytest.raises(FileError, match="not the right one") as wrong:
        read(raw, password="planted")
    assert (missing.value.code, wrong.value.code) == ("encrypted", "password_wrong")
    assert "planted" not in str(wrong.value)
    assert "a secret" in read(raw, password="open")["content"]["pages"][0]["text"]


# --- Limits ----------------------------------------------------------------------------------------------------


def test_pages_and_characters_beyond_the_limits_are_left_out_and_told():
    raw = pdf(*(f"This is page number {n}" for n in range(1, 6)))
    content = read(raw, max_pages=2)["content"]
    assert (len(content["pages"]), content["pages_skipped"], content["limits_hit"]) == (2, 3, ["max_pages"])
    content = read(raw, max_characters=30)["content"]
    assert sum(len(page["text"]) for page in content["pages"]) == 30
    assert content["limits_hit"] == ["max_characters"]


@pytest.mark.parametrize("encoding", ["ascii", "utf-8-sig", "utf-16", "utf-32", "gb18030"])
def test_of_a_long_text_no_more_is_read_than_may_be_kept(encoding):
    raw = ("\U0001f6a2" * 50 if encoding == "utf-8-sig" else "x" * 50).encode(encoding)
    content = read(raw, "x.txt", max_characters=49)["content"]
    assert (len(content["pages"][0]["text"]), content["limits_hit"]) == (49, ["max_characters"])
    assert content["warnings"] == []
    huge = io.BytesIO(raw + b"x\0\0\0" * 10_000)
    plain_text.read(huge, options(max_characters=49), silent)
    assert huge.tell() < 300
    assert read(raw, "x.txt", max_characters=50)["content"]["limits_hit"] == []


def test_a_long_text_is_in_its_encoding_wherever_it_is_cut():
    for between in range(195, 215):
        text = "é" + "x" * between + "é" + "x" * 100
        assert read(text.encode(), "x.txt", max_characters=49)["content"]["pages"][0]["text"] == text[:49]


def test_a_long_text_with_escapes_around_each_character_is_cut_where_it_is_said_to_be():
    text = "\n".join("あ" * 40)
    content = read(text.encode("iso2022_jp"), "x.txt", max_characters=60)["content"]
    assert (content["pages"][0]["text"], content["limits_hit"]) == (text[:60], ["max_characters"])


@settings(max_examples=50, deadline=None)
@given(raw=st.binary(min_size=1, max_size=3000))
def test_any_bytes_are_read_or_refused_in_one_sentence(raw):
    try:
        json.dumps(read(raw))
    except FileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are good


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 3328), byte=st.integers(0, 255))
def test_a_pdf_with_a_wrong_byte_is_read_or_refused(at, byte):
    raw = bytearray((SAMPLES / "report.pdf").read_bytes())
    raw[at] = byte
    try:
        json.dumps(read(bytes(raw), "x.pdf"))
    except FileError as error:
        assert error.code  # noqa: PT017 - both ends are good


def test_a_text_layer_of_unknown_signs_is_not_usable():
    assert usable("text")
    assert not usable("  \n ")
    assert not usable("\ufffd\ue001\ue002 a")


def test_bytes_that_are_no_text_are_refused_or_read_never_lost():
    text, encoding = decode(b"caf\xe9 " * 40)
    assert text.startswith("caf")
    assert encoding


def test_signs_that_nobody_can_store_are_replaced():
    found = read(b"From: a@example.com\r\nTo: b@example.com\r\nSubject: \xff\xfe\r\n\r\na \xff", "x.eml")
    json.dumps(found, ensure_ascii=False).encode()
    wide = read("a\0b\ud800".encode("utf-16", "surrogatepass"), "x.txt")["content"]["pages"][0]["text"]
    assert "\0" not in wide
    wide.encode()


# --- Language and summary --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Die Pumpe läuft wieder, und der Hafenmeister ist zufrieden.", "de"),
        ("The pump runs again and the harbour master is content.", "en"),
        ("La pompe fonctionne de nouveau et le capitaine est content.", "fr"),
        ("Насос снова работает, и начальник порта доволен.", "ru"),
    ],
)
def test_the_language_is_told(text, language):
    assert language_of(text)["language"] == language


def test_too_little_text_has_no_language():
    assert language_of("4711 ok") is None


def test_a_summary_is_made_of_the_texts_own_sentences_in_their_order():
    text = " ".join(f"Sentence number {n} speaks about pumps and water again." for n in range(30)) + " Nothing else."
    made = summaries.summarise(text)
    assert len(made["sentences"]) == 5
    assert all(sentence in text for sentence in made["sentences"])
    assert made["sentences"] == sorted(made["sentences"], key=text.index)
    assert "Luhn" in made["method"]


def test_a_summary_of_text_without_spaces_has_its_most_common_words():
    about = ["北边的水泵又开始运转了。", "南边的水泵又停止运转了。", "东边的水泵又开始运转了。"]
    about += ["西边的水泵又停止运转了。", "港口的水泵又开始运转了。"]
    apart = ["他昨夜喝完那杯咖啡就走。", "窗外几只海鸥飞过灯塔去。"]
    made = summaries.summarise("".join([apart[0], *about, apart[1]]))
    assert made["sentences"] == about


def test_a_summary_weighs_at_most_two_thousand_sentences():
    made = summaries.summarise("A pump moves water here. " * 5000)
    assert made["sentences_weighed"] == 2000
    assert summaries.summarise("   ") is None


# --- The whole -------------------------------------------------------------------------------------------------


JOBS = {"document": read_document, "tables": read_tables, "page_images": draw_pages}


class DirectSandbox:
    """Reads in this process what the child would read, with a reader of pictures that knows its text."""

    def run(self, job, path, options, report):
        with path.open("rb") as file:
            if job == "pictures":
                return {**read_pictures(file, options, report, KnownText()), "sandbox": ["none"]}
            return {**JOBS[job](file, options, report), "sandbox": ["none"]}


class KnownText:
    name, version = "known", "1"

    def read(self, pixels):
        return [TextLine("DELIVERY NOTE 4711", 0.9, (0, 0, 1, 1))]


class KeptArtefacts:
    def __init__(self):
        self.kept = {}

    def put(self, content, *, mime, task_id):
        self.kept[f"store://{len(self.kept)}"] = content
        return f"store://{len(self.kept) - 1}"


def tools_for(path: Path, **more) -> DocumentTools:
    usual = {"sandbox": DirectSandbox(), "storage": KeptArtefacts(), "task_id": "t"}
    return DocumentTools(path=path, max_pages=100, max_characters=1_000_000, **usual | more)


def processed(name: str, inline_text_kb: int = 256, storage=None, **arguments) -> dict:
    tools = tools_for(SAMPLES / name, storage=storage or KeptArtefacts(), inline_text_kb=inline_text_kb)
    request = ProcessDocument(file_path=str(SAMPLES / name), **arguments)
    return process_document(request, tools, silent).as_json()


def test_what_a_document_says_of_its_progress_goes_forward_only():
    told = []

    class Loading(DirectSandbox):
        def run(self, job, path, options, report):
            report(*FIRST)
            return super().run(job, path, options, report)

    request = ProcessDocument(file_path=str(SAMPLES / "report.pdf"))
    process_document(
        request, tools_for(SAMPLES / "report.pdf", sandbox=Loading()), lambda done, _text: told.append(done)
    )
    assert told == sorted(told)
    assert len(set(told)) > 2


def test_a_document_comes_in_its_envelope():
    done = processed("report.pdf")
    assert (done["schema"], done["status"], done["input"]["name"]) == ("csai.document/1", "ok", "report.pdf")
    assert done["result"]["language"]["language"] == "en"
    assert done["result"]["summary"]["sentences"]
    assert "password" not in json.dumps(done)
    for page in done["result"]["pages"]:
        start, end = page["char_range"]
        assert done["result"]["text"][start:end] == page["text"]


def test_a_page_without_text_is_read_as_a_picture_and_its_engine_is_named():
    done = processed("scan.pdf")
    assert done["result"]["pages"][0]["source"] == "ocr"
    assert done["result"]["pages"][0]["confidence"] == 0.9
    assert done["result"]["text"] == "DELIVERY NOTE 4711"
    assert [one["engine"] for one in done["provenance"]][:2] == ["pypdfium2", "known"]


@pytest.mark.parametrize("arguments", [{"ocr_enabled": False}, {"extract_text": False}])
def test_a_page_that_is_not_read_says_why(arguments):
    done = processed("scan.pdf", **arguments)
    assert done["status"] == "ok"
    assert ("no_text_layer", 1) in [(one["code"], one.get("page")) for one in done["warnings"]]


class FaultyPictures(DirectSandbox):
    """Reads text; reading pictures fails for the given pages, and takes the given seconds of a false clock."""

    def __init__(self, *faulty, seconds=0.0, clock=None):
        self.faulty, self.seconds, self.clock, self.asked = faulty, seconds, clock, []

    def run(self, job, path, options, report):
        if job == "pictures":
            self.asked.append(options["pages"])
            if self.clock:
                self.clock.now += self.seconds
            if set(self.faulty) & set(options["pages"]):
                raise FileError("The file took longer than 600 s.", "timeout")
        return super().run(job, path, options, report)


class FalseClock:
    now = 1000.0

    def __call__(self):
        return self.now


def read_with(sandbox, path: Path, **limits) -> dict:
    tools = tools_for(path, sandbox=sandbox, **limits)
    return process_document(ProcessDocument(file_path=str(path)), tools, silent).as_json()


def test_pages_whose_pictures_cannot_be_read_cost_only_themselves(tmp_path):
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf("A page with text that must be kept.", *[""] * 30))
    done = read_with(FaultyPictures(2), path)
    assert (done["status"], done["result"]["pages"][0]["source"]) == ("partial", "text_layer")
    assert [page["n"] for page in done["result"]["pages"] if page["source"] == "ocr"] == list(range(22, 32))
    (error,) = done["errors"]
    assert (error["code"], error["pages"]) == ("timeout", list(range(2, 22)))
    assert "Pages 2 to 21 were not read as pictures: The file took longer" in error["message"]


def test_a_document_of_which_nothing_can_be_read_fails():
    with pytest.raises(FileError, match="took longer") as error:
        read_with(FaultyPictures(1), SAMPLES / "scan.pdf")
    assert error.value.code == "timeout"


def test_reading_pictures_ends_in_time_and_keeps_what_it_has(tmp_path, monkeypatch):
    path, clock = tmp_path / "x.pdf", FalseClock()
    path.write_bytes(pdf(*[""] * 50))
    monkeypatch.setattr(documents, "monotonic", clock)
    monkeypatch.setattr(document_pictures, "monotonic", clock)
    sandbox = FaultyPictures(seconds=60.0, clock=clock)
    done = read_with(sandbox, path, ocr_seconds=100)
    assert [len(pages) for pages in sandbox.asked] == [20, 20]
    assert (done["status"], done["limits"]["hit"]) == ("partial", ["ocr_seconds"])
    assert done["errors"][0]["pages"] == list(range(41, 51))
    assert done["timing"]["run_s"] == 120


def test_the_time_for_reading_pictures_counts_from_the_documents_beginning(tmp_path, monkeypatch):
    class SlowText(FaultyPictures):
        def run(self, job, path, options, report):
            clock.now += 60 if job == "document" else 0
            return super().run(job, path, options, report)

    path, clock = tmp_path / "x.pdf", FalseClock()
    path.write_bytes(pdf(*[""] * 50))
    monkeypatch.setattr(documents, "monotonic", clock)
    monkeypatch.setattr(document_pictures, "monotonic", clock)
    sandbox = SlowText(seconds=60.0, clock=clock)
    done = read_with(sandbox, path, ocr_seconds=100)
    assert (len(sandbox.asked), done["limits"]["hit"]) == (1, ["ocr_seconds"])
    assert "the time for the document was over by then" in done["errors"][0]["message"]


def test_the_time_for_reading_pictures_ends_between_the_pages_of_a_group(tmp_path, monkeypatch):
    class SlowPictures(DirectSandbox):
        def run(self, job, path, options, report):
            def slowly(percent, text):
                clock.now += 30 if job == "pictures" else 0

            return super().run(job, path, options, slowly)

    path, clock = tmp_path / "x.pdf", FalseClock()
    path.write_bytes(pdf(*[""] * 30))
    for module in (documents, document_pictures, pdf_pictures):
        monkeypatch.setattr(module, "monotonic", clock)
    done = read_with(SlowPictures(), path, ocr_seconds=100)
    assert [page["n"] for page in done["result"]["pages"] if page["source"] == "ocr"] == [1, 2, 3, 4]
    assert (done["limits"]["hit"], done["errors"][0]["pages"]) == (["ocr_seconds"], list(range(5, 31)))
    assert "see CELERY_TASK_SOFT_TIME_LIMIT" in done["errors"][0]["message"]


class Backwards:
    """Does the last piece of work first, as threads may."""

    at_once = 2

    def run(self, works, report):
        return [work(report) for work in reversed(works)][::-1]


def test_groups_that_are_read_side_by_side_come_in_the_order_of_their_pages(tmp_path):
    path, sandbox = tmp_path / "x.pdf", FaultyPictures()
    path.write_bytes(pdf(*[""] * 13))
    done = read_with(sandbox, path, side_by_side=Backwards())
    assert [page["n"] for page in done["result"]["pages"] if page["source"] == "ocr"] == list(range(1, 14))
    assert sandbox.asked == [[11, 12, 13], [6, 7, 8, 9, 10], [1, 2, 3, 4, 5]]


def test_few_pages_are_shared_by_all_that_read(tmp_path):
    path, sandbox = tmp_path / "x.pdf", FaultyPictures()
    path.write_bytes(pdf(*[""] * 3))
    read_with(sandbox, path, side_by_side=Backwards())
    assert sandbox.asked == [[3], [1, 2]]


def test_a_group_that_fails_beside_others_costs_only_its_pages(tmp_path):
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf(*[""] * 13))
    done = read_with(FaultyPictures(7), path, side_by_side=Backwards())
    assert [error["pages"] for error in done["errors"]] == [[6, 7, 8, 9, 10]]
    assert [page["n"] for page in done["result"]["pages"] if page["source"] == "ocr"] == [*range(1, 6), 11, 12, 13]


def test_groups_side_by_side_end_in_time_too(tmp_path, monkeypatch):
    path, clock = tmp_path / "x.pdf", FalseClock()
    path.write_bytes(pdf(*[""] * 20))
    monkeypatch.setattr(documents, "monotonic", clock)
    monkeypatch.setattr(document_pictures, "monotonic", clock)
    done = read_with(FaultyPictures(seconds=60.0, clock=clock), path, side_by_side=Backwards(), ocr_seconds=100)
    assert done["limits"]["hit"] == ["ocr_seconds"]
    assert [error["pages"] for error in done["errors"]] == [list(range(1, 11))]


class Faulty(DirectSandbox):
    """Fails at some jobs."""

    def __init__(self, code, *jobs):
        self.code, self.jobs = code, jobs

    def run(self, job, path, options, report):
        if job in self.jobs:
            raise FileError("it went wrong.", self.code)
        return super().run(job, path, options, report)


def written(tmp_path, draw) -> Path:
    path = tmp_path / "x.pdf"
    canvas = Canvas(str(path))
    draw(canvas)
    canvas.save()
    return path


def table(canvas):
    canvas.drawString(72, 760, "Hours of the pumps.")
    canvas.grid([72, 172, 272], [600, 620, 640])
    for x, y, cell in ((76, 626, "Pump"), (176, 626, "Hours"), (76, 606, "North"), (176, 606, "812")):
        canvas.drawString(x, y, cell)


def test_tables_of_a_pdf_are_found_and_stand_in_its_markdown(tmp_path):
    done = read_with(DirectSandbox(), written(tmp_path, table))
    assert done["result"]["tables"][0]["rows"] == [["Pump", "Hours"], ["North", "812"]]
    assert done["result"]["markdown"] == ("Hours of the pumps.\n\n| Pump | Hours |\n| --- | --- |\n| North | 812 |")
    assert "pdfplumber" in [one["engine"] for one in done["provenance"]]


@pytest.mark.parametrize(("code", "status"), [("timeout", "partial"), ("dependency_missing", "ok")])
def test_a_search_for_tables_that_fails_costs_no_text(tmp_path, code, status):
    done = read_with(Faulty(code, "tables"), written(tmp_path, table))
    assert (done["status"], done["result"]["tables"]) == (status, [])
    assert "North" in done["result"]["text"]
    (said,) = done["errors"] + [one for one in done["warnings"] if one.get("step") == "tables"]
    assert (said["code"], said["message"]) == (code, "Page 1 was not searched for tables: it went wrong.")


def test_the_first_pages_are_shown_by_pictures_in_groups_as_long_as_that_goes_well(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "DRAWN_AT_ONCE", 2)
    path = tmp_path / "x.pdf"
    path.write_bytes(pdf(*(f"This is page number {n}" for n in range(1, 7))))
    done = read_with(DirectSandbox(), path, max_page_images=5)
    assert [one["page"] for one in done["artefacts"]] == [1, 2, 3, 4, 5]
    assert next(one for one in done["provenance"] if one["step"] == "page_image")["units"] == {"pages": 5}

    class Slow(DirectSandbox):
        def run(self, job, path, options, report):
            if job == "page_images" and 3 in options["pages"]:
                raise FileError("too slow.", "timeout")
            return super().run(job, path, options, report)

    done = read_with(Slow(), path, max_page_images=5)
    assert [one["page"] for one in done["artefacts"]] == [1, 2]
    assert next(one for one in done["provenance"] if one["step"] == "page_image")["units"] == {"pages": 2}
    (told,) = [one for one in done["warnings"] if one["code"] == "no_page_image"]
    assert (told["page"], told["cause"]) == (3, "timeout")
    done = read_with(DirectSandbox(), path, max_page_images=5, drawing_seconds=0.0)
    assert (done["artefacts"], done["limits"]["hit"]) == ([], ["drawing_seconds"])


def test_the_first_page_is_shown_by_a_picture_and_its_failure_is_only_told(tmp_path):
    path = written(tmp_path, table)
    (image,) = read_with(DirectSandbox(), path)["artefacts"]
    assert (image["kind"], image["mime"], image["page"]) == ("page_image", "image/webp", 1)
    done = read_with(Faulty("timeout", "page_images"), path)
    assert (done["status"], done["artefacts"]) == ("ok", [])
    assert ("no_page_image", "timeout") in [(one["code"], one.get("cause")) for one in done["warnings"]]


def test_a_page_says_what_its_text_layer_and_its_picture_say(tmp_path):
    def page(canvas):
        canvas.drawString(72, 820, "Scanned by the harbour office")
        canvas.drawImage(ImageReader(Image.new("RGB", (60, 60), "grey")), 0, 0, 595, 800)

    path = written(tmp_path, page)
    (one,) = read_with(DirectSandbox(), path)["result"]["pages"]
    assert (one["source"], one["confidence"]) == ("mixed", 0.9)
    assert one["text"].splitlines() == ["Scanned by the harbour office", "DELIVERY NOTE 4711"]
    tools = tools_for(path)
    done = process_document(ProcessDocument(file_path=str(path), ocr_enabled=False), tools, silent).as_json()
    assert "picture_unread" in [one["code"] for one in done["warnings"]]


def test_a_file_inside_names_the_place_where_it_is_kept(tmp_path):
    class WithAttachment(DirectSandbox):
        def run(self, job, path, options, report):
            found = super().run(job, path, options, report)
            if job == "document":
                entry = {"name": "a.txt", "type": None, "bytes": 1, "sha256": "abc"}
                made = packed("attachment", b"x", "text/plain", sha256="abc")
                found["content"] |= {"attachments": [entry], "made": [made]}
            return found

    done = read_with(WithAttachment(), written(tmp_path, table))
    (attachment,) = done["result"]["attachments"]
    assert attachment["artefact"] == next(one["uri"] for one in done["artefacts"] if one["kind"] == "attachment")


def test_a_file_inside_a_file_inside_names_the_place_where_it_is_kept(tmp_path):
    inner, outer = EmailMessage(), EmailMessage()
    for mail in (inner, outer):
        mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "s"
        mail.set_content("text")
    inner.add_attachment(b"x,y\n1,2\n", "text", "csv", filename="deep.csv")
    outer.add_attachment(inner)
    path = tmp_path / "outer.eml"
    path.write_bytes(outer.as_bytes())
    done = read_with(DirectSandbox(), path)
    (message,) = done["result"]["attachments"]
    (deep,) = message["result"]["attachments"]
    assert deep["artefact"] == next(one["uri"] for one in done["artefacts"] if one.get("name") == "deep.csv")


def test_a_pdf_none_of_whose_pages_can_be_opened_fails(tmp_path):
    class NoPages(DirectSandbox):
        def run(self, job, path, options, report):
            found = super().run(job, path, options, report)
            errors = [{"code": "page_failed", "step": "text", "page": 1, "message": "Failed to load page."}]
            return {**found, "content": {**found["content"], "pages": [], "errors": errors}}

    with pytest.raises(FileError, match="No page of the document can be read: Failed to load page") as error:
        read_with(NoPages(), SAMPLES / "report.pdf")
    assert error.value.code == "corrupt"


def test_a_name_that_says_another_type_is_told(tmp_path):
    path = tmp_path / "report.pdf"
    path.write_bytes((SAMPLES / "report.docx").read_bytes())
    done = read_with(DirectSandbox(), path)
    assert (done["input"]["type_mismatch"], done["input"]["declared_type"]) == (True, "application/pdf")
    assert "wordprocessingml" in done["input"]["detected_type"]
    assert [one["code"] for one in done["warnings"]] == ["type_mismatch"]
    assert not processed("report.pdf")["input"]["type_mismatch"]


def test_a_long_text_is_an_artefact_with_an_excerpt_in_the_result():
    storage = KeptArtefacts()
    done = processed("report.docx", inline_text_kb=0, storage=storage)
    kinds = {one["kind"]: one for one in done["artefacts"]}
    assert set(kinds) == {"text", "markdown", "table"}
    assert done["result"]["text_truncated"]
    assert storage.kept[kinds["text"]["uri"]].decode().startswith(done["result"]["text"][:50])
    assert done["result"]["tables"] == [{"page": 1, "title": None, "row_count": 2}]


def test_what_is_not_asked_for_is_not_there():
    done = processed("report.docx", extract_text=False, generate_summary=False, extract_metadata=False)
    found = done["result"]
    assert (found["text"], found["summary"], found["metadata"], found["tables"]) == (None, None, None, [])


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (ProcessDocument, {"file_path": ""}, "file_path"),
        (ProcessDocument, {"file_path": "a\0b"}, "file_path"),
        (ProcessFile, {"file_path": "x", "file_type": "hologram"}, "file_type: must be one of document"),
        (ProcessFile, {"file_path": "x", "processing_options": {"colour": 1}}, "processing_options: must only have"),
        (ProcessFile, {"file_path": "x", "processing_options": {"ocr_enabled": "perhaps"}}, "ocr_enabled"),
    ],
    ids=range(5),
)
def test_a_bad_argument_is_named(model, arguments, words):
    with pytest.raises(ValidationError) as error:
        model.model_validate(arguments)
    assert words in sentence_of(error.value)


@pytest.mark.parametrize("password", [12345, "x" * 1001], ids=["a number", "too long"])
def test_a_bad_password_is_named_and_not_shown(password):
    for model, arguments in (
        (ProcessDocument, {"password": password}),
        (ProcessFile, {"processing_options": {"password": password}}),
    ):
        with pytest.raises(ValidationError) as error:
            model.model_validate({"file_path": "x"} | arguments)
        said = sentence_of(error.value)
        assert "password: " in said
        assert str(password)[:5] not in said


def test_the_samples_are_what_their_script_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(make_samples, "FOLDER", tmp_path)
    make_samples.main()
    made = {path.name for path in tmp_path.iterdir()} | {"talk.mp3"}  # that one is spoken, by tests/make_sounds.py
    assert made == {path.name for path in SAMPLES.iterdir()}
    assert sum(path.stat().st_size for path in Path(SAMPLES).iterdir()) < 1_000_000
