"""Text in pictures, by the PP-OCR models inside the rapidocr wheel; nothing is downloaded."""

import importlib.metadata
import logging
from typing import Any

from processors.interfaces import TextLine

THREADS = 1


class RapidOcrReader:
    """Fulfils `processors.interfaces.TextReader`; the models are loaded when it is made."""

    name = "rapidocr"
    version = importlib.metadata.version("rapidocr")

    def __init__(self) -> None:
        from rapidocr import RapidOCR  # noqa: PLC0415 - 300 MB of models and runtime, only where pictures are read

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        threads = {f"EngineConfig.onnxruntime.{one}_op_num_threads": THREADS for one in ("intra", "inter")}
        self._engine: Any = RapidOCR(params={"Global.log_level": "error", **threads})

    def read(self, pixels: Any) -> list[TextLine]:
        """Return the lines of text in reading order: from top to bottom, from left to right.

        Args:
            pixels: height x width x 3 bytes (BGR).
        """
        height, width = pixels.shape[:2]
        found = self._engine(pixels)
        if found.txts is None:
            return []
        lines = [
            TextLine(str(text), round(float(score), 3), _box(corners, width, height))
            for text, score, corners in zip(found.txts, found.scores, found.boxes, strict=True)
        ]
        return in_reading_order(lines)


def in_reading_order(lines: list[TextLine]) -> list[TextLine]:
    """Return lines from top to bottom; those whose middle lies beside the row's first one, from left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: line.box[1]):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and middle <= rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box[0])]


def _box(corners: Any, width: int, height: int) -> tuple[float, float, float, float]:
    across, down = [float(x) / width for x, _ in corners], [float(y) / height for _, y in corners]
    return min(across), min(down), max(across), max(down)
