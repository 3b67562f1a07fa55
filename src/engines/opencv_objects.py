"""People, faces, eyes and number plates by the classical detectors inside the OpenCV 4 wheel, which are rough."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from math import exp
from pathlib import Path
from typing import Any, Literal

from processors.interfaces import FoundObject

LONGEST_SIDE = 800
"""Pixels at which a picture is searched: the detectors take time by the pixel, and a person needs 64 x 128 of them."""

PERSON_SIDES = (64, 128)
LEAST_PERSON = 0.5
"""Margin of the people's detector from which on one counts; below it is mostly furniture."""

NEIGHBOURS = 5
CASCADES = {"face": "haarcascade_frontalface_alt2.xml", "plate": "haarcascade_russian_plate_number.xml"}
EYES = "haarcascade_eye.xml"
LEAST_SHARE = {"face": 0.06, "plate": 0.05}
"""The smallest side that counts, of the picture's shorter one."""

UPPER_HALF = 0.6
"""The part of a face, from above, in which its eyes lie."""

HALF_SURE = {"face": 30.0, "plate": 2.0, "eye": 2.0, "person": 1.0}
"""The detectors' own figures that stand for a confidence of one half: measured on drawn pictures."""


class OpenCvObjects:
    """Fulfils `processors.interfaces.ObjectFinder`.

    People: N. Dalal and B. Triggs, Histograms of Oriented Gradients for Human Detection, 2005. The rest: P. Viola and
    M. Jones, Rapid Object Detection using a Boosted Cascade of Simple Features, 2001.
    """

    name = "opencv"
    quality: Literal["rough"] = "rough"

    def __init__(self) -> None:
        self._cv2: Any = import_module("cv2")
        self._cv2.setNumThreads(1)
        self.version = str(self._cv2.__version__)
        self._people: Any = self._cv2.HOGDescriptor()
        self._people.setSVMDetector(self._cv2.HOGDescriptor_getDefaultPeopleDetector())
        self._cascades = {label: self._cascade(file) for label, file in CASCADES.items()}
        self._eyes = self._cascade(EYES)

    def find(self, pixels: Any) -> Sequence[FoundObject]:
        """Return people, faces, eyes (in faces) and number plates, the surest first.

        Args:
            pixels: height x width x 3 bytes (RGB).
        """
        height, width = pixels.shape[:2]
        scale = LONGEST_SIDE / max(height, width)
        grey = self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2GRAY)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            grey = self._cv2.resize(grey, size, interpolation=self._cv2.INTER_AREA)
        found = [*self._found_people(grey)]
        for label in CASCADES:
            found += self._found(grey, label)
        return sorted(found, key=lambda one: -one.confidence)

    def _found_people(self, grey: Any) -> Iterator[FoundObject]:
        if grey.shape[1] < PERSON_SIDES[0] or grey.shape[0] < PERSON_SIDES[1]:
            return
        boxes, margins = self._people.detectMultiScale(grey, hitThreshold=0.0, winStride=(8, 8), scale=1.05)
        for box, margin in zip(boxes, margins, strict=True):
            if float(margin) >= LEAST_PERSON:
                yield _object("person", float(margin), box, grey, "opencv-hog")

    def _found(self, grey: Any, label: str) -> Iterator[FoundObject]:
        least = max(20, round(min(grey.shape) * LEAST_SHARE[label]))
        for box, level in self._boxes(self._cascades[label], grey, least):
            yield _object(label, level, box, grey, "opencv-haar")
            if label == "face":
                yield from self._found_eyes(grey, box)

    def _found_eyes(self, grey: Any, face: Sequence[int]) -> Iterator[FoundObject]:
        left, top, width, height = (int(number) for number in face)
        upper = grey[top : top + round(height * UPPER_HALF), left : left + width]
        for (x, y, wide, high), level in self._boxes(self._eyes, upper, max(10, width // 8)):
            yield _object("eye", level, (left + x, top + y, wide, high), grey, "opencv-haar")

    def _boxes(self, cascade: Any, grey: Any, least: int) -> Iterator[tuple[Sequence[int], float]]:
        boxes, _, levels = cascade.detectMultiScale3(
            grey, minNeighbors=NEIGHBOURS, minSize=(least, least), outputRejectLevels=True
        )
        for box, level in zip(boxes, levels, strict=True):
            yield box, float(level)

    def _cascade(self, file: str) -> Any:
        return self._cv2.CascadeClassifier(str(Path(self._cv2.data.haarcascades) / file))


def _object(label: str, level: float, box: Sequence[int], grey: Any, engine: str) -> FoundObject:
    x, y, wide, high = (int(number) for number in box)
    height, width = grey.shape
    place = (max(0.0, x / width), max(0.0, y / height), min(1.0, (x + wide) / width), min(1.0, (y + high) / height))
    return FoundObject(label, round(1 - exp(-max(0.0, level) * 0.693 / HALF_SURE[label]), 3), place, engine)
