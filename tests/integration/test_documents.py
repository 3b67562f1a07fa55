"""Documents through real workers: read in the sandbox, stored, and done once though workers and children are killed."""

import os
import random
import signal

import psutil
import pytest

from config.settings import settings
from examples.celery_example import DOCUMENTS, SAMPLES
from installation import Installation
from processors.errors import InvalidArgument, TaskFailed
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until


@pytest.mark.parametrize("name", [path.name for path in DOCUMENTS])
def test_every_sample_is_read_by_a_worker(installation: Installation, name):
    task_id = celery_service.process_document(str(SAMPLES / name))
    done = celery_service.get_task_result(task_id, timeout=120)
    assert done["status"] == "ok"
    assert done["result"]["text"].strip()
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])
    assert parts().tasks.read(task_id).queue == "file_processing"


def test_a_file_is_sent_to_the_method_for_what_it_is(installation: Installation):
    task_id = celery_service.process_file(str(SAMPLES / "mail.eml"), processing_options={"generate_summary": False})
    done = celery_service.get_task_result(task_id, timeout=60)
    assert (done["route"], done["detail"]["result"]["kind"]) == ("document", "eml")


def test_the_members_of_an_archive_are_processed_by_a_worker_that_leaves_no_file(installation: Installation):
    task_id = celery_service.process_file(str(SAMPLES / "delivery.zip"))
    done = celery_service.get_task_result(task_id, timeout=120)
    members = {one["name"]: one for one in done["detail"]["result"]["members"]}
    assert (done["route"], members["note.txt"]["status"]) == ("archive", "ok")
    (older,) = members["older.zip"]["detail"]["result"]["members"]
    assert "The old seal lies in the workshop." in older["detail"]["result"]["text"]
    assert not list(settings.tmp_dir.glob("archive-*"))


def test_a_file_that_cannot_be_read_fails_once_and_says_why(installation: Installation, tmp_path):
    task_id = celery_service.process_document(str(tmp_path / "missing.pdf"), password="planted-secret")
    with pytest.raises(TaskFailed, match="does not exist on the worker's machine") as error:
        celery_service.get_task_result(task_id, timeout=60)
    record = parts().tasks.read(task_id)
    assert (error.value.error_type, record.attempt) == ("FileError", 0)
    assert "planted-secret" not in str(celery_service.get_task_status(task_id))
    assert not [log for log in settings.logs.glob("*.log") if "planted-secret" in log.read_text(errors="replace")]


def test_a_bad_argument_is_refused_at_the_call():
    with pytest.raises(InvalidArgument, match="processing_options: must only have"):
        celery_service.process_file("x", processing_options={"colour": True})
    with pytest.raises(InvalidArgument, match="file_path"):
        celery_service.process_document("")


@pytest.mark.slow
def test_forty_documents_are_forty_results_though_worker_and_children_are_killed(installation: Installation):
    seed = random.randrange(10**6)
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance = random.Random(seed)
    names = [path.name for path in DOCUMENTS if path.name != "scan.pdf"]
    tasks = [celery_service.process_document(str(SAMPLES / chance.choice(names))) for _ in range(40)]

    def ended() -> int:
        return sum(parts().tasks.read(task_id).final for task_id in tasks)

    orphans: list[psutil.Process] = []
    for kill_at in (5, 12, 20):
        until(lambda kill_at=kill_at: ended() >= kill_at, what=f"{kill_at} results")
        family = psutil.Process(installation.worker.process.pid).children(recursive=True)
        children = [one for one in family if "services.file_child" in " ".join(one.cmdline())]
        orphans += children
        if children and chance.random() < 0.5:
            os.kill(chance.choice(children).pid, signal.SIGKILL)
        installation.worker.kill()
        installation.start_worker()

    results = [celery_service.get_task_result(task_id, timeout=120) for task_id in tasks]
    assert len(results) == 40
    assert {result["status"] for result in results} == {"ok"}
    _, outlived = psutil.wait_procs(orphans, 20)
    assert outlived == [], "no child outlives its worker"
