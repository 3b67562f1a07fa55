"""Films in the real sandbox and through a real worker: the same result, and nothing is reached but the film."""

import pytest

from adapters.file_sandbox import ChildSandbox
from examples.celery_example import SAMPLES
from films import film, picture, steady
from installation import Installation
from processors import video
from processors.errors import FileError
from processors.video import ProcessVideo, VideoTools, process_video
from reading import silent
from services.celery_service import celery_service


class Shelf:
    """Keeps nothing, and names it."""

    def put(self, content, *, mime, task_id):
        return "store://sha256/0"


@pytest.fixture
def watch(tmp_path):
    """Process a film in a real child."""
    sandboxes = []

    def watch(raw: bytes, **limits) -> dict:
        usual = {"memory_mb": 2048, "cpu_seconds": 60, "wall_seconds": 120, "output_mb": 64, "max_file_mb": 10}
        sandboxes.append(ChildSandbox(**usual | limits))
        path = tmp_path / "film.mp4"
        path.write_bytes(raw)
        tools = VideoTools(path=path, sandbox=sandboxes[-1], storage=Shelf(), task_id="t")
        return process_video(ProcessVideo(file_path=str(path)), tools, silent).as_json()

    yield watch
    for sandbox in sandboxes:
        sandbox.close()


@pytest.mark.parametrize(("form", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("mpegts", "libx264")])
def test_the_sandbox_lets_films_be_decoded_by_several_threads(watch, monkeypatch, form, codec):
    monkeypatch.setattr(video, "PART_S", 1)
    done = watch(film(steady(picture(1), picture(2), picture(3)), form, codec))
    assert (done["status"], done["errors"]) == ("ok", [])
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])
    assert len(done["result"]["scenes"]) == len(done["result"]["frames"]) == 3
    assert done["result"]["thumbnail"]
    assert done["result"]["sprite"]


def test_a_film_that_needs_more_memory_than_allowed_is_refused_in_one_sentence(watch):
    raw = film(steady(picture(1, width=4096, height=2304), frames=4), preset="ultrafast")
    with pytest.raises(FileError, match="FILE_MEMORY_LIMIT_MB") as error:
        watch(raw, memory_mb=200)
    assert error.value.code in {"memory_limit", "corrupt", "crashed"}


def test_a_film_is_processed_by_a_worker(installation: Installation):
    task_id = celery_service.process_video(str(SAMPLES / "film.mp4"))
    done = celery_service.get_task_result(task_id, timeout=120)
    assert (done["schema"], done["status"]) == ("csai.video/1", "ok")
    assert [scene["detector"] for scene in done["result"]["scenes"]] == ["start", "cut", "cut"]
    assert {one["kind"] for one in done["artefacts"]} == {"frame", "thumbnail", "preview_sprite", "features"}
    assert done["result"]["audio"]["features"]["summary"]["integrated_lufs"] < 0
