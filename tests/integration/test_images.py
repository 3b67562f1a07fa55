"""Pictures through the real sandbox and a real worker: its models are loaded once, and nothing is turned in error."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import drawn
import onnx_models
from adapters.file_sandbox import ChildSandbox
from config.settings import settings
from examples.celery_example import SAMPLES
from installation import Installation
from processors.errors import FileError
from processors.images import ImageTools, ProcessImage, process_image
from reading import silent
from services import wiring
from services.celery_service import celery_service
from services.wiring import parts


class Storage:
    """Keeps nothing."""

    def put(self, content, *, mime, task_id):
        return "store://1"


@pytest.fixture(scope="module")
def sandbox():
    made = ChildSandbox(memory_mb=2048, cpu_seconds=120, wall_seconds=200, output_mb=8, max_file_mb=5)
    yield made
    made.close()


def processed(sandbox, path: Path, picture: Image.Image, **flags) -> dict:
    picture.save(path)
    tools = ImageTools(path=path, sandbox=sandbox, storage=Storage(), task_id="t", max_pixels=10**7)
    usual = {"extract_text": False, "detect_objects": False}
    return process_image(ProcessImage(file_path=str(path), **usual | flags), tools, silent).as_json()


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "avif", "heic", "tif", "gif", "bmp"])
def test_every_format_is_decoded_inside_the_sandbox(sandbox, tmp_path, kind):
    done = processed(sandbox, tmp_path / f"x.{kind}", drawn.quarters())
    assert (done["status"], done["result"]["width"]) == ("ok", 400)
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])


def test_a_png_whose_part_claims_gigabytes_is_damaged_and_asks_for_no_memory(sandbox, tmp_path):
    path = tmp_path / "x.png"
    drawn.quarters().save(path)
    raw = path.read_bytes()
    path.write_bytes(raw[:8] + b"\xff" + raw[9:])
    tools = ImageTools(path=path, sandbox=sandbox, storage=Storage(), task_id="t", max_pixels=10**7)
    with pytest.raises(FileError, match="damaged") as error:
        process_image(ProcessImage(file_path=str(path)), tools, silent)
    assert error.value.code == "corrupt"


def test_things_and_faces_are_found_inside_the_sandbox_by_models_that_are_loaded_once(sandbox, tmp_path):
    flags = {"detect_objects": True, "face_recognition": True}
    first = processed(sandbox, tmp_path / "face.png", drawn.face(), **flags)
    pid = sandbox._children["pictures"].process.pid
    second = processed(sandbox, tmp_path / "face.png", drawn.face(), **flags)
    for done in (first, second):
        assert (done["status"], done["errors"], len(done["result"]["faces"])) == ("ok", [], 1)
        assert {"face", "eye"} <= {one["label"] for one in done["result"]["objects"]}
    assert sandbox._children["pictures"].process.pid == pid


def test_a_model_of_ones_own_is_read_from_its_folder_inside_the_sandbox(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    logits, boxes = np.full((1, 1, 80), 9, np.float32), np.full((1, 1, 4), 0.5, np.float32)
    shape = {"images": (onnx_models.FLOAT, (1, 3, 64, 64))}
    (folder / "detr.onnx").write_bytes(onnx_models.model(shape, {"logits": logits, "pred_boxes": boxes}))
    loading = {"readable": [str(folder)], "models_dir": str(folder), "object_model": "detr.onnx"}
    limits = {"memory_mb": 2048, "cpu_seconds": 60, "wall_seconds": 90, "output_mb": 8, "max_file_mb": 5}
    own = ChildSandbox(**limits, loading=loading)
    try:
        done = processed(own, tmp_path / "x.png", drawn.quarters(), detect_objects=True)
        (folder / "detr.onnx").unlink()
        own.close()
        without = processed(own, tmp_path / "x.png", drawn.quarters(), detect_objects=True)
    finally:
        own.close()
    assert done["result"]["objects"] == [
        {"label": "person", "confidence": 1.0, "bbox": [0.25, 0.25, 0.75, 0.75], "engine": "onnx:detr.onnx"}
    ]
    assert (without["status"], without["result"]["objects"]) == ("partial", None)
    assert [one["code"] for one in without["errors"]] == ["model_missing"]


def test_the_children_may_read_the_folder_of_the_model_that_the_settings_name(monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "object_model", str(tmp_path / "boats.onnx"))
    loading = wiring._loading()
    assert loading["object_model"] == str(tmp_path / "boats.onnx")
    assert {str(settings.models_dir), str(tmp_path)} <= set(loading["readable"])


def test_a_page_upside_down_is_turned_and_a_clean_line_that_begins_oddly_is_not(sandbox, tmp_path):
    lines = ("(two) bearings", "DELIVERY NOTE 4711", "forty metres of hose")
    upright = processed(sandbox, tmp_path / "page.png", drawn.page(*lines), extract_text=True)["result"]["ocr"]
    turned = processed(sandbox, tmp_path / "page.png", drawn.page(*lines).rotate(180), extract_text=True)["result"][
        "ocr"
    ]
    assert (upright["rotated"], turned["rotated"]) == (0, 180)
    for ocr in (upright, turned):
        assert [line["text"] for line in ocr["lines"]] == list(lines)
    assert turned["lines"][0]["bbox"][1] > 0.7, "boxes are those of the picture as it lies"


def test_a_picture_is_read_by_a_worker_and_its_thumbnails_are_stored(installation: Installation):
    task_id = celery_service.process_image(str(SAMPLES / "sign.png"))
    done = celery_service.get_task_result(task_id, timeout=120)
    assert (done["schema"], done["status"]) == ("csai.image/1", "ok")
    assert done["result"]["ocr"]["text"] == "HARBOUR OFFICE\nOpen from 8 to 16\nRing twice"
    assert {"landscape", "text", "drawing"} <= {one["tag"] for one in done["result"]["tags"]}
    for artefact in done["artefacts"]:
        assert len(parts().storage.get(artefact["uri"])) == artefact["bytes"]
