"""The manifest of model files: what may be fetched, from where, how large it is, and the hash that it must have."""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from processors.errors import ConfigurationError, FileError
from processors.results import sentence_of

OWN_MANIFEST = "models.toml"
"""In MODELS_DIR: models of the user's own, which add to the manifest or replace entries of the same name."""

MEGABYTE = 1_000_000

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""One file's name without folders, so that none can climb; a leading dot is kept for files that are on their way."""


def _address(value: str) -> str:
    if not urlsplit(value).hostname:  # which raises ValueError itself where it can read none
        raise ValueError("must name a host such as https://example.com/model.onnx")
    return value


Address = Annotated[str, Field(pattern=r"^https://\S+$", max_length=2_000), AfterValidator(_address)]

ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelFile(_Entry):
    """One file of a model: its size in bytes and its SHA-256 in small hex digits."""

    name: FileName
    url: Address
    bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Model(_Entry):
    """A model: one file in MODELS_DIR, or several in a folder of its name below it."""

    name: ModelName
    purpose: str = Field(min_length=1, max_length=200)
    licence: str = Field(min_length=1, max_length=200)
    files: list[ModelFile] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _names_of_their_own(self) -> "Model":
        if len({file.name for file in self.files}) < len(self.files) or self.place == OWN_MANIFEST:
            raise ValueError(f"files: each must have a name of its own, and none is {OWN_MANIFEST}")
        return self

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def place(self) -> str:
        """The file or the folder below MODELS_DIR that a user of the model is given."""
        return self.files[0].name if len(self.files) == 1 else self.name

    def place_of(self, file: ModelFile) -> str:
        """Return the path of one of the files below MODELS_DIR."""
        return file.name if len(self.files) == 1 else f"{self.name}/{file.name}"


def _zoo(name: str, purpose: str, licence: str, *, commit: str, path: str, size: int, sha256: str) -> Model:
    """Return a model of OpenCV's zoo, whose Git LFS pointer at that commit holds the size and the hash."""
    url = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/{commit}/models/{path}"
    file = ModelFile(name=path.rpartition("/")[2], url=url, bytes=size, sha256=sha256)
    return Model(name=name, purpose=purpose, licence=licence, files=[file])


KNOWN = {
    model.name: model
    for model in (
        _zoo(
            "yunet",
            "your own tasks: faces (OpenCV FaceDetectorYN)",
            "MIT",
            commit="82b38c8f98e7b52aa171400f3e4c722352d0669f",
            path="face_detection_yunet/face_detection_yunet_2023mar.onnx",
            size=232_589,
            sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
        _zoo(
            "sface",
            "your own tasks: face recognition (OpenCV FaceRecognizerSF)",
            "Apache-2.0",
            commit="aeee99703db82d838f6c66b90429b0468bcedeb3",
            path="face_recognition_sface/face_recognition_sface_2021dec.onnx",
            size=24_227_283,
            sha256="f6abbfff9575e3041db692c1e29d782e995191888477fd59ebc81202d99fc63b",
        ),
        _zoo(
            "yolox-s",
            "OBJECT_MODEL: objects (YOLOX, the 80 classes of COCO)",
            "Apache-2.0",
            commit="c79d9191ff792df933d348bd1c4de05edf77ddf9",
            path="object_detection_yolox/object_detection_yolox_2022nov.onnx",
            size=35_858_002,
            sha256="c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        ),
        _zoo(
            "mobilenet-v2",
            "your own tasks: tags (MobileNetV2, the 1 000 classes of ImageNet)",
            "Apache-2.0",
            commit="09a63b88b6acc32a80d39859998d79056491d772",
            path="image_classification_mobilenet/image_classification_mobilenetv2_2022apr.onnx",
            size=14_210_157,
            sha256="4c34f23cd105dec25f40fe50e596c5bf0295f215636ac3a176ab600e488bc967",
        ),
        _zoo(
            "lpd-yunet",
            "your own tasks: number plates (LPD-YuNet)",
            "Apache-2.0",
            commit="aeee99703db82d838f6c66b90429b0468bcedeb3",
            path="license_plate_detection_yunet/license_plate_detection_lpd_yunet_2023mar.onnx",
            size=2_080_376,
            sha256="31a621b3f88b90fade3f51e6060883e65d5410e6de53a6dea1888f6569f07bf4",
        ),
    )
}
"""The models that the service knows, by name."""


def manifest_with(own: str) -> dict[str, Model]:
    """Return the manifest, by name, with the entries of a user's own.

    Args:
        own: the text of his `models.toml`: a table for each model, with `purpose`, `licence` and `files`, each of
            which has `name`, `url`, `bytes` and `sha256`.

    Raises:
        ConfigurationError: it is no TOML, or an entry is not acceptable.
    """
    try:
        tables = tomllib.loads(own)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{OWN_MANIFEST} in MODELS_DIR is no TOML: {error}.") from error
    found = KNOWN | {name: _own(name, table) for name, table in tables.items()}
    owners: dict[str, str] = {}
    for name, model in found.items():
        if (owner := owners.setdefault(model.place, name)) != name:
            raise ConfigurationError(
                f"{OWN_MANIFEST} in MODELS_DIR: {name}: {model.place} is where {owner} lies; give it another name."
            )
    return found


def model_missing(wanted: str, place: str, model: Model | None, *, damaged: bool = False) -> FileError:
    """Return the error of work that needs a model which is not there.

    Args:
        wanted: what a setting or an option names.
        place: the path where it was looked for.
        model: its entry; None where the manifest has none.
        damaged: whether something is there that is not of its size.
    """
    if model is None:
        cure = "put it there, or name one that `csai models list` shows"
        return FileError(f"The model {wanted} is not at {place}: {cure}.", "model_missing")
    what = "is damaged at" if damaged else "is not at"
    size = f"{model.bytes / MEGABYTE:.1f} MB"
    message = f"The model {model.name} ({size}) {what} {place}: run `csai models fetch {model.name}`, or put it there."
    return FileError(message, "model_missing")


def _own(name: str, table: Any) -> Model:
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{OWN_MANIFEST} in MODELS_DIR: {name}: must be a table [{name}]; got {table!r:.100}.")
    try:
        return Model.model_validate({**table, "name": name})
    except ValidationError as error:
        raise ConfigurationError(f"{OWN_MANIFEST} in MODELS_DIR: {name}: {sentence_of(error)}.") from error
