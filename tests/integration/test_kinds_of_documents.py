"""Every kind of document in a real child: what its reader needs is there after the child gave up its rights."""

import io
import zipfile

import pytest

from adapters.file_sandbox import ChildSandbox
from compound_files import compound, message
from reading import archive, options, silent

OFFICE = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
TEXT = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
ODT = f"<office:document-content {OFFICE} {TEXT}><office:body><office:text><text:p>It works.</text:p></office:text>"
BOOK = (
    "<package xmlns='http://www.idpf.org/2007/opf'><manifest>"
    "<item id='a' href='a.xhtml' media-type='application/xhtml+xml'/></manifest>"
    "<spine><itemref idref='a'/></spine></package>"
)


def odt() -> bytes:
    """A text with a picture, whose type is told by its name."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as made:
        made.writestr("mimetype", "application/vnd.oasis.opendocument.text")
        made.writestr("content.xml", f"{ODT}</office:body></office:document-content>")
        made.writestr("Pictures/a.png", b"\x89PNG\r\n\x1a\n")
    return stored.getvalue()


def epub() -> bytes:
    """A book of one chapter."""
    return archive(
        {
            "META-INF/container.xml": b"<container><rootfile full-path='book.opf'/></container>",
            "book.opf": BOOK.encode(),
            "a.xhtml": b"<html><body><p>It works.</p></body></html>",
        }
    )


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox as the worker has it."""
    made = ChildSandbox(memory_mb=2048, cpu_seconds=60, wall_seconds=60, output_mb=8, max_file_mb=1)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("rtf", rb"{\rtf1\ansi It works.\par}"),
        ("odt", odt()),
        ("epub", epub()),
        ("msg", compound(message({0x1000: "It works."}))),
    ],
)
def test_each_kind_is_read_inside_of_the_sandbox(sandbox, tmp_path, kind, raw):
    path = tmp_path / f"file.{kind}"
    path.write_bytes(raw)
    found = sandbox.run("document", path, options(path.name), silent)
    assert (found["kind"], found["content"]["pages"][0]["text"]) == (kind, "It works.")
    assert {"seccomp", "no_new_privs"} <= set(found["sandbox"])


def test_a_document_of_the_old_office_is_told_and_left_to_be_converted(sandbox, tmp_path):
    path = tmp_path / "file.doc"
    path.write_bytes(compound({"WordDocument": b"x" * 600}))
    found = sandbox.run("document", path, options(path.name), silent)
    assert (found["kind"], found["content"]) == ("doc", None)
