"""What the methods for files are measured against: libraries by themselves, and a plain task that keeps nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

READER = """
import json, sys
from pathlib import Path
import cv2, logging
from rapidocr import RapidOCR
logging.getLogger("RapidOCR").setLevel(logging.ERROR)
cv2.setNumThreads(1)
threads = {f"EngineConfig.onnxruntime.{one}_op_num_threads": 1 for one in ("intra", "inter")}
engine = RapidOCR(params={"Global.log_level": "error", **threads})
pictures = [cv2.imread(str(path)) for path in sorted(Path(sys.argv[1]).iterdir())]
for line in sys.stdin:
    print(json.dumps(sum(len(engine(one).txts or ()) for one in pictures)), flush=True)
"""

SCENES = """
import json, sys
from scenedetect import AdaptiveDetector, ContentDetector, SceneManager, open_video
kind = {"adaptive": AdaptiveDetector, "content": ContentDetector}[sys.argv[1]]
for line in sys.stdin:
    manager = SceneManager()
    manager.add_detector(kind())
    manager.detect_scenes(open_video(json.loads(line), backend="pyav"))
    print(json.dumps([scene[0].seconds for scene in manager.get_scene_list()[1:]]), flush=True)
"""


class Peer:
    """A program that answers each line with a line of JSON."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, question: str) -> Any:
        """Return its answer."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Reader(Peer):
    """RapidOCR by itself, warm, with one thread, on pictures that are decoded already."""

    def __init__(self, folder: Path) -> None:
        super().__init__(sys.executable, "-c", READER, str(folder))

    def read(self) -> None:
        """Read every picture once."""
        self.ask("")


class SceneDetect(Peer):
    """PySceneDetect, warm, with its PyAV backend."""

    def __init__(self, python: Path, kind: str = "adaptive") -> None:
        super().__init__(str(python), "-c", SCENES, kind)

    def cuts(self, path: Path) -> list[float]:
        """Return the seconds at which it found a new scene."""
        return self.ask(json.dumps(str(path)))


def plain_picture(path: Path, *, look: bool) -> dict[str, Any]:
    """Do to a picture what a plain task does: open it, load the detectors, look, and make hashes and thumbnails.

    Args:
        path: of the picture.
        look: whether the detectors are used, too.
    """
    import cv2  # noqa: PLC0415 - as in a task's own body
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415
    from rapidocr import RapidOCR  # noqa: PLC0415

    cv2.setNumThreads(1)
    image = Image.open(path).convert("RGB")
    threads = {f"EngineConfig.onnxruntime.{one}_op_num_threads": 1 for one in ("intra", "inter")}
    reader = RapidOCR(params={"Global.log_level": "error", **threads})
    names = ("haarcascade_frontalface_default", "haarcascade_eye", "haarcascade_russian_plate_number")
    cascades = [cv2.CascadeClassifier(f"{cv2.data.haarcascades}{name}.xml") for name in names]
    people = cv2.HOGDescriptor()
    people.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
    found: dict[str, Any] = {}
    if look:
        pixels = np.asarray(image)[:, :, ::-1]
        grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
        boxes = [cascade.detectMultiScale(grey) for cascade in cascades]
        boxes.append(people.detectMultiScale(grey)[0])
        found = {"text": reader(pixels).txts, "boxes": sum(len(one) for one in boxes)}
    tiny = np.asarray(image.convert("L").resize((32, 32)), dtype=np.float32)
    low = cv2.dct(tiny)[:8, :8]
    for size in (256, 1024):
        copy = image.copy()
        copy.thumbnail((size, size))
        copy.save(path.with_suffix(f".{size}.webp"), "WEBP")
    return found | {"phash": int((low > np.median(low)).sum())}
