"""A detector of one's own: each layout is told by the model itself, and its boxes come back in parts of the picture."""

from pathlib import Path

import numpy as np
import pytest

import onnx_models
from engines.onnx_objects import COCO, OnnxObjects
from processors.errors import FileError

PICTURE = np.zeros((100, 200, 3), np.uint8)
SIDE = 64
CELLS = 64 + 16 + 4


def written(path: Path, inputs: dict, outputs: dict) -> Path:
    path.write_bytes(onnx_models.model(inputs, outputs))
    return path


def images(side: int = SIDE) -> dict:
    return {"images": (onnx_models.FLOAT, (1, 3, side, side))}


def found(path: Path) -> list[tuple]:
    return [(one.label, one.confidence, pytest.approx(one.box, abs=1e-4)) for one in OnnxObjects(path).find(PICTURE)]


def test_yolox_is_decoded_by_its_cells_and_of_overlapping_boxes_the_surest_stays(tmp_path):
    cells = np.zeros((1, CELLS, 5 + 80), np.float32)
    size = np.log(16 / 8)
    # cell 9 of the first grid: column 1, row 1, 8 pixels each; the picture fills the upper half of the model's
    for cell, sure in ((9, 0.9), (10, 0.8)):
        cells[0, cell, :5] = [1.0 - (cell == 10), 1.0, size, size, sure]
        cells[0, cell, 5 + COCO.index("boat")] = 1.0
    cells[0, 30, :6] = [0, 0, size, size, 0.9, 0.1]  # too unsure
    path = written(tmp_path / "yolox.onnx", images(), {"output": cells})
    assert found(path) == [("boat", 0.9, (8 / 64, 8 / 32, 24 / 64, 24 / 32))]


def test_rt_detr_gives_boxes_in_pixels_of_the_picture(tmp_path):
    inputs = images() | {"orig_target_sizes": (onnx_models.INT64, (1, 2))}
    outputs = {
        "labels": np.array([[2, 0, 99]], np.int64),
        "boxes": np.array([[[20, 10, 100, 50], [0, 0, 300, 100], [0, 0, 20, 10]]], np.float32),
        "scores": np.array([[0.7, 0.9, 0.5]], np.float32),
    }
    path = written(tmp_path / "rtdetr.onnx", inputs, outputs)
    assert found(path) == [
        ("person", 0.9, (0, 0, 1, 1)),
        ("car", 0.7, (0.1, 0.1, 0.5, 0.5)),
        ("class 99", 0.5, (0, 0, 0.1, 0.1)),
    ]


def test_detr_gives_middles_and_sizes_in_parts_of_the_picture(tmp_path):
    logits = np.full((1, 2, 80), -9, np.float32)
    logits[0, 0, COCO.index("dog")] = 2.0
    boxes = np.array([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]]], np.float32)
    path = written(tmp_path / "detr.onnx", images(), {"logits": logits, "pred_boxes": boxes})
    assert found(path) == [("dog", 0.881, (0.4, 0.3, 0.6, 0.7))]


def test_a_first_detr_whose_labels_are_numbered_otherwise_is_refused(tmp_path):
    outputs = {"logits": np.zeros((1, 2, 92), np.float32), "pred_boxes": np.zeros((1, 2, 4), np.float32)}
    path = written(tmp_path / "detr.onnx", images(), outputs)
    with pytest.raises(FileError, match="92 classes") as error:
        found(path)
    assert error.value.code == "model_missing"


def test_a_model_that_takes_no_picture_is_refused_by_its_name(tmp_path):
    path = written(tmp_path / "words.onnx", {"words": (onnx_models.INT64, (1, 8))}, {"output": np.zeros(1, np.float32)})
    with pytest.raises(FileError, match=r"words\.onnx, which takes no picture") as error:
        OnnxObjects(path)
    assert error.value.code == "model_missing"


def test_a_score_or_a_corner_that_is_no_number_is_no_object(tmp_path):
    inputs = images() | {"orig_target_sizes": (onnx_models.INT64, (1, 2))}
    outputs = {
        "labels": np.array([[0, 0]], np.int64),
        "boxes": np.array([[[0, 0, 9, 9], [0, np.nan, 9, 9]]], np.float32),
        "scores": np.array([[np.nan, 0.9]], np.float32),
    }
    assert found(written(tmp_path / "nan.onnx", inputs, outputs)) == []


def test_yolox_is_given_the_picture_whole_in_the_upper_left_blue_first_in_255_steps(tmp_path):
    engine = OnnxObjects(onnx_models.echo(tmp_path / "echo.onnx", (1, 3, SIDE, SIDE)))
    red = np.zeros((10, 20, 3), np.uint8)
    red[:, :, 0] = 255
    given = engine._run({"images": engine._padded(red, SIDE / 20)})["output"][0]
    assert given[:, 0, 0].tolist() == [0, 0, 255]
    assert given[:, 31, 63].tolist() == [0, 0, 255]
    assert given[:, 32, 0].tolist() == [114, 114, 114]


def test_detr_is_given_the_picture_stretched_red_first_in_parts_of_one(tmp_path):
    engine = OnnxObjects(onnx_models.echo(tmp_path / "echo.onnx", (1, 3, SIDE, SIDE)))
    red = np.zeros((10, 20, 3), np.uint8)
    red[:, :, 0] = 255
    given = engine._run({"images": engine._stretched(red)})["output"][0]
    assert given[:, 63, 63].tolist() == [1, 0, 0]


def test_a_model_that_is_missing_damaged_or_of_another_layout_says_so(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    other = written(tmp_path / "other.onnx", images(), {"output": np.zeros((1, 5, 7), np.float32)})
    for path, words in (
        (tmp_path / "gone.onnx", "is no file here: put an ONNX detector there"),
        (tmp_path / "text.onnx", "is no usable ONNX model"),
        (other, r"the shape \(1, 5, 7\), which is neither"),
    ):
        with pytest.raises(FileError, match=words) as error:
            OnnxObjects(path).find(PICTURE)
        assert error.value.code == "model_missing"
