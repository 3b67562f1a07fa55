"""Documents in memory: made, changed and read without a child, as tests of the work need them."""

import io
import json
import zipfile

from reportlab.pdfgen.canvas import Canvas

from examples.celery_example import SAMPLES
from processors.document_reading import read_document


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


def options(name: str = "file", **more) -> dict:
    """The options of the job `document`."""
    usual = {"max_pages": 100, "max_characters": 1_000_000, "extract_metadata": True, "password": None}
    return {"name": name} | usual | more


def read(raw: bytes, name: str = "file", **more) -> dict:
    """Read a document as the child does; the answer must be JSON."""
    found = read_document(io.BytesIO(raw), options(name, **more), silent)
    json.dumps(found, allow_nan=False)
    return found


def text_of(raw: bytes, name: str = "file", **more) -> str:
    """The text of all pages."""
    return "\n".join(page["text"] for page in read(raw, name, **more)["content"]["pages"])


def warned(found: dict) -> list[str]:
    """The codes of the warnings."""
    return [one["code"] for one in found["content"]["warnings"]]


def pdf(*pages: str, **more) -> bytes:
    """A PDF with a line of text on every page; an empty line leaves the page blank."""
    stored = io.BytesIO()
    canvas = Canvas(stored, **more)
    for text in pages:
        if text:
            canvas.drawString(72, 700, text)
        canvas.showPage()
    canvas.save()
    return stored.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    """A ZIP archive."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return stored.getvalue()


def part(sample: str, name: str) -> bytes:
    """One member of a sample."""
    with zipfile.ZipFile(SAMPLES / sample) as whole:
        return whole.read(name)


def repacked(sample: str, changes: dict[str, bytes]) -> bytes:
    """A sample some of whose members are others, or new."""
    new = dict(changes)
    stored = io.BytesIO()
    with zipfile.ZipFile(SAMPLES / sample) as whole, zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as made:
        for name in whole.namelist():
            made.writestr(name, new.pop(name, None) or whole.read(name))
        for name, content in new.items():
            made.writestr(name, content)
    return stored.getvalue()
