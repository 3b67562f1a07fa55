"""Texts through the real sandbox and a real worker: whatever a caller sends is parsed in a child alone."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.file_sandbox import ChildSandbox
from config.settings import ensure_folders, settings
from examples.celery_example import SAMPLES
from installation import Installation
from processors.document_pictures import OneByOne
from processors.errors import InvalidArgument, TaskFailed
from processors.texts import ExtractText, extract_text
from reading import silent
from services.celery_service import celery_service
from services.own_tasks import registered_task
from services.text_tools import text_tools
from services.wiring import parts
from unpacking import Kept


@pytest.fixture(scope="module")
def sandbox():
    made = ChildSandbox(memory_mb=2048, cpu_seconds=120, wall_seconds=200, output_mb=8, max_file_mb=5)
    yield made
    made.close()


def sample(name: str) -> str:
    return base64.b64encode((SAMPLES / name).read_bytes()).decode()


def extracted(sandbox, content: str, content_type: str) -> dict:
    ensure_folders(settings)
    used: Any = SimpleNamespace(sandbox=sandbox, storage=Kept(), converter=None, side_by_side=OneByOne(), people=None)
    request = ExtractText(content=content, content_type=content_type)
    return extract_text(request, text_tools(used, "t"), silent).as_json()


@pytest.mark.parametrize(
    ("name", "content_type", "words"),
    [
        ("report.pdf", "application/pdf", "ran for 812 hours"),
        ("report.docx", "base64", "ran for 812 hours"),
        ("sign.png", "image/png", "HARBOUR OFFICE"),
    ],
)
def test_a_file_is_read_inside_of_the_sandbox_and_leaves_nothing_behind(sandbox, name, content_type, words):
    done = extracted(sandbox, sample(name), content_type)
    assert words in done["result"]["text"]
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])
    assert "page_image" not in [one["kind"] for one in done["artefacts"]], "pictures of pages are no text"
    assert not list(settings.tmp_dir.glob("text-*"))


def test_a_page_is_read_inside_of_the_sandbox(sandbox):
    done = extracted(sandbox, "<p>The north pump ran for <b>812</b> hours.</p>", "html")
    assert done["result"]["text"] == "The north pump ran for 812 hours."
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])


def test_a_file_has_the_time_of_an_ai_task(sandbox, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 10_000)
    monkeypatch.setattr(settings, "ai_task_soft_time_limit", 100)
    used: Any = SimpleNamespace(sandbox=sandbox, storage=None, converter=None, side_by_side=None)
    tools: Any = text_tools(used, "t").route_tools(tmp_path)
    assert 0 < tools.tools_of("document", tmp_path).ocr_seconds < tools.members_seconds < 100


def test_a_text_is_extracted_by_a_worker(installation: Installation):
    task_id = celery_service.extract_text(content="Content to extract text from", content_type="text", language="en")
    done = celery_service.get_task_result(task_id, timeout=60)
    assert (done["schema"], done["status"]) == ("csai.text/1", "ok")
    assert done["result"]["text"] == "Content to extract text from"
    assert parts().tasks.read(task_id).queue == "ai_processing"


def test_a_file_is_extracted_by_a_worker_and_its_long_text_is_stored(installation: Installation):
    text = "The north pump ran for 812 hours and cost 1,200.50 EUR. " * 6_000
    task_id = celery_service.extract_text(base64.b64encode(text.encode()).decode(), "text/csv")
    done = celery_service.get_task_result(task_id, timeout=60)
    (artefact,) = done["artefacts"]
    assert done["result"]["truncated"]
    assert celery_service.get_artefact(artefact["uri"]).decode() == text
    assert {"seccomp", "no_new_privs"} <= set(done["provenance"][0]["sandbox"])


def test_a_file_that_nothing_reads_fails_once_and_says_why(installation: Installation):
    task_id = celery_service.extract_text(base64.b64encode(b"\x7fELF\0\0\0\1").decode(), "base64")
    with pytest.raises(TaskFailed, match="read are pdf") as error:
        celery_service.get_task_result(task_id, timeout=60)
    assert (error.value.error_type, parts().tasks.read(task_id).attempt) == ("FileError", 0)


def test_the_task_is_ended_by_the_time_limits_of_ai():
    task = registered_task("ai_processing.extract_text")
    assert (task.time_limit, task.soft_time_limit) == (settings.ai_task_time_limit, settings.ai_task_soft_time_limit)


def test_a_bad_content_is_refused_at_the_call():
    with pytest.raises(InvalidArgument, match="content: must be base64 where content_type is pdf"):
        celery_service.extract_text("no base64!", "pdf")
    with pytest.raises(InvalidArgument, match="content: must not be empty"):
        celery_service.extract_text("")
