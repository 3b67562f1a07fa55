"""Text of a PDF through the warm sandboxed child, against pypdfium2 by itself: a ratio, interleaved, medians.

.venv/bin/python benchmarks/documents.py
"""

import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from pypdfium2 import PdfDocument
from reportlab.pdfgen.canvas import Canvas

from adapters.file_sandbox import ChildSandbox

PAGES, LINES, ROUNDS = 200, 45, 15
OPTIONS = {"name": "x.pdf", "max_pages": 2000, "max_characters": 10**7, "extract_metadata": False, "password": None}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.pdf")
        make(path)
        sandbox = ChildSandbox(memory_mb=2048, cpu_seconds=300, wall_seconds=300, output_mb=64, max_file_mb=500)
        with closing(sandbox):
            sandbox.run("document", path, OPTIONS, lambda _percent, _text: None)
            ratios = [measure(alone, path) / measure(lambda one: through(sandbox, one), path) for _ in range(ROUNDS)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(
        f"speed of the warm child / pypdfium2 alone: {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {ROUNDS} rounds)"
    )


def make(path: Path) -> None:
    """A text PDF of 200 pages of 45 lines."""
    canvas = Canvas(str(path))
    for page in range(PAGES):
        for line in range(LINES):
            canvas.drawString(
                50, 800 - 16 * line, f"Page {page}, line {line}: the pump moved water all night, as it should."
            )
        canvas.showPage()
    canvas.save()


def alone(path: Path) -> None:
    """Read all text in this process."""
    with closing(PdfDocument(path)) as pdf:
        for page in pdf:
            page.get_textpage().get_text_range()


def through(sandbox: ChildSandbox, path: Path) -> None:
    """Read all text in the child."""
    sandbox.run("document", path, OPTIONS, lambda _percent, _text: None)


def measure(work: object, path: Path) -> float:
    """Return the seconds that it takes."""
    began = time.perf_counter()
    work(path)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
