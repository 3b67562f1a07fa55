"""Objects by a detector of one's own: an ONNX file in the layout of YOLOX or RT-DETR."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from processors.errors import FileError
from processors.interfaces import FoundObject

THREADS = 1
USUAL_SIDE = 640
STRIDES = (8, 16, 32)
PADDING = 114
LEAST_SCORE = 0.4
MOST_OVERLAP = 0.45
MOST_OBJECTS = 100
BOX_NUMBERS = 4
PICTURE_SIDES = 4
"""Of a model's input that is a picture: pictures, channels, rows, columns."""

FIRST_DETR_CLASSES = 92
"""The first DETR numbers COCO's labels with gaps, and adds one for nothing, which is the surest of most boxes."""

# fmt: off
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on
"""The 80 labels of COCO, in the order in which such models number them."""


class _Boxes(NamedTuple):
    """What a model found: corners in 0..1 of the picture (n x 4), scores (n) and numbers of labels (n)."""

    corners: Any
    scores: Any
    labels: Any


class OnnxObjects:
    """Fulfils `processors.interfaces.ObjectFinder`, by the model in a file.

    The layout is told by the names of its inputs and outputs and by their shapes:

    - RT-DETR, as its authors export it: inputs `images` and `orig_target_sizes`, outputs `labels`, `boxes`, `scores`;
      https://github.com/lyuwenyu/RT-DETR, tools/export_onnx.py.
    - RT-DETR, as the transformers library exports it: outputs `logits` and `pred_boxes` (middle and size, 0 to 1). The
      first DETR's outputs have the same names and another meaning, and are refused.
    - YOLOX: one output of 1 x cells x (4 + 1 + classes), not yet decoded;
      https://github.com/Megvii-BaseDetection/YOLOX, demo/ONNXRuntime.

    Args:
        model: the file.

    Raises:
        FileError: `model_missing`; there is no such file, or it is no such model.
    """

    quality: Literal["model"] = "model"

    def __init__(self, model: Path) -> None:
        runtime: Any = import_module("onnxruntime")
        self.name, self.version = f"onnx:{model.name}", str(runtime.__version__)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = THREADS
        options.log_severity_level = 3
        if not model.is_file():
            raise FileError(
                f"OBJECT_MODEL names {model}, which is no file here: put an ONNX detector there, or unset it.",
                "model_missing",
            )
        try:
            self._session: Any = runtime.InferenceSession(
                str(model), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no common base
            raise FileError(
                f"OBJECT_MODEL names {model}, which is no usable ONNX model: {error}", "model_missing"
            ) from error
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]
        pictures = [name for name, one in self._inputs.items() if len(one.shape) == PICTURE_SIDES]
        if not pictures:
            raise FileError(f"OBJECT_MODEL names {model}, which takes no picture: give a detector.", "model_missing")
        self._picture = pictures[0]
        sides = self._inputs[self._picture].shape[2:]
        self._height, self._width = (side if isinstance(side, int) else USUAL_SIDE for side in sides)

    def find(self, pixels: Any) -> Sequence[FoundObject]:
        """Return at most 100 objects from a score of 0.4 on, the surest first.

        Args:
            pixels: height x width x 3 bytes (RGB).

        Raises:
            FileError: the model's layout is none that is read.
        """
        if "orig_target_sizes" in self._inputs:
            found = self._rt_detr(pixels)
        elif {"logits", "pred_boxes"} <= set(self._outputs):
            found = self._detr(pixels)
        else:
            found = self._yolox(pixels)
        return self._objects(found)

    def _rt_detr(self, pixels: Any) -> _Boxes:
        height, width = pixels.shape[:2]
        sizes = np.array([[width, height]], np.int64)
        given = self._run({self._picture: self._stretched(pixels), "orig_target_sizes": sizes})
        corners = given["boxes"][0] / np.array([width, height, width, height])
        return _Boxes(corners, given["scores"][0], given["labels"][0])

    def _detr(self, pixels: Any) -> _Boxes:
        given = self._run({self._picture: self._stretched(pixels)})
        if given["logits"].shape[-1] == FIRST_DETR_CLASSES:
            raise FileError(
                f"OBJECT_MODEL gives {FIRST_DETR_CLASSES} classes, as the first DETR does, the last for nothing: "
                "take an RT-DETR.",
                "model_missing",
            )
        shares = 1 / (1 + np.exp(-given["logits"][0]))
        middle, size = np.split(given["pred_boxes"][0], 2, axis=1)
        return _Boxes(np.hstack([middle - size / 2, middle + size / 2]), shares.max(axis=1), shares.argmax(axis=1))

    def _yolox(self, pixels: Any) -> _Boxes:
        height, width = pixels.shape[:2]
        scale = min(self._height / height, self._width / width)
        given = next(iter(self._run({self._picture: self._padded(pixels, scale)}).values()))
        cells = _cells(self._height, self._width)
        if given.ndim != 3 or given.shape[1] != len(cells) or given.shape[2] < BOX_NUMBERS + 2:  # noqa: PLR2004
            raise FileError(
                f"OBJECT_MODEL gives an output of the shape {given.shape}, which is neither YOLOX's nor RT-DETR's.",
                "model_missing",
            )
        middle = (given[0, :, :2] + cells[:, :2]) * cells[:, 2:]
        size = np.exp(np.clip(given[0, :, 2:4], -20, 20)) * cells[:, 2:]
        corners = np.hstack([middle - size / 2, middle + size / 2]) / (np.array([width, height, width, height]) * scale)
        scores = given[0, :, 4:5] * given[0, :, 5:]
        found = _Boxes(corners, scores.max(axis=1), scores.argmax(axis=1))
        return _distinct(_likely(found))

    def _run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))

    def _stretched(self, pixels: Any) -> Any:
        """Return the picture at the model's size, RGB, 0 to 1."""
        picture = Image.fromarray(pixels).resize((self._width, self._height), Image.Resampling.BILINEAR)
        return (np.asarray(picture, np.float32) / 255).transpose(2, 0, 1)[None]

    def _padded(self, pixels: Any, scale: float) -> Any:
        """Return the picture in the upper left of the model's, BGR, 0 to 255."""
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        padded = np.full((self._height, self._width, 3), PADDING, np.float32)
        padded[:height, :width] = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        return np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1))[None]

    def _objects(self, found: _Boxes) -> list[FoundObject]:
        found = _likely(found)
        best = np.argsort(-found.scores, kind="stable")[:MOST_OBJECTS]
        corners = np.clip(found.corners, 0, 1)
        return [
            FoundObject(
                _label(int(found.labels[one])),
                round(min(1.0, float(found.scores[one])), 3),
                (float(corners[one][0]), float(corners[one][1]), float(corners[one][2]), float(corners[one][3])),
                self.name,
            )
            for one in best
        ]


def _likely(found: _Boxes) -> _Boxes:
    """Return what is likely enough; a score or a corner that is no number is never."""
    good = (found.scores >= LEAST_SCORE) & np.isfinite(found.corners).all(axis=1)
    return _Boxes(found.corners[good], found.scores[good], found.labels[good])


def _distinct(found: _Boxes) -> _Boxes:
    """Return for each thing the surest of the boxes of one label that overlap on it (non-maximum suppression)."""
    places = np.hstack([found.corners[:, :2], found.corners[:, 2:] - found.corners[:, :2]])
    dnn: Any = import_module("cv2.dnn")
    kept = dnn.NMSBoxesBatched(
        places.astype(float).tolist(),
        found.scores.astype(float).tolist(),
        found.labels.astype(int).tolist(),
        LEAST_SCORE,
        MOST_OVERLAP,
    )
    return _Boxes(*(values[list(kept)] for values in found))


def _cells(height: int, width: int) -> Any:
    """Return for each cell of YOLOX's three grids its column, its row and its stride in pixels."""
    grids: list[Any] = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        steps = np.full(rows.size, stride)
        grids.append(np.stack([columns.ravel(), rows.ravel(), steps], axis=1))
    return np.concatenate(grids)


def _label(number: int) -> str:
    return COCO[number] if 0 <= number < len(COCO) else f"class {number}"
