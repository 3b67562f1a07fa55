"""People by the facade: enrolled from a picture in a real child, listed without encodings, forgotten at once."""

import pytest

import drawn
from config.settings import settings
from processors.errors import InvalidArgument, TaskFailed
from services.celery_service import celery_service
from services.wiring import parts


@pytest.fixture
def nobody():
    """Nobody is enrolled before and after."""
    yield
    for one in celery_service.list_people():
        celery_service.forget_person(one["name"])


@pytest.fixture
def files_read(inline_service):
    """Tasks run at once, and the child that opened their files has ended afterwards."""
    yield inline_service
    parts().sandbox.close()


@pytest.mark.usefixtures("nobody")
def test_who_is_enrolled_is_listed_without_encodings_and_forgotten_at_once():
    parts().people.enroll("Zo\u00eb", "Agreed.", [0.125] * 128)
    (listed,) = celery_service.list_people()
    assert (listed["name"], listed["consent"], listed["encodings"]) == ("Zo\u00eb", "Agreed.", 1)
    assert "0.125" not in str(listed)
    assert celery_service.forget_person("Zoe\u0308"), "the name as another keyboard types it"
    assert not celery_service.forget_person("Zo\u00eb")
    assert celery_service.list_people() == []


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: celery_service.enroll_person("Ann", "/tmp/x.jpg", consent=" "), "consent"),
        (lambda: celery_service.enroll_person("", "/tmp/x.jpg", consent="Yes."), "name"),
        (lambda: celery_service.enroll_person("Ann", "", consent="Yes."), "file_path"),
        (lambda: celery_service.forget_person("A\nnn"), "name"),
    ],
    ids=["no consent", "no name", "no picture", "no such name"],
)
def test_a_bad_argument_is_one_sentence(call, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("files_read")
def test_a_drawn_face_is_enrolled_known_again_and_forgotten(tmp_path):
    drawn.face().save(tmp_path / "face.png")
    path = str(tmp_path / "face.png")
    for _ in range(2):
        task_id = celery_service.enroll_person("Somebody drawn", path, consent="A drawing.")
        result = celery_service.get_task_result(task_id)
    assert (result["name"], result["encodings"]) == ("Somebody drawn", 1), "the same picture tells nothing new"
    assert not (settings.storage_dir / "objects").exists(), "nothing of the picture is kept"
    task_id = celery_service.process_image(path, extract_text=False, detect_objects=False, face_recognition=True)
    (face,) = celery_service.get_task_result(task_id)["result"]["faces"]
    assert (face["match"]["name"], face["match"]["distance"]) == ("Somebody drawn", 0.0)
    celery_service.forget_person("Somebody drawn")
    task_id = celery_service.process_image(path, extract_text=False, detect_objects=False, face_recognition=True)
    (face,) = celery_service.get_task_result(task_id)["result"]["faces"]
    assert face["match"] is None


@pytest.mark.usefixtures("files_read")
def test_a_picture_of_two_faces_enrolls_nobody(tmp_path):
    face = drawn.face()
    both = face.resize((600, 320))
    for left in (0, 300):
        both.paste(face, (left, 0))
    both.save(tmp_path / "both.png")
    task_id = celery_service.enroll_person("Who", str(tmp_path / "both.png"), consent="A drawing.")
    with pytest.raises(TaskFailed, match="has 2 faces"):
        celery_service.get_task_result(task_id)
    assert celery_service.list_people() == []
