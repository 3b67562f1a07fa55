"""Make the sample files of the example anew: `.venv/bin/python tests/make_samples.py`; all in them is made up."""

from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import docx
import openpyxl
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

FOLDER = Path(__file__).resolve().parents[1] / "src" / "examples" / "samples"

REPORT = (
    ("Harbour pumps, first quarter", "The north pump ran for 812 hours and moved 41 000 cubic metres of water."),
    (
        "What failed",
        "A seal of the south pump leaked in February. The pump stood still for nine days until it was replaced.",
    ),
    (
        "What it cost",
        "Repairs cost 3 200 euro. Electricity cost 9 450 euro, which is six per cent less than a year before.",
    ),
    ("What comes next", "In May both pumps get new bearings. The harbour master asks for a third pump before winter."),
)
SCAN = ("DELIVERY NOTE 4711", "Two bearings, one seal, forty metres of hose.", "Received at the harbour on 3 March.")
LATIN_1 = "Größe der Schläuche: vierzig Meter. Die Pumpe läuft wieder, und der Hafenmeister ist zufrieden.\n"


def main() -> None:
    """Write every sample."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    report_pdf(FOLDER / "report.pdf")
    scan_pdf(FOLDER / "scan.pdf")
    report_docx(FOLDER / "report.docx")
    hours_xlsx(FOLDER / "hours.xlsx")
    slides_pptx(FOLDER / "slides.pptx")
    mail_eml(FOLDER / "mail.eml")
    (FOLDER / "latin-1.txt").write_bytes(LATIN_1.encode("latin-1"))


def report_pdf(path: Path) -> None:
    """A text PDF of four pages."""
    canvas = Canvas(str(path), pagesize=A4)
    canvas.setTitle("Harbour pumps, first quarter")
    canvas.setAuthor("Harbour office")
    for heading, text in REPORT:
        canvas.setFont("Helvetica-Bold", 18)
        canvas.drawString(72, 760, heading)
        canvas.setFont("Helvetica", 10)
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()


def scan_pdf(path: Path) -> None:
    """A page that is only a picture of text."""
    picture = Image.new("L", (1240, 600), 255)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=40)
    for number, line in enumerate(SCAN):
        draw.text((100, 100 + 120 * number), line, fill=0, font=font)
    stored = BytesIO()
    picture.save(stored, "PNG", optimize=True)
    canvas = Canvas(str(path), pagesize=(595, 288))
    canvas.drawImage(ImageReader(stored), 0, 0, 595, 288)
    canvas.save()


def report_docx(path: Path) -> None:
    """Headings, paragraphs and a table."""
    document = docx.Document()
    document.core_properties.title, document.core_properties.author = "Harbour pumps", "Harbour office"
    for heading, text in REPORT:
        document.add_heading(heading, level=1)
        document.add_paragraph(text)
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (one for row in table.rows for one in row.cells), ("Pump", "Hours", "North", "812"), strict=True
    ):
        cell.text = text
    document.save(str(path))


def hours_xlsx(path: Path) -> None:
    """Two sheets."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Hours"
    for row in (("Month", "North", "South"), ("January", 270, 255), ("February", 262, 31), ("March", 280, 268)):
        sheet.append(row)
    book.create_sheet("Costs").append(("Electricity", 9450))
    book.save(path)


def slides_pptx(path: Path) -> None:
    """Two slides, one with notes."""
    deck = Presentation()
    for heading, text in REPORT[:2]:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = heading, text
    deck.slides[0].notes_slide.notes_text_frame.text = "Thank the night shift."
    deck.save(str(path))


def mail_eml(path: Path) -> None:
    """A mail with an attachment."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "pumps@example.com", "harbour@example.com", "Pumpe läuft wieder"
    mail["Date"], mail["Message-ID"] = "Tue, 03 Mar 2026 10:00:00 +0100", "<pump-1@example.com>"
    mail.set_content("The south pump runs again. The invoice is attached, and the old seal lies in the workshop.\n")
    mail.add_attachment("Seal;120\nHours;9\n", filename="invoice.csv", subtype="csv")
    path.write_bytes(mail.as_bytes())


if __name__ == "__main__":
    main()
