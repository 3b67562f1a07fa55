"""Text in pictures, by the PP-OCR models inside the rapidocr wheel; nothing is downloaded."""

import importlib.metadata
import logging
from typing import Any

import numpy as np

from processors.interfaces import TextLine

THREADS = 1
UPSIDE_DOWN, SURE_OF_TURN = "180", 0.9
LEAST_SIDE = 32
"""A picture with a shorter side is blown up by the engine to 30 pixels, its longer side too, without a limit."""

TALLEST = 8
"""A picture that is more times as high as wide is blown up for the same reason; the engine sees to wide ones itself."""

WIDEST = 100
"""But one that is more times as wide as high has no line left where the engine makes it 2000 pixels wide."""


class RapidOcrReader:
    """Fulfils `processors.interfaces.TextReader`; the models are loaded when it is made."""

    name = "rapidocr"
    version = importlib.metadata.version("rapidocr")

    def __init__(self) -> None:
        from rapidocr import RapidOCR  # noqa: PLC0415 - 300 MB of models and runtime, only where pictures are read

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        threads = {f"EngineConfig.onnxruntime.{one}_op_num_threads": THREADS for one in ("intra", "inter")}
        self._engine: Any = RapidOCR(params={"Global.log_level": "error", **threads})

    def read(self, pixels: Any, *, turn_lines: bool = True) -> list[TextLine]:
        """Return the lines of text in reading order: from top to bottom, from left to right.

        Args:
            pixels: height x width x 3 bytes (BGR).
            turn_lines: whether each line that seems to be upside down is turned before it is read.
        """
        height, width = pixels.shape[:2]
        missing = (
            max(0, LEAST_SIDE - height, width // WIDEST - height),
            max(0, LEAST_SIDE - width, height // TALLEST - width),
        )
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        self._engine.update_params(use_cls=turn_lines)
        # its steps one by one, since its last one drops which lines it has turned
        prepared, changes = self._engine.preprocess_img(pixels)
        steps = self._engine.run_ocr_steps(prepared, changes)
        found = self._engine.build_final_output(pixels, *steps, changes)
        if found.txts is None:
            return []
        kept = zip(found.txts, found.scores, found.boxes, self._turned(*steps[1:3]), strict=True)
        return in_reading_order(
            [
                TextLine(str(text), round(float(score), 3), _box(corners, width, height), upside_down=turned)
                for text, score, corners, turned in kept
            ]
        )

    def _turned(self, turns: Any, texts: Any) -> list[bool]:
        """Tell of each line that is kept, which is one with text and a good score, whether it stood upside down."""
        least = self._engine.text_score
        known = turns.cls_res or [("", 0.0)] * len(texts.txts)
        return [
            turn == UPSIDE_DOWN and sure >= SURE_OF_TURN
            for (turn, sure), text, score in zip(known, texts.txts, texts.scores, strict=True)
            if text.strip() and score >= least
        ]


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
    return min(across), min(down), min(1.0, max(across)), min(1.0, max(down))
