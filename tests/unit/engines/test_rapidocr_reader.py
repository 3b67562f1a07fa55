"""The reader of pictures: lines in the order in which people read them, each with its place."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from engines.rapidocr_reader import RapidOcrReader, in_reading_order
from processors.interfaces import TextLine


@pytest.fixture(scope="module")
def reader() -> RapidOcrReader:
    return RapidOcrReader()


def line(text: str, left: float, top: float) -> TextLine:
    return TextLine(text, 1.0, (left, top, left + 0.2, top + 0.04))


def test_lines_beside_each_other_are_read_from_left_to_right_though_one_is_a_little_higher():
    lines = [line("right", 0.6, 0.124), line("below", 0.1, 0.2), line("left", 0.1, 0.127)]
    assert [one.text for one in in_reading_order(lines)] == ["left", "right", "below"]


@pytest.mark.parametrize("shape", [(1, 2000, 3), (6, 2000, 3), (6, 40_000, 3), (40, 6_000, 3), (2000, 1, 3), (1, 1, 3)])
def test_a_picture_that_is_too_narrow_for_text_has_none_and_is_not_blown_up(reader, monkeypatch, shape):
    seen = []
    steps = reader._engine.run_ocr_steps
    monkeypatch.setattr(
        reader._engine, "run_ocr_steps", lambda picture, *more: seen.append(picture.shape) or steps(picture, *more)
    )
    assert reader.read(np.full(shape, 200, np.uint8)) == []
    assert max(seen[0]) <= 2_100


def test_a_narrow_line_of_text_lies_within_the_picture(reader):
    picture = Image.new("RGB", (400, 20), "white")
    ImageDraw.Draw(picture).text((10, 0), "DELIVERY NOTE 4711", fill="black", font=ImageFont.load_default(size=16))
    (found,) = reader.read(np.asarray(picture))
    assert found.text == "DELIVERY NOTE 4711"
    assert 0 <= found.box[1] < found.box[3] <= 1


def test_a_picture_of_text_is_read_with_places_and_confidence(reader):
    picture = Image.new("RGB", (900, 300), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=40)
    draw.text((40, 30), "DELIVERY NOTE 4711", fill="black", font=font)
    draw.text((40, 200), "Two bearings, one seal", fill="black", font=font)
    first, second = reader.read(np.asarray(picture))
    assert first.text == "DELIVERY NOTE 4711"
    assert second.text.startswith("Two bearings")
    assert first.confidence > 0.8
    left, top, right, bottom = first.box
    assert 0 <= left < right <= 1
    assert 0 <= top < 0.2 < bottom + 0.1 < second.box[1]


def test_a_blank_picture_has_no_lines(reader):
    assert reader.read(np.full((200, 300, 3), 255, np.uint8)) == []


def test_what_is_looked_at_of_a_tall_picture_is_no_larger_than_of_a_wide_one(reader, monkeypatch):
    seen = []
    find = reader._engine.text_det.session
    monkeypatch.setattr(reader._engine.text_det, "session", lambda pixels: seen.append(pixels.shape) or find(pixels))
    for shape in [(2000, 1, 3), (1, 2000, 3)]:
        assert reader.read(np.full(shape, 200, np.uint8)) == []
    tall, wide = (height * width for *_, height, width in seen)
    assert tall <= 2 * wide
