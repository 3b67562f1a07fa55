"""An adopter's module, found by TASK_MODULES in the folder that a worker was started in."""

import os
import subprocess
import sys

import psutil
import pytest

from config.settings import settings
from documentation import examples
from installation import Installation, Part
from processors.errors import TaskCancelled, TaskFailed
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.own_tasks import import_task_modules
from services.wiring import parts
from waiting import until

SHOP, *CALLS = examples("own-tasks.md")
MORE = """

from pathlib import Path


@celery_app.task(name="shop.sleep")
async def sleep(path: str) -> None:
    with Path(path).open("a") as file:
        print("began", file=file, flush=True)
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)
            print("cleaned", file=file, flush=True)


@celery_app.task(name="shop.sleep_at_most", soft_time_limit=1, time_limit=60)
async def sleep_at_most(path: str) -> None:
    await sleep.run(path)


@celery_app.task(name="shop.sleep_a_little")
async def sleep_a_little() -> str:
    await asyncio.sleep(0.01)
    return "rested"


@celery_app.task(name="shop.unrecorded", record=False)
async def unrecorded(path: str) -> None:
    await asyncio.sleep(0)
    Path(path).write_text("ran")
"""


@pytest.fixture(scope="module")
def shop(installation: Installation, tmp_path_factory: pytest.TempPathFactory):
    """A worker that has the module `shop`, in the place of the one that has not."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP + MORE)
    command = [sys.executable, "-m", "services.celery_part", "worker", "--concurrency=2", "--loglevel=INFO"]
    worker = Part("worker", command, folder / "worker.txt", {"TASK_MODULES": "shop"}, folder)
    installation.worker.stop()
    before = set(celery_app.tasks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "task_modules", ["shop"])
        patch.setattr(sys, "path", [*sys.path])
        patch.chdir(folder)
        import_task_modules()
        worker.start()
        try:
            until(lambda: worker.said(" ready.") or worker.process.poll() is not None, what="the worker is ready")
            yield worker
        finally:
            worker.stop()
            installation.start_worker()
            sys.modules.pop("shop", None)
            for name in set(celery_app.tasks) - before:
                celery_app.tasks.pop(name)


def state(task_id: str) -> str:
    return celery_service.get_task_status(task_id)["status"]


@pytest.mark.parametrize("code", CALLS, ids=range(len(CALLS)))
def test_the_documentations_examples_run_as_they_stand(shop, code):
    exec(compile(code, "docs/own-tasks.md", "exec"), {})


def test_a_cancelled_coroutine_ends_soon_and_cleans_up(shop, tmp_path):
    task_id = celery_service.submit("shop.sleep", path=str(tmp_path / "marks"))
    until(lambda: (tmp_path / "marks").exists() and state(task_id) == "STARTED", what="it sleeps")

    assert celery_service.cancel_task(task_id)

    until(lambda: "cleaned" in (tmp_path / "marks").read_text(), what="it has cleaned up")
    with pytest.raises(TaskCancelled):
        celery_service.get_task_result(task_id, timeout=0)
    assert celery_service.get_task_result(celery_service.submit("shop.sleep_a_little"), timeout=60) == "rested"


def test_a_coroutine_over_its_soft_time_limit_cleans_up_and_its_process_goes_on(shop, tmp_path):
    children = {child.pid for child in psutil.Process(shop.process.pid).children()}
    task_id = celery_service.submit("shop.sleep_at_most", path=str(tmp_path / "marks"))

    with pytest.raises(TaskFailed, match="soft time limit") as failed:
        celery_service.get_task_result(task_id, timeout=60)

    assert failed.value.error_type == "TimeLimitExceeded"
    assert (tmp_path / "marks").read_text().split() == ["began", "cleaned"]
    assert celery_service.get_task_result(celery_service.submit("shop.sleep_a_little"), timeout=60) == "rested"
    assert {child.pid for child in psutil.Process(shop.process.pid).children()} == children


def test_a_coroutine_that_a_stop_interrupts_cleans_up_and_waits_again_without_blame(shop, tmp_path):
    task_id = celery_service.submit("shop.sleep", path=str(tmp_path / "marks"))
    until(lambda: (tmp_path / "marks").exists() and state(task_id) == "STARTED", what="it sleeps")
    ready = shop.count(" ready.")

    shop.stop()

    try:
        record = parts().tasks.read(task_id)
        assert (tmp_path / "marks").read_text().split() == ["began", "cleaned"]
        assert (record.state, record.attempt, record.lost_runs) == ("PENDING", 0, 0)
    finally:
        assert celery_service.cancel_task(task_id)
        shop.start()
        until(lambda: shop.count(" ready.") > ready, what="the worker is ready again")


def test_a_coroutine_without_a_record_runs_to_its_end(shop, tmp_path):
    celery_app.tasks["shop.unrecorded"].delay(str(tmp_path / "ran"))
    until((tmp_path / "ran").exists, what="it ran")


@pytest.mark.parametrize("part", ["worker", "leader"])
def test_a_module_that_cannot_be_imported_stops_a_start_with_one_line(installation, tmp_path, part):
    (tmp_path / "broken_shop.py").write_text("import nothing_of_this_name\n")
    module = {"worker": ["services.celery_part", "worker"], "leader": ["services.leader"]}[part]

    ended = subprocess.run(
        [sys.executable, "-m", *module],
        env=os.environ | {"TASK_MODULES": "broken_shop"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("TASK_MODULES names 'broken_shop', which cannot be imported (ModuleNotFoundError: No module")
    assert "nothing_of_this_name" in line
