"""People who are to be known again in pictures: enrolled from a picture of one face each, with their consent."""

import base64
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from processors.envelopes import part_of
from processors.errors import FileError
from processors.file_results import FilePath, FileRequest
from processors.images import unpacked
from processors.interfaces import Enrolment, FileSandbox, Report
from processors.results import Request, Result

MOST_ENCODINGS = 20
"""Of one person: pictures beyond these cost time at every face that is looked at, and tell it no better."""


LONGEST_NAME = 200


def _composed(value: str) -> str:
    composed = unicodedata.normalize("NFC", value)  # or one name would be two people, by how its accents were typed
    if len(composed) > LONGEST_NAME:  # some characters are composed of more than they were typed as
        raise ValueError(f"must have at most {LONGEST_NAME} characters once its accents are composed")
    return composed


PersonName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\s\p{Cc}]([^\p{Cc}]*[^\s\p{Cc}])?$"),
    AfterValidator(_composed),
]
Consent = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"\S")]


class EnrollPerson(Request):
    """Know a person again from now on; `consent` says who agreed to that, when and how."""

    name: PersonName
    file_path: FilePath
    consent: Consent


class ForgetPerson(Request):
    """Know a person no longer."""

    name: PersonName


class PersonEnrolled(Result):
    """What was stored: the number of encodings that the person has now, never the encodings."""

    schema_name: str = Field(default="csai.person/1", serialization_alias="schema")
    name: str
    encodings: int
    face: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollTools:
    """What enrolling needs from outside.

    Attributes:
        path: where the picture lies on this machine.
        sandbox: opens it.
        people: keeps the encoding.
        max_pixels: larger pictures are refused before they are decoded.
    """

    path: Path
    sandbox: FileSandbox
    people: Enrolment
    max_pixels: int


def enroll_person(request: EnrollPerson, tools: EnrollTools, report: Report) -> PersonEnrolled:
    """Find the one face of a picture and store its encoding under the person's name; nothing else is kept of it.

    Raises:
        FileError: the picture cannot be read, or has no face (`no_face`) or several (`several_faces`), or the model
            that encodes faces is not there (`model_missing`).
        PermanentError: the person has the most encodings that are kept.
    """
    report(0, "opening the file")
    options = {
        "name": FileRequest(file_path=request.file_path).name,
        "max_pixels": tools.max_pixels,
        "max_pages": 1,
        "extract_text": False,
        "detect_objects": False,
        "face_recognition": True,
    }
    found = tools.sandbox.run("image", tools.path, options, part_of(report, 0, 95))
    face = _only_face(found["content"])
    encoding = _encoding(found)
    report(97, "storing the encoding")
    return PersonEnrolled(
        name=request.name, encodings=tools.people.enroll(request.name, request.consent, encoding), face=face
    )


def _only_face(content: dict[str, Any]) -> dict[str, Any]:
    """Return `bbox` and `confidence` of the picture's one face."""
    failed = next((one for one in content["errors"] if one.get("step") == "faces"), None)
    if failed is not None:
        raise FileError(failed["message"], failed["code"])
    faces = content["faces"]
    if not faces:
        raise FileError(
            "No face was found in the picture: give one of a single face, large and from the front.", "no_face"
        )
    if len(faces) > 1:
        raise FileError(
            f"The picture has {len(faces)} faces, and nobody can tell whose is meant: cut it to a single one.",
            "several_faces",
        )
    return {key: faces[0][key] for key in ("bbox", "confidence")}


def _encoding(found: dict[str, Any]) -> Sequence[float]:
    """Return the 128 numbers that the child made of the one face."""
    made = next((one for one in found["artefacts"] if one["kind"] == "encodings"), None)
    if made is None:
        missing = next((one for one in found["content"]["warnings"] if one["code"] == "model_missing"), None)
        why = missing["message"] if missing else "The face has no encoding."
        raise FileError(why, "model_missing")
    return unpacked(base64.b64decode(made["data"]))[0]
