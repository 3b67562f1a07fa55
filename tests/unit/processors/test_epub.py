"""EPUB: a book's chapters in reading order, its table of contents, and nothing from outside of it."""

import io
import socket

import pytest

from processors.errors import FileError
from processors.file_types import sniff
from reading import archive, read, warned

CONTAINER = (
    b'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    b'<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
)
CHAPTER = (
    "<html xmlns='http://www.w3.org/1999/xhtml'><head><title>{0}</title></head>"
    "<body><h1>{0}</h1><p>{1}</p></body></html>"
)
NAVIGATION = (
    "<html xmlns='http://www.w3.org/1999/xhtml' xmlns:epub='http://www.idpf.org/2007/ops'><body><nav epub:type='toc'>"
    "<ol><li><a href='text/two.xhtml'>The second</a><ol><li><a href='text/one.xhtml#a'>The first</a></li></ol></li>"
    "</ol></nav></body></html>"
)


def book(spine: str = "", manifest: str = "", metadata: str = "", **members) -> bytes:
    """A book of two chapters, the second of which comes first."""
    package = (
        "<package xmlns='http://www.idpf.org/2007/opf'><metadata xmlns:dc='http://purl.org/dc/elements/1.1/'>"
        f"<dc:title>Pumps</dc:title><dc:creator>Ann</dc:creator><dc:creator>Bob</dc:creator>{metadata}</metadata><manifest>"
        "<item id='one' href='text/one.xhtml' media-type='application/xhtml+xml'/>"
        "<item id='two' href='text/two.xhtml' media-type='application/xhtml+xml'/>"
        f"{manifest}</manifest><spine><itemref idref='two'/><itemref idref='one'/>{spine}</spine></package>"
    )
    return archive(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "OEBPS/book.opf": package.encode(),
            "OEBPS/text/one.xhtml": CHAPTER.format("One", "It works.").encode(),
            "OEBPS/text/two.xhtml": CHAPTER.format("Two", "It stands.").encode(),
        }
        | members
    )


def test_a_book_is_told_by_its_content():
    assert sniff(io.BytesIO(book()), "x.zip") == "epub"


def test_chapters_are_pages_in_reading_order_with_markdown():
    content = read(book())["content"]
    assert [page["text"] for page in content["pages"]] == ["Two\nIt stands.", "One\nIt works."]
    assert content["pages"][0]["markdown"] == "# Two\n\nIt stands."
    assert content["metadata"] == {"title": "Pumps", "author": "Ann, Bob"}
    assert [one["title"] for one in content["outline"]] == ["Two", "One"]


def test_the_table_of_contents_is_the_outline():
    item = "<item id='nav' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/>"
    content = read(book(manifest=item, **{"OEBPS/nav.xhtml": NAVIGATION.encode()}))["content"]
    assert content["outline"] == [
        {"title": "The second", "level": 1, "page": 1},
        {"title": "The first", "level": 2, "page": 2},
    ]


def test_a_damaged_table_of_contents_costs_itself_and_the_headings_stand_for_it():
    item = "<item id='nav' href='nav.xhtml' media-type='application/xhtml+xml' properties='nav'/>"
    content = read(book(manifest=item, **{"OEBPS/nav.xhtml": b"<html><ol><li>"}))["content"]
    assert [page["text"] for page in content["pages"]] == ["Two\nIt stands.", "One\nIt works."]
    assert [one["title"] for one in content["outline"]] == ["Two", "One"]
    assert [one["code"] for one in content["warnings"]] == ["outline_unreadable"]


def test_the_older_table_of_contents_is_read_where_there_is_no_newer_one():
    item = "<item id='ncx' href='toc.ncx' media-type='application/x-dtbncx+xml'/>"
    ncx = (
        b"<ncx xmlns='http://www.daisy.org/z3986/2005/ncx/'><navMap><navPoint><navLabel><text>Second</text></navLabel>"
        b"<content src='text/two.xhtml'/><navPoint><navLabel><text>First</text></navLabel>"
        b"<content src='text/one.xhtml'/></navPoint></navPoint></navMap></ncx>"
    )
    content = read(book(manifest=item, **{"OEBPS/toc.ncx": ncx}))["content"]
    assert [(one["title"], one["level"], one["page"]) for one in content["outline"]] == [
        ("Second", 1, 1),
        ("First", 2, 2),
    ]


def test_a_chapter_named_again_and_again_is_read_once():
    assert len(read(book(spine="<itemref idref='one'/>" * 10_000))["content"]["pages"]) == 2


def test_a_chapter_that_is_not_there_costs_itself_only():
    item = "<item id='gone' href='../../../etc/passwd' media-type='application/xhtml+xml'/>"
    content = read(book(manifest=item, spine="<itemref idref='gone'/>"))["content"]
    assert len(content["pages"]) == 2
    assert [one["page"] for one in content["errors"]] == [3]


def encryption(algorithm: str, name: str) -> bytes:
    """A list of encrypted files that names one."""
    return (
        "<encryption xmlns='urn:oasis:names:tc:opendocument:xmlns:container' "
        "xmlns:enc='http://www.w3.org/2001/04/xmlenc#'><enc:EncryptedData>"
        f"<enc:EncryptionMethod Algorithm='{algorithm}'/><enc:CipherData><enc:CipherReference URI='{name}'/>"
        "</enc:CipherData></enc:EncryptedData></encryption>"
    ).encode()


def test_a_book_whose_text_is_locked_is_said_to_be_encrypted():
    locked = encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/text/one.xhtml")
    with pytest.raises(FileError, match="DRM") as error:
        read(book(**{"META-INF/encryption.xml": locked}))
    assert error.value.code == "encrypted"


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        ("http://www.idpf.org/2008/embedding", "OEBPS/text/one.xhtml"),
        ("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/font.otf"),
    ],
    ids=["scrambled font", "other file"],
)
def test_a_book_whose_fonts_are_scrambled_is_read(algorithm, name):
    assert len(read(book(**{"META-INF/encryption.xml": encryption(algorithm, name)}))["content"]["pages"]) == 2


def test_nothing_that_a_chapter_refers_to_is_fetched(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("reached out"))
    chapter = b"<html><link rel='stylesheet' href='http://192.0.2.1/a.css'/><img src='http://192.0.2.1/b.png'/><p>x</p></html>"
    assert read(book(**{"OEBPS/text/one.xhtml": chapter}))["content"]["pages"][1]["text"] == "x"


@pytest.mark.parametrize("container", [b"<container/>", b"<oops", None], ids=["empty", "broken", "absent"])
def test_a_damaged_book_is_one_sentence(container):
    members = {"mimetype": b"application/epub+zip"} | ({"META-INF/container.xml": container} if container else {})
    with pytest.raises(FileError) as error:
        read(archive(members))
    assert error.value.code == "corrupt"
    assert "\n" not in str(error.value)


def test_a_book_without_text_says_why():
    empty = CHAPTER.format("", "").encode()
    assert warned(read(book(**{"OEBPS/text/one.xhtml": empty, "OEBPS/text/two.xhtml": empty}))) == ["no_text"]
