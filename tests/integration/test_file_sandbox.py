"""The sandboxed child: real processes that hang, crash, eat memory and reach out, and the next file works."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from reportlab.pdfgen.canvas import Canvas

from adapters import file_sandbox
from adapters.disk_storage import DiskStorage
from adapters.file_sandbox import ChildSandbox
from adapters.side_by_side import SideBySideThreads
from examples.celery_example import SAMPLES
from processors.documents import DocumentTools, ProcessDocument, process_document
from processors.errors import Cancelled, ConfigurationError, FileError, TransientError
from reading import options
from services import child_protections, file_jobs
from waiting import until

TESTS = str(Path(__file__).parents[1])


def silent(percent: float, text: str) -> None:
    """A report that nobody reads."""


@pytest.fixture
def sandbox(monkeypatch):
    """A sandbox whose children know the misbehaving jobs, and whose limits are short."""
    made: list[ChildSandbox] = []
    code = f"import sys; sys.path.append({TESTS!r}); from services import file_child as c; c.main()"
    real = subprocess.Popen

    def start(command, **more):
        ours = command[:2] == [sys.executable, "-I"] and ":" in command[-1]
        return real([command[0], "-I", "-c", code, *command[4:]] if ours else command, **more)

    monkeypatch.setattr(file_sandbox.subprocess, "Popen", start)
    monkeypatch.setattr(file_sandbox, "LOOK_SECONDS", 0.05)

    def sandbox(**limits) -> ChildSandbox:
        usual = {"memory_mb": 1024, "cpu_seconds": 20, "wall_seconds": 30, "output_mb": 8, "max_file_mb": 1}
        made.append(ChildSandbox(**usual | limits))
        return made[-1]

    yield sandbox
    for one in made:
        one.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("content")
    return path


def pid_of(sandbox: ChildSandbox, job: str) -> int | None:
    child = sandbox._children.get(job)
    return child.process.pid if child else None


def test_a_child_stays_warm_and_reports(sandbox, file):
    one, told = sandbox(), []
    first = one.run("file_jobs:echo", file, {"a": 1}, lambda *what: told.append(what))
    pid = pid_of(one, "file_jobs:echo")
    second = one.run("file_jobs:echo", file, {}, silent)
    assert (first["text"], first["options"], second["text"]) == ("content", {"a": 1}, "content")
    assert (50.0, "half of it") in told
    assert pid_of(one, "file_jobs:echo") == pid
    assert set(first["sandbox"]) >= {"resource_limits", "no_new_privs", "seccomp"}


def test_a_taken_over_child_can_reach_nothing(sandbox, file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    options = {"target": str(tmp_path / "target"), "victim": str(victim), "pid": os.getpid()}
    done = sandbox().run("file_jobs:reach_out", file, options, silent)
    allowed = set() if "landlock" in done["sandbox"] else {"read"}
    assert set(done["worked"]) <= allowed
    assert victim.read_text() == "precious"
    assert not (tmp_path / "target").exists()
    assert set(done["environment"]) <= {*file_sandbox.ENVIRONMENT, "LC_CTYPE"}


def test_where_memory_runs_out_the_child_goes_before_the_worker(sandbox, file):
    one = sandbox()
    one.run("file_jobs:echo", file, {}, silent)
    pid = pid_of(one, "file_jobs:echo")
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"


@pytest.mark.parametrize(
    ("job", "limits", "code", "words"),
    [
        ("hang", {"wall_seconds": 0.5}, "timeout", "longer than 0.5 s: see FILE_TIME_LIMIT_SECONDS"),
        ("burn", {"cpu_seconds": 1}, "timeout", "more than 1 s of processor time: see FILE_CPU_LIMIT_SECONDS"),
        ("swallow", {"memory_mb": 400}, "memory_limit", "FILE_MEMORY_LIMIT_MB"),
        ("swallow_natively", {"memory_mb": 400}, "crashed", "made its reader end"),
        ("flood", {}, "too_large", "larger than 8 MB: see FILE_OUTPUT_LIMIT_MB"),
        ("crash", {}, "crashed", "made its reader end"),
        ("fail", {}, "corrupt", "KeyError"),
    ],
)
def test_a_file_that_breaks_its_child_is_a_typed_error_and_the_next_file_works(sandbox, file, job, limits, code, words):
    one = sandbox(**limits)
    with pytest.raises(FileError, match=words) as error:
        one.run(f"file_jobs:{job}", file, {}, silent)
    assert error.value.code == code
    assert pid_of(one, f"file_jobs:{job}") is None, "the child was replaced"
    assert one.run("file_jobs:echo", file, {}, silent)["text"] == "content"


def pdf_of_pdfs(depth: int, width: int) -> bytes:
    """A page that draws a form `width` times, which draws another `width` times, and so on: few bytes, much work."""
    bodies = ["/X Do", *[" ".join(["/X Do"] * width)] * (depth - 1), "BT /F 8 Tf (hi) Tj ET"]
    last = "/Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
    uses = [f"<< /XObject << /X {number} 0 R >> >>" for number in range(5, 4 + len(bodies))]
    form = "/Type /XObject /Subtype /Form /BBox [0 0 9 9]"
    forms = [
        f"<< {form} /Resources {use} /Length {len(body)} >> stream\n{body}\nendstream"
        for use, body in zip([*uses, f"<< {last} >>"], bodies, strict=True)
    ]
    page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources {uses[0]} >>"
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, *forms]
    whole = "".join(f"{number} 0 obj {text} endobj\n" for number, text in enumerate(objects, 1))
    return f"%PDF-1.7\n{whole}trailer << /Root 1 0 R >>\n%%EOF\n".encode()


@pytest.mark.parametrize(
    ("shape", "limits", "code", "words"),
    [
        ((10, 5), {"wall_seconds": 2, "memory_mb": 8000}, "timeout", "longer than 2 s: see FILE_TIME_LIMIT_SECONDS"),
        ((7, 10), {"memory_mb": 600}, "crashed", "needs more than 600 MB, see FILE_MEMORY_LIMIT_MB"),
    ],
    ids=["hangs", "eats memory"],
)
def test_a_pdf_that_overwhelms_its_parser_costs_one_task_and_names_the_limit(
    sandbox, tmp_path, shape, limits, code, words
):
    one = sandbox(**limits)
    (tmp_path / "bad.pdf").write_bytes(pdf_of_pdfs(*shape))

    def processed(path):
        tools = DocumentTools(
            path=path, sandbox=one, storage=DiskStorage(tmp_path), task_id="t", max_pages=10, max_characters=100_000
        )
        return process_document(ProcessDocument(file_path=str(path)), tools, silent)

    with pytest.raises(FileError, match=words) as error:
        processed(tmp_path / "bad.pdf")
    assert error.value.code == code
    done = processed(SAMPLES / "latin-1.txt")
    assert done.status == "ok"


def test_a_child_killed_from_outside_asks_for_another_attempt(sandbox, file):
    one = sandbox()
    job, children = "file_jobs:hang", one._children

    def kill() -> None:
        child = until(lambda: (found := children.get(job)) and found.protections and found)
        os.kill(child.process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TransientError, match=r"killed.*see FILE_MEMORY_LIMIT_MB"):
        one.run(job, file, {}, silent)
    killer.join()
    assert one.run("file_jobs:echo", file, {}, silent)["text"] == "content"


@pytest.mark.parametrize(
    "said",
    [
        *("no JSON", "[1]", '{"a": 1}', '{"progress": 1}', '{"error": 1}', "[" * 10**5, '"\xff"'),
        *('{"ready": []}', f'{{"progress": [1{"0" * 400}, ""]}}'),
    ],
)
def test_a_child_that_says_what_nobody_understands_is_a_typed_error(sandbox, file, said):
    one = sandbox()
    with pytest.raises(FileError, match="nobody understands") as error:
        one.run("file_jobs:babble", file, {"said": said}, silent)
    assert error.value.code == "crashed"
    assert pid_of(one, "file_jobs:babble") is None, "the child was replaced"


def test_progress_that_is_none_hinders_no_task(sandbox, file):
    told = []

    def report(percent, text):
        told.append((percent, len(text)))
        if len(text) > 100:
            raise Cancelled("enough")

    said = f'{{"progress": [NaN, "{"x" * 10**6}"]}}'
    with pytest.raises(Cancelled):
        sandbox().run("file_jobs:babble", file, {"said": said}, report)
    assert told[-1] == (100.0, file_sandbox.LONGEST_TOLD)


def test_a_child_that_hangs_up_and_stays_is_ended(sandbox, file, monkeypatch):
    monkeypatch.setattr(file_sandbox, "ENDING_SECONDS", 0.1)
    one = sandbox()
    with pytest.raises(FileError, match="hang up") as error:
        one.run("file_jobs:hang_up", file, {}, silent)
    assert error.value.code == "crashed"
    assert pid_of(one, "file_jobs:hang_up") is None, "the child was replaced"


def test_a_child_that_complains_without_end_goes_on_with_its_file(sandbox, file):
    assert sandbox().run("file_jobs:complain", file, {}, silent)["text"] == "content"


def test_text_of_any_script_counts_by_its_bytes_not_by_escapes(sandbox, tmp_path):
    path = tmp_path / "насос.txt"
    path.write_text("Насос снова работает. " * 20_000)
    options = {"name": path.name, "max_pages": 1, "max_characters": 10**6, "extract_metadata": True, "password": None}
    done = sandbox(output_mb=1).run("document", path, options, silent)
    assert done["content"]["pages"][0]["text"] == path.read_text()


def test_a_child_killed_before_it_read_its_job_asks_for_another_attempt(sandbox, file):
    one = sandbox()
    one.run("file_jobs:echo", file, {}, silent)
    pid = pid_of(one, "file_jobs:echo")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TransientError, match=r"killed.*see FILE_MEMORY_LIMIT_MB"):
        one.run("file_jobs:echo", file, {}, lambda _percent, _text: os.kill(pid, signal.SIGKILL))


def test_a_cancelled_task_ends_its_child_even_in_a_parser_that_never_looks(sandbox, file):
    one, looks = sandbox(), []

    def report(percent, text):
        looks.append(pid_of(one, "file_jobs:hang"))
        if len(looks) > 2:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        one.run("file_jobs:hang", file, {}, report)
    assert not psutil.pid_exists(looks[0])


def test_a_cancelled_task_ends_its_child_even_while_that_loads(sandbox, file):
    one, looks = sandbox(), []

    def report(percent, text):
        looks.append(pid_of(one, "loads_for_ever:job"))
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        one.run("loads_for_ever:job", file, {}, report)
    assert not psutil.pid_exists(looks[0])


def test_a_child_that_is_not_ready_in_time_is_tried_again_and_blames_no_file(sandbox, file, monkeypatch):
    monkeypatch.setattr(file_sandbox, "LOADING_SECONDS", 0.1)
    one = sandbox()
    with pytest.raises(TransientError, match=r"not ready within 0\.1 s"):
        one.run("loads_for_ever:job", file, {}, silent)
    assert pid_of(one, "loads_for_ever:job") is None


def test_a_child_that_cannot_load_says_what_is_missing_and_blames_no_file(sandbox, file):
    with pytest.raises(ConfigurationError, match=r"ended while it started \(1\): ModuleNotFoundError.*'of_tomorrow'"):
        sandbox().run("of_tomorrow:job", file, {}, silent)


def test_threads_open_files_side_by_side_each_in_a_child_of_its_own(sandbox, file):
    one, both = sandbox(), threading.Barrier(2, timeout=60)
    told: list[tuple[dict, int | None]] = []

    def run() -> None:
        done = one.run("file_jobs:echo", file, {}, lambda percent, _text: percent and both.wait())
        told.append((done, pid_of(one, "file_jobs:echo")))
        both.wait()  # a child ends with its thread
        one.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done["text"] for done, _ in told] == ["content"] * 2
    assert len({pid for _, pid in told} - {None}) == 2


@pytest.fixture
def side_by_side():
    """Two threads, whose children end with them."""
    made = SideBySideThreads(2)
    yield made
    made.close()


def children_of(sandbox: ChildSandbox) -> list[psutil.Process]:
    """The children of all threads."""
    return [psutil.Process(child.process.pid) for of in list(sandbox._of_threads.values()) for child in of.values()]


def forget(sandbox: ChildSandbox, children: list[psutil.Process]) -> None:
    """See that children have ended with their threads, and let go of them."""
    assert psutil.wait_procs(children, 20)[1] == []
    for of in sandbox._of_threads.values():
        for child in of.values():
            child.process.communicate()
            child.connection.close()


def test_children_that_work_side_by_side_stay_warm_and_end_with_their_threads(sandbox, file, side_by_side):
    one, both = sandbox(), threading.Barrier(2, timeout=60)

    def work(report):
        text = one.run("file_jobs:echo", file, {}, report)["text"]
        both.wait()
        return text

    assert side_by_side.run([work, work], silent) == ["content"] * 2
    children = children_of(one)
    assert side_by_side.run([work, work], silent) == ["content"] * 2
    assert (len(children), children_of(one)) == (2, children)
    side_by_side.close()
    forget(one, children)


def test_a_cancelled_task_ends_all_children_that_work_for_it(sandbox, file, side_by_side):
    one, children = sandbox(), []

    def work(report):
        one.run("file_jobs:hang", file, {}, report)

    def cancel(percent, text):
        children[:] = children_of(one)
        if len(children) == 2:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        side_by_side.run([work] * 5, cancel)
    assert not any(child.is_running() for child in children)
    assert children_of(one) == []


@pytest.mark.filterwarnings(
    "ignore:.*multi-threaded.*fork:DeprecationWarning"
)  # from Python 3.12 on: it is the case here
def test_a_forks_children_that_work_side_by_side_are_its_own(sandbox, file, side_by_side):
    one = sandbox()

    def work(report):
        return one.run("file_jobs:echo", file, {}, report)["text"]

    assert side_by_side.run([work], silent) == ["content"]
    pid = os.fork()
    if pid == 0:
        os._exit(0 if side_by_side.run([work], silent) == ["content"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    children = children_of(one)
    assert side_by_side.run([work], silent) == ["content"]
    assert children_of(one) == children
    side_by_side.close()
    forget(one, children)


def test_a_child_is_replaced_after_its_share_of_files(sandbox, file, monkeypatch):
    monkeypatch.setattr(file_sandbox, "FILES_PER_CHILD", 2)
    one = sandbox()
    pids = []
    for _ in range(3):
        one.run("file_jobs:echo", file, {}, silent)
        pids.append(pid_of(one, "file_jobs:echo"))
    assert pids[0] is not None
    assert pids[1] is None
    assert pids[2] not in (None, pids[0])


def test_a_child_goes_with_a_fault_and_stays_with_a_refusal(sandbox, file):
    one = sandbox()
    with pytest.raises(FileError) as refused:
        one.run("file_jobs:refuse", file, {}, silent)
    assert (refused.value.code, pid_of(one, "file_jobs:refuse") is not None) == ("encrypted", True)
    with pytest.raises(FileError) as fault:
        one.run("file_jobs:fail", file, {}, silent)
    assert (fault.value.code, pid_of(one, "file_jobs:fail")) == ("corrupt", None)


def test_no_child_outlives_its_parent(file):
    code = (
        "import sys; from pathlib import Path; from adapters.file_sandbox import ChildSandbox\n"
        "s = ChildSandbox(memory_mb=2048, cpu_seconds=9, wall_seconds=60, output_mb=8, max_file_mb=1)\n"
        "o = {'name': 'x', 'max_pages': 1, 'max_characters': 9, 'extract_metadata': False, 'password': None}\n"
        f"s.run('document', Path({str(file)!r}), o, lambda p, t: None)\n"
        "print(s._children['documents'].process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert psutil.wait_procs([child], 20)[1] == []


def _empty(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _large(folder: Path) -> Path:
    with (folder / "large").open("wb") as file:
        file.truncate(2 * 1024**2)
    return folder / "large"


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda folder: folder / "missing", "not_found", "does not exist on the worker's machine"),
        (lambda folder: folder, "unsupported_type", "is a directory"),
        (_empty, "empty_file", "is empty"),
        (_pipe, "unsupported_type", "device, pipe or socket"),
        (_large, "too_large", "see MAX_FILE_MB"),
        (lambda folder: folder / ("x" * 300), "not_found", "cannot be opened"),
    ],
    ids=["missing", "directory", "empty", "pipe", "large", "long"],
)
def test_what_is_no_readable_file_says_why(sandbox, tmp_path, make, code, words):
    with pytest.raises(FileError, match=words) as error:
        sandbox().run("document", make(tmp_path), {}, silent)
    assert error.value.code == code


def test_a_relative_path_is_told_as_where_it_was_looked_for(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=f"The file {tmp_path}/report.pdf does not exist"):
        sandbox().run("document", Path("report.pdf"), {}, silent)


def test_a_file_that_may_not_be_read_says_so(sandbox, file, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(file_sandbox.os, "open", refuse)  # root may read everything
    with pytest.raises(FileError, match="cannot be opened: Permission denied"):
        sandbox().run("document", file, {}, silent)


def test_a_machine_without_protections_refuses_unless_told(sandbox, file, monkeypatch):
    monkeypatch.setattr(file_sandbox, "NEEDED", frozenset({"seccomp", "a moat"}))
    with pytest.raises(ConfigurationError, match="set ALLOW_UNSANDBOXED=1"):
        sandbox().run("file_jobs:echo", file, {}, silent)
    assert sandbox(allow_unsandboxed=True).run("file_jobs:echo", file, {}, silent)["text"] == "content"


def test_a_machine_without_the_packages_for_pictures_says_so(monkeypatch):
    monkeypatch.setattr(file_jobs, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(FileError, match="it has no onnxruntime") as error:
        file_jobs.load_pictures({})["pictures"](None, {}, silent)
    assert error.value.code == "dependency_missing"


def test_a_child_whose_threads_would_keep_their_rights_opens_nothing(sandbox, file):
    with pytest.raises(ConfigurationError, match="has started 1 threads before it gave up its rights"):
        sandbox().run("threaded_job:echo", file, {}, silent)


def test_the_engines_tell_their_makers_nothing(sandbox, file):
    assert sandbox().run("file_jobs:environment", file, {}, silent)["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("library", ["OMP", "OPENBLAS", "OPENCV"])
def test_a_child_keeps_to_one_processor(sandbox, file, library):
    environment = sandbox().run("file_jobs:environment", file, {}, silent)
    assert [value for name, value in environment.items() if name.startswith(f"{library}_")] == ["1"]


def test_a_forks_children_are_its_parents(sandbox, file):
    one = sandbox()
    one.run("file_jobs:echo", file, {}, silent)
    mine = one._children["file_jobs:echo"]
    one._pid -= 1
    assert one.run("file_jobs:echo", file, {}, silent)["text"] == "content"
    assert mine.process.poll() is None
    mine.process.kill()
    mine.process.communicate()
    mine.connection.close()


def test_the_filters_program_knows_both_machines():
    for column, architecture in child_protections.ARCHITECTURES.values():
        code = child_protections.program(column, architecture, 1)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096


def test_tables_and_the_picture_of_a_page_are_made_in_the_sandbox(sandbox, tmp_path):
    path = tmp_path / "x.pdf"
    canvas = Canvas(str(path))
    canvas.grid([72, 172, 272], [600, 620, 640])
    for x, y, cell in ((76, 626, "Pump"), (176, 626, "Hours"), (76, 606, "North"), (176, 606, "812")):
        canvas.drawString(x, y, cell)
    canvas.save()
    box = sandbox()
    found = box.run("document", path, options("x.pdf"), silent)["content"]
    asked = {"pages": found["table_pages"], "layout": found["layout"], "seconds": 60.0, "password": None}
    tables = box.run("tables", path, asked, silent)["content"]
    drawn = box.run("page_images", path, {"pages": [1], "password": None}, silent)["content"]
    assert tables["tables"][0]["rows"] == [["Pump", "Hours"], ["North", "812"]]
    assert [one["kind"] for one in drawn["made"]] == ["page_image"]


def test_a_scanned_page_is_read_in_the_sandbox(tmp_path):
    sandbox = ChildSandbox(memory_mb=2048, cpu_seconds=120, wall_seconds=200, output_mb=8, max_file_mb=1)
    try:
        path = SAMPLES / "scan.pdf"
        tools = DocumentTools(
            path=path,
            sandbox=sandbox,
            storage=DiskStorage(tmp_path),
            task_id="t",
            max_pages=10,
            max_characters=100_000,
        )
        done = process_document(ProcessDocument(file_path=str(path)), tools, silent)
    finally:
        sandbox.close()
    text = done.result.text.replace(" ", "").lower()
    assert "deliverynote4711" in text
    assert "harbour" in text
    assert done.result.pages[0].source == "ocr"
