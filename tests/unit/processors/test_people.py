"""Enrolling: exactly one face, its encoding stored and nothing else, and a name that is one however it was typed."""

import struct
import unicodedata
from pathlib import Path

import pytest
from pydantic import ValidationError

from processors.envelopes import packed, warning
from processors.errors import FileError
from processors.people import EnrollPerson, EnrollTools, enroll_person

ENCODING = tuple(number / 128 for number in range(128))
FACE = {"bbox": [0.1, 0.1, 0.5, 0.5], "confidence": 0.9}
MADE = packed("encodings", struct.pack("<128f", *ENCODING), "application/octet-stream")
THUMBNAIL = packed("thumbnail", b"RIFF", "image/webp")


class Sandbox:
    """Answers as the child does that looked at a picture."""

    def __init__(self, faces, artefacts=(THUMBNAIL, MADE), warnings=(), errors=()):
        self.answer = {
            "content": {"faces": faces, "warnings": list(warnings), "errors": list(errors)},
            "artefacts": list(artefacts),
        }
        self.jobs = []

    def run(self, job, path, options, report):
        self.jobs.append((job, path, options))
        report(100, "done")
        return self.answer


class Kept:
    """Remembers who was enrolled."""

    def __init__(self):
        self.enrolled = []

    def encodings(self):
        return {}

    def enroll(self, name, consent, encoding):
        self.enrolled.append((name, consent, encoding))
        return len(self.enrolled)


def enrolled(sandbox, name="Ann", told=None):
    kept = Kept()
    request = EnrollPerson(name=name, file_path="/pictures/ann.jpg", consent="Agreed by letter on 2 May.")
    tools = EnrollTools(path=Path("/here.jpg"), sandbox=sandbox, people=kept, max_pixels=1000)
    result = enroll_person(request, tools, lambda percent, _: told is None or told.append(percent))
    return result.as_json(), kept.enrolled


def test_the_encoding_of_the_one_face_is_stored_with_the_consent_and_shown_nowhere():
    told = []
    sandbox = Sandbox([FACE | {"encoding": 0}])
    result, kept = enrolled(sandbox, told=told)
    assert kept == [("Ann", "Agreed by letter on 2 May.", ENCODING)]
    assert result == {"schema": "csai.person/1", "name": "Ann", "encodings": 1, "face": FACE}
    assert told == sorted(told)
    ((job, path, options),) = sandbox.jobs
    assert (job, path, options["name"]) == ("image", Path("/here.jpg"), "ann.jpg")
    asked = ("face_recognition", "extract_text", "detect_objects")
    assert tuple(options[flag] for flag in asked) == (True, False, False)


@pytest.mark.parametrize(
    ("sandbox", "code", "words"),
    [
        (Sandbox([], [THUMBNAIL]), "no_face", "No face was found"),
        (Sandbox(None, [THUMBNAIL]), "no_face", "No face was found"),
        (Sandbox([FACE, FACE]), "several_faces", "has 2 faces"),
        (
            Sandbox([FACE], [THUMBNAIL], [warning("model_missing", "x.dat (9 MB) is missing.")]),
            "model_missing",
            r"x.dat \(9 MB\)",
        ),
        (
            Sandbox(None, (), (), [warning("dependency_missing", "No dlib.", step="faces")]),
            "dependency_missing",
            "No dlib",
        ),
    ],
    ids=["none", "not looked for", "several", "no model", "no engine"],
)
def test_a_picture_without_exactly_one_encoded_face_enrolls_nobody_and_says_why(sandbox, code, words):
    with pytest.raises(FileError, match=words) as caught:
        enrolled(sandbox)
    assert caught.value.code == code


def test_a_name_is_one_however_its_accents_were_typed():
    for form in ("NFC", "NFD"):
        _, kept = enrolled(Sandbox([FACE]), unicodedata.normalize(form, "Zoë"))
        assert kept[0][0] == unicodedata.normalize("NFC", "Zoë")


@pytest.mark.parametrize("name", ["", " Ann", "Ann ", "A\nnn", "A\0", "x" * 201, "\u0344" * 200, "\n", 5])
def test_a_name_that_could_not_be_found_again_is_refused(name):
    with pytest.raises(ValidationError):
        EnrollPerson(name=name, file_path="x", consent="Yes.")


@pytest.mark.parametrize("consent", ["", " \n", "x" * 10_001, None])
def test_nobody_is_enrolled_without_a_consent(consent):
    with pytest.raises(ValidationError, match="consent"):
        EnrollPerson(name="Ann", file_path="x", consent=consent)
