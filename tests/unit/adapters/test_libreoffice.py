"""LibreOffice, played by a script: whatever it does, one file costs no more than its limits and reaches nothing."""

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.libreoffice_converter import LibreOfficeConverter
from compound_files import compound
from examples.celery_example import SAMPLES
from processors.documents import DocumentTools, ProcessDocument, process_document
from processors.errors import Cancelled, FileError
from processors.old_office import read_converted
from reading import read, silent
from waiting import until

OLD = compound({"WordDocument": b"x" * 600})
OUT = 'for last; do :; done; while [ "$1" != --outdir ]; do shift; done; out=$2'
"""Finds the document and the folder for what is made of it among the arguments."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A document of the old Office."""
    path = tmp_path / "old.doc"
    path.write_bytes(OLD)
    return path


def converter(tmp_path: Path, script: str, **limits) -> LibreOfficeConverter:
    """A converter whose LibreOffice is a script."""
    program, folder = tmp_path / "soffice", tmp_path / "conversions"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    folder.mkdir(exist_ok=True)
    usual = {"memory_mb": 1024, "cpu_seconds": 20, "wall_seconds": 60.0, "max_file_mb": 1}
    return LibreOfficeConverter(program, folder, **usual | limits)


def convert(one: LibreOfficeConverter, path: Path, report=silent) -> bytes:
    """What is made of a document."""
    with one.converted(path, "doc", hashlib.sha256(path.read_bytes()).hexdigest(), report) as made:
        return made.path.read_bytes()


def refused(one: LibreOfficeConverter, path: Path) -> FileError:
    """Why nothing is made of it."""
    with pytest.raises(FileError) as error:
        convert(one, path)
    assert "\n" not in str(error.value)
    return error.value


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody waited for does not."""
    try:
        return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def left(tmp_path: Path) -> list[str]:
    """What is left of the folders of conversions."""
    return [one.name for one in (tmp_path / "conversions").iterdir()]


def test_a_document_is_converted_and_nothing_is_left(tmp_path, old):
    one = converter(tmp_path, f"{OUT}; cp {SAMPLES / 'report.docx'} $out/input.docx")
    assert convert(one, old) == (SAMPLES / "report.docx").read_bytes()
    assert left(tmp_path) == []


def test_it_gets_an_own_profile_a_clean_environment_and_a_copy(tmp_path, old, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVICE", "x")
    seen = tmp_path / "seen"
    script = f'echo "$@" > {seen}; env >> {seen}; stat -c %a .. . >> {seen}; cat profile/user/*.xcu >> {seen}; {OUT}'
    convert(converter(tmp_path, f"{script}; cp $last $out/input.docx"), old)
    said = seen.read_text()
    assert "SECRET_OF_THE_SERVICE" not in said
    assert str(old) not in said
    assert "DisableMacrosExecution" in said
    assert "--convert-to docx:MS Word 2007 XML" in said
    assert "\n700\n" in said


def test_its_profile_is_named_by_an_address_whatever_its_folder_is_called(tmp_path, old):
    seen, place = tmp_path / "seen", tmp_path / "our files, 100%"
    place.mkdir()
    convert(converter(place, f'echo "$@" > {seen}; {OUT}; cp "$last" "$out/input.docx"'), old)
    assert f"-env:UserInstallation={place.as_uri()}/conversions/convert-" in seen.read_text()


def test_the_network_is_cut_off_where_that_is_said(tmp_path, old):
    seen = tmp_path / "seen"
    one = converter(tmp_path, f"cat /proc/self/net/dev > {seen}; {OUT}; cp $last $out/input.docx")
    with one.converted(old, "doc", hashlib.sha256(OLD).hexdigest(), silent) as made:
        protections = made.protections
    assert {"own_session", "resource_limits", "no_new_privs"} <= set(protections)
    others = [line for line in seen.read_text().splitlines()[2:] if line.split(":")[0].strip() != "lo"]
    assert ("network_namespace" in protections) <= (others == [])


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path, old):
    started = tmp_path / "started"
    one = converter(tmp_path, f"sleep 600 & echo $! > {started}; wait", wall_seconds=1.0)
    assert refused(one, old).code == "timeout"
    until(lambda: not alive(int(started.read_text())), 10, "what it started to end")
    assert left(tmp_path) == []


def test_nothing_that_it_started_outlives_a_worker_that_is_killed(tmp_path, old):
    started = tmp_path / "started"
    converter(tmp_path, f"sleep 600 & echo $! > {started}; wait")
    code = (
        "import sys; from pathlib import Path; from adapters.libreoffice_converter import LibreOfficeConverter\n"
        "limits = dict(memory_mb=1024, cpu_seconds=20, wall_seconds=60.0, max_file_mb=1)\n"
        "one = LibreOfficeConverter(Path(sys.argv[1], 'soffice'), Path(sys.argv[1], 'conversions'), **limits)\n"
        "with one.converted(Path(sys.argv[1], 'old.doc'), 'doc', sys.argv[2], lambda *_: None): pass\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), hashlib.sha256(OLD).hexdigest()])
    try:
        until(lambda: started.exists() and started.read_text().strip(), 30, "it to start")
    finally:
        worker.kill()
        worker.wait()
    until(lambda: not alive(int(started.read_text())), 10, "what it started to end")


def test_a_cancelled_task_ends_it(tmp_path, old):
    def report(percent, text):
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        convert(converter(tmp_path, "sleep 600"), old, report)
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("kill -SEGV $$", "crashed", "by signal 11"),
        ("echo Error: no export filter >&2; exit 3", "crashed", "with 3 at the document: Error: no export filter"),
        ("echo Error: source file could not be loaded >&2", "corrupt", "source file could not be loaded"),
        (f"{OUT}; exec head -c 20000000 /dev/zero > $out/input.docx", "too_large", "MAX_FILE_MB"),
        (
            f"{OUT}; for n in 1 2 3 4; do head -c 400000 /dev/zero > $out/$n; done; cp $last $out/input.docx",
            "too_large",
            "more than 1 MB",
        ),
        (f"{OUT}; ln -s /etc/passwd $out/input.docx", "crashed", "a link"),
        (f"{OUT}; echo secret > x; ln x $out/input.docx", "crashed", "a link"),
        (f"{OUT}; mkdir $out/input.docx", "crashed", "instead of a file"),
        ("while :; do :; done", "timeout", "processor time"),
    ],
    ids=["crash", "failure", "no output", "large file", "many files", "link", "hard link", "folder", "loop"],
)
def test_whatever_it_does_is_one_clear_error(tmp_path, old, script, code, words):
    error = refused(converter(tmp_path, script, cpu_seconds=1), old)
    assert error.code == code
    assert words in str(error)
    assert left(tmp_path) == []


def test_a_program_that_is_not_there_is_said(tmp_path, old):
    one = converter(tmp_path, "")
    (tmp_path / "soffice").unlink()
    assert refused(one, old).code == "crashed"


def test_another_file_than_the_one_that_was_looked_at_is_refused(tmp_path, old):
    with (
        pytest.raises(FileError, match="was changed"),
        converter(tmp_path, "exit 0").converted(old, "doc", "0" * 64, silent),
    ):
        pass


@pytest.mark.parametrize(
    ("script", "version"),
    [("echo LibreOffice 24.2.7.2 420", "24.2.7.2"), ("exit 1", None), ("echo none", None)],
    ids=["told", "failed", "none"],
)
def test_its_version_is_what_it_says(tmp_path, script, version):
    assert converter(tmp_path, script).version == version


class Storage:
    """Keeps nothing."""

    def put(self, content, *, mime, task_id):
        return "store://x"


class Sandbox:
    """Reads in this process."""

    def run(self, job, path, options, report):
        return {**read(path.read_bytes(), **options), "sandbox": ["seccomp"]}


def tools(path: Path, one) -> DocumentTools:
    """What processing a document needs, with a converter or without."""
    return DocumentTools(
        path=path,
        sandbox=Sandbox(),
        storage=Storage(),
        task_id="t",
        max_pages=10,
        max_characters=100_000,
        converter=one,
    )


def test_an_old_document_is_read_as_what_it_is_and_the_conversion_is_told(tmp_path, old):
    one = converter(tmp_path, f"{OUT}; cp {SAMPLES / 'report.docx'} $out/input.docx")
    found = process_document(ProcessDocument(file_path=str(old)), tools(old, one), silent).model_dump()
    assert (found["result"]["kind"], found["input"]["detected_type"]) == ("doc", "application/msword")
    assert "812 hours" in found["result"]["text"]
    assert [step["step"] for step in found["provenance"]][:2] == ["convert", "read"]
    assert found["provenance"][0]["engine"] == "LibreOffice"
    assert found["provenance"][0]["network"] in {"none", "not cut off"}
    assert found["input"]["sha256"] == hashlib.sha256(OLD).hexdigest()


@pytest.mark.parametrize(("kind", "package"), [("doc", "writer"), ("xls", "calc"), ("ppt", "impress")])
def test_without_libreoffice_the_error_names_it_and_how_to_get_it(tmp_path, kind, package):
    with pytest.raises(FileError, match=f"apt install libreoffice-{package}-nogui") as error:
        read_converted(Sandbox(), None, tmp_path, {"kind": kind}, {}, silent)
    assert error.value.code == "dependency_missing"


def test_the_folder_of_a_conversion_is_its_owners_only(tmp_path, old):
    one = converter(tmp_path, f"{OUT}; cp $last $out/input.docx")
    with one.converted(old, "doc", hashlib.sha256(OLD).hexdigest(), silent) as made:
        assert stat.S_IMODE(made.path.parents[1].stat().st_mode) == 0o700
