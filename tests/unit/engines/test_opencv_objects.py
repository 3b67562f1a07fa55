"""The rough detectors: what is drawn clearly is found where it is, and where nothing is, nothing is found."""

import numpy as np
import pytest
from PIL import Image

import drawn
from engines.opencv_objects import OpenCvObjects
from services.file_engines import Engines


@pytest.fixture(scope="module")
def finder() -> OpenCvObjects:
    return OpenCvObjects()


def labels(finder, picture: Image.Image) -> list[str]:
    return [one.label for one in finder.find(np.asarray(picture))]


@pytest.mark.parametrize("shape", [(1, 2000, 3), (2000, 1, 3), (1, 1, 3)])
def test_nothing_is_found_in_a_picture_that_is_too_narrow_to_show_anything(finder, shape):
    assert finder.find(np.full(shape, 200, np.uint8)) == []


def test_a_face_is_found_with_its_two_eyes_in_its_upper_half(finder):
    found = finder.find(np.asarray(drawn.face()))
    assert sorted(one.label for one in found) == ["eye", "eye", "face"]
    face = next(one for one in found if one.label == "face")
    assert drawn.overlap(face.box, (0.2, 0.2, 0.8, 0.85)) > 0.7
    for eye in (one for one in found if one.label == "eye"):
        assert face.box[1] < eye.box[1] < eye.box[3] < (face.box[1] + face.box[3]) / 2 + 0.1
    assert {one.engine for one in found} == {"opencv-haar"}


def test_a_person_is_found_where_it_stands(finder):
    (one,) = finder.find(np.asarray(drawn.person()))
    assert (one.label, one.engine) == ("person", "opencv-hog")
    assert drawn.overlap(one.box, (0.35, 0.16, 0.65, 0.84)) > 0.35
    assert 0.5 < one.confidence <= 1


def test_a_number_plate_is_found(finder):
    (one,) = finder.find(np.asarray(drawn.plate()))
    assert (one.label, one.box[0] < 0.35, one.box[2] > 0.65) == ("plate", True, True)


def test_boxes_are_parts_of_the_picture_whatever_its_size(finder):
    small = finder.find(np.asarray(drawn.face()))
    large = finder.find(np.asarray(drawn.face().resize((1500, 1600))))
    faces = [next(one.box for one in found if one.label == "face") for found in (small, large)]
    assert drawn.overlap(*faces) > 0.8


@pytest.mark.parametrize("size", [(1, 1), (30, 500), (500, 30), (400, 300)])
def test_nothing_is_found_where_nothing_is(finder, size):
    assert labels(finder, Image.new("RGB", size, "white")) == []
    assert labels(finder, drawn.noise(*size) if min(size) > 1 else Image.new("RGB", size)) == []


def test_the_finder_says_that_it_is_rough_and_is_the_one_without_a_model(finder):
    assert (finder.quality, finder.name) == ("rough", "opencv")
    assert isinstance(Engines().objects, OpenCvObjects)
