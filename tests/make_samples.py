"""Make the sample files of the example anew: `.venv/bin/python tests/make_samples.py`; all in them is made up."""

import zipfile
from email.message import EmailMessage
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import docx
import numpy as np
import openpyxl
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

import drawn

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
SIGN = ("HARBOUR OFFICE", "Open from 8 to 16", "Ring twice")
TONES = (440, 550, 660)
SAMPLE_RATE, FRAME_RATE = 24_000, 10
SCENES = ((200, 40, 40), (40, 160, 60), (40, 60, 200))


def main() -> None:
    """Write every sample."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    report_pdf(FOLDER / "report.pdf")
    scan_pdf(FOLDER / "scan.pdf")
    report_docx(FOLDER / "report.docx")
    hours_xlsx(FOLDER / "hours.xlsx")
    slides_pptx(FOLDER / "slides.pptx")
    mail_eml(FOLDER / "mail.eml")
    drawn.face().save(FOLDER / "face.png", optimize=True)
    (FOLDER / "latin-1.txt").write_bytes(LATIN_1.encode("latin-1"))
    sign_png(FOLDER / "sign.png")
    tones_mp3(FOLDER / "tones.mp3")
    film_mp4(FOLDER / "film.mp4")
    delivery_zip(FOLDER / "delivery.zip")


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


def _harbour(boat: int, sky: str) -> Image.Image:
    picture = Image.new("RGB", (320, 180), sky)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 110, 320, 180), fill="steelblue")
    draw.polygon([(boat, 100), (boat + 90, 100), (boat + 75, 125), (boat + 15, 125)], fill="firebrick")
    draw.rectangle((boat + 30, 75, boat + 60, 100), fill="ivory")
    return picture


def _pump_house() -> Image.Image:
    picture = Image.new("RGB", (320, 180), "darkseagreen")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((90, 60, 230, 170), fill="sienna")
    draw.polygon([(80, 60), (160, 15), (240, 60)], fill="maroon")
    draw.rectangle((140, 110, 180, 170), fill="black")
    return picture


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


def sign_png(path: Path) -> None:
    """A picture of a sign with three lines of text."""
    picture = Image.new("RGB", (800, 480), (24, 60, 110))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((30, 30, 770, 450), outline=(240, 240, 240), width=6)
    for number, line in enumerate(SIGN):
        draw.text((90, 80 + 115 * number), line, fill=(250, 250, 250), font=ImageFont.load_default(size=64))
    picture.quantize(32).save(path, optimize=True)


def tones_mp3(path: Path) -> None:
    """Three tones, of a second each."""
    with av.open(str(path), "w", format="mp3") as made:
        stream = made.add_stream("mp3", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = 32_000
        made.metadata["title"] = "Three tones"
        add_tones(made, stream)


def film_mp4(path: Path) -> None:
    """Three scenes of a second each: a bar that moves over another colour, and a tone."""
    with av.open(str(path), "w", format="mp4") as made:
        pictures = made.add_stream("h264", rate=FRAME_RATE, width=320, height=180, pix_fmt="yuv420p")
        sound = made.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        sound.bit_rate = 32_000
        for number in range(FRAME_RATE * len(SCENES)):
            frame = np.full((180, 320, 3), SCENES[number // FRAME_RATE], np.uint8)
            frame[60:120, 8 * number : 8 * number + 40] = 240
            made.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        made.mux(pictures.encode(None))
        add_tones(made, sound)


def add_tones(made: av.container.OutputContainer, stream: av.AudioStream) -> None:
    """Encode a tone after another."""
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for number, tone in enumerate(TONES):
        wave = (0.3 * np.sin(2 * np.pi * tone * seconds)).astype(np.float32)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), number * SAMPLE_RATE
        made.mux(stream.encode(frame))
    made.mux(stream.encode(None))


def delivery_zip(path: Path) -> None:
    """A note, a table, a picture, and an archive with one more note."""
    inner = BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("older/note.txt", "The old seal lies in the workshop. It may be thrown away.\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("note.txt", "Two bearings and one seal were delivered. The hose comes on Friday.\n")
        made.writestr("parts.csv", "part,count\nbearing,2\nseal,1\n")
        made.write(FOLDER / "sign.png", "pictures/sign.png")
        made.writestr("older.zip", inner.getvalue())


if __name__ == "__main__":
    main()
