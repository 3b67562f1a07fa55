"""Work on files: brought from where they lie, private and for as long as the work takes, and perhaps not done twice."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.disk_cleaner import DiskCleaner
from adapters.disk_storage import DiskStorage
from adapters.s3_storage import S3Storage
from config.settings import settings
from processors.documents import ProcessDocument, process_document
from processors.envelopes import Timing
from processors.errors import Cancelled, FileError, TransientError
from processors.file_results import FileRequest, FileResult, Input
from processors.files import ProcessFile
from reading import silent
from records.cached_results import CachedResults
from s3_server import S3Server
from services import fetching, file_cache, file_work
from services.file_tools import audio_tools, document_tools, image_tools, route_tools, video_tools
from services.file_work import local, with_file
from services.wiring import Parts


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A DATA_DIR of its own, and a cache that is on."""
    monkeypatch.setattr(settings, "data_dir", tmp_path / "var")
    monkeypatch.setattr(settings, "models_dir", tmp_path / "var" / "models")
    monkeypatch.setattr(settings, "cache_results", True)
    settings.tmp_dir.mkdir(parents=True)
    return tmp_path


@dataclass
class Source:
    """Brings the same bytes from anywhere, or fails half way."""

    content: bytes = b"from far away"
    error: Exception | None = None

    def fetch(self, _address, into, report) -> None:
        into.write(self.content)
        report(50, "half")
        if self.error:
            raise self.error


@dataclass
class Task:
    """What `with_file` needs of a task's run."""

    parts: Any
    id: str = "a"
    name: str = "file_processing.process_document"
    told: list[float] = field(default_factory=list)

    @property
    def current(self) -> Any:
        return SimpleNamespace(id=self.id)

    def report(self, percent: float, _text: str) -> None:
        self.told.append(percent)


def parts_with(source: Source | None = None, **more) -> Any:
    return SimpleNamespace(file_source=lambda _scheme: source, **more)


# --- Places ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/a/b.pdf", "/a/b.pdf"),
        ("a:b://c", "a:b://c"),
        ("file:///a/b%20c.pdf", "/a/b c.pdf"),
        ("FILE://localhost/a", "/a"),
    ],
)
def test_a_file_of_this_machine_is_used_where_it_lies(address, path):
    with local(parts_with(), address, silent) as given:
        assert given == Path(path)


def test_a_file_address_of_another_machine_is_not_found_here():
    with pytest.raises(FileError, match="names another"), local(parts_with(), "file://elsewhere/a", silent):
        pass


@pytest.mark.parametrize("address", ["https://files.example/a", "S3://bucket/a"])
def test_a_file_from_elsewhere_is_here_for_the_owner_alone_while_it_lasts(address):
    with local(parts_with(Source()), address, silent) as path:
        assert path.read_bytes() == b"from far away"
        assert path.parent == settings.tmp_dir
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(settings.tmp_dir.iterdir()) == []


@pytest.mark.parametrize("error", [FileError("no", "not_found"), Cancelled("enough"), OSError(28, "No space left")])
def test_nothing_is_left_of_a_fetch_that_failed(error):
    with pytest.raises(type(error)), local(parts_with(Source(error=error)), "https://files.example/a", silent):
        pass
    assert list(settings.tmp_dir.iterdir()) == []


class Silent:
    """A source whose server says nothing, until the test ends."""

    def __init__(self) -> None:
        self.ended = Event()

    def fetch(self, _address, _into, report) -> None:
        report(10, "asking")
        self.ended.wait(60)


@pytest.fixture
def silent_source(monkeypatch):
    monkeypatch.setattr(fetching, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(fetching, "GRACE_SECONDS", 0.0)
    source = Silent()
    yield source
    source.ended.set()


def test_a_cancellation_is_noticed_while_a_server_says_nothing(silent_source):
    told: list[float] = []

    def report(percent: float, _text: str) -> None:
        told.append(percent)
        if told.count(10) > 1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled), local(parts_with(silent_source), "s3://bucket/a", report):
        pass
    assert not silent_source.ended.is_set()
    assert list(settings.tmp_dir.iterdir()) == []


def test_the_time_for_a_fetch_ends_while_a_server_says_nothing(silent_source, monkeypatch):
    monkeypatch.setattr(settings, "file_time_limit_seconds", 0)
    with (
        pytest.raises(TransientError, match="FILE_TIME_LIMIT_SECONDS"),
        local(parts_with(silent_source), "s3://bucket/a", silent),
    ):
        pass


def test_what_a_killed_worker_left_is_an_old_file_that_the_clean_up_removes():
    (settings.tmp_dir / "fetched-x").touch()
    cleaner = DiskCleaner([settings.tmp_dir], [], now=lambda: 10**10)
    (left,) = cleaner.find(settings.tmp_dir, 3600)
    assert cleaner.remove(settings.tmp_dir, left)


def test_the_scheme_decides_what_brings_a_file(database, monkeypatch):
    monkeypatch.setattr(settings, "file_hosts", ["files.example"])
    parts = Parts(database)
    assert type(parts.file_source("https")).__name__ == "WebFiles"
    assert type(parts.file_source("s3")).__name__ == "S3Files"
    assert type(parts.file_source("store")).__name__ == "StoredFiles"


def test_artefacts_are_kept_where_the_setting_says(database, monkeypatch):
    assert isinstance(Parts(database).storage, DiskStorage)
    with S3Server() as server:
        monkeypatch.setattr(settings, "storage_url", "s3://artefacts/some/prefix/")
        monkeypatch.setattr(settings, "s3_endpoint_url", server.url)
        monkeypatch.setattr(settings, "s3_access_key_id", "key")
        monkeypatch.setattr(settings, "s3_secret_access_key", "secret")
        storage = Parts(database).storage
        assert isinstance(storage, S3Storage)
        storage.put(b"x", mime="text/plain", task_id="a")
        assert all(key.startswith("some/prefix/") for key in server.objects)


def test_a_document_in_a_bucket_is_read_in_the_sandbox_and_its_artefact_kept_beside_it(database, monkeypatch):
    with S3Server() as server:
        monkeypatch.setattr(settings, "storage_url", "s3://artefacts/kept")
        monkeypatch.setattr(settings, "s3_endpoint_url", server.url)
        monkeypatch.setattr(settings, "s3_access_key_id", "key")
        monkeypatch.setattr(settings, "s3_secret_access_key", "secret")
        monkeypatch.setattr(settings, "inline_text_kb", 1)
        server.objects["in/long?.md"] = b"# Title\n\n" + b"A sentence of some words. " * 100
        parts, request = Parts(database), ProcessDocument(file_path="s3://artefacts/in/long?.md")
        try:
            first = with_file(Task(parts, "a"), request, document_tools, process_document).as_json()
            second = with_file(Task(parts, "b"), request, document_tools, process_document)
        finally:
            parts.sandbox.close()
        assert (first["status"], first["input"]["name"], first["result"]["kind"]) == ("ok", "long?.md", "markdown")
        assert second["provenance"][-1] == {"step": "cache", "cached": True, "of_task": "a"}
        parts.storage.remove("a")
        assert parts.storage.get(first["artefacts"][0]["uri"]).startswith(b"# Title")
    assert list(settings.tmp_dir.iterdir()) == []


STORED = f"store://sha256/{'a' * 64}"


@pytest.mark.parametrize("place", ["", "/long%20%C3%A9.md"])
def test_a_document_in_the_storage_is_read_as_any_file_and_kept_for_the_task_that_reads_it(database, place):
    parts = Parts(database)
    text = b"# Title\n\nA sentence of some words. " * 3
    uri = parts.storage.put(text, mime="text/plain", task_id="upload-1")
    request = ProcessDocument(file_path=f"{uri}{place}")
    try:
        found = with_file(Task(parts, "a"), request, document_tools, process_document).as_json()
    finally:
        parts.sandbox.close()
    named = place != ""
    assert found["input"]["name"] == ("long é.md" if named else uri[-64:])
    assert (found["result"]["kind"], found["input"]["sha256"]) == ("markdown" if named else "text", uri[-64:])
    parts.storage.remove("upload-1")
    assert parts.storage.get(uri) == text
    assert parts.storage.remove("a") > 0
    assert list(settings.tmp_dir.iterdir()) == []


def test_a_file_that_is_gone_from_the_storage_is_not_found(database):
    parts = Parts(database)
    with pytest.raises(FileError, match=r"There is no artefact at .*removed with its task") as refused:
        with_file(Task(parts, "a"), ProcessDocument(file_path=STORED), document_tools, process_document)
    assert refused.value.code == "not_found"
    with pytest.raises(FileError, match="There is no artefact") as refused, local(parts, f"{STORED}/a.md", silent):
        pass
    assert refused.value.code == "not_found"


@pytest.mark.parametrize(
    "address",
    [
        "store://",
        "store://sha256/12",
        f"STORE{STORED[5:]}",
        f"{STORED[:-1]}A",
        f"{STORED}/",
        f"{STORED}/a/b",
        f"{STORED}/a%2Fb",
        f"{STORED}/..",
        f"{STORED}/%2e%2e",
        f"{STORED}/a%00",
        f"{STORED}/a%0Ab",
        f"{STORED}/{'a' * 201}",
        "store://sha256/../../etc/passwd",
    ],
)
def test_an_address_in_the_storage_that_is_none_is_refused_at_once(address):
    with pytest.raises(ValidationError, match=r"must be store://sha256/|must end with a file's name"):
        ProcessDocument(file_path=address)


@pytest.mark.parametrize("address", ["https://[x]/a.pdf", "https://[::1/a.pdf", "file://[x"])
def test_an_address_whose_host_cannot_be_read_is_refused_at_once(address):
    with pytest.raises(ValidationError, match="brackets stand around an IPv6 address alone"):
        ProcessDocument(file_path=address)


@pytest.mark.parametrize("address", ["s3://bucket", "S3://bucket/", "s3:///key", "https://"])
def test_an_address_that_names_no_file_is_refused_at_once(address):
    with pytest.raises(ValidationError, match="must name a file after"):
        ProcessDocument(file_path=address)


@pytest.mark.parametrize("address", ["https://user:planted@files.example/a", "s3://key:planted@bucket/a"])
def test_an_address_with_a_password_is_refused_before_it_is_kept(address):
    with pytest.raises(ValidationError, match="no user's name or password"):
        ProcessDocument(file_path=address)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://h/a%20b.pdf?sig=1#x", "a b.pdf"),
        ("s3://b/c/a%20?#.pdf", "a%20?#.pdf"),
        ("file:///c/a%20b", "a b"),
        (f"store://sha256/{'a' * 64}/a%20%25.pdf", "a %.pdf"),
    ],
)
def test_a_file_is_called_what_its_address_ends_with(address, name):
    assert ProcessDocument(file_path=address).name == name


# --- The cache -------------------------------------------------------------------------------------------------


class Read(FileResult):
    """What the tests' work returns."""

    schema_name: str = "test/1"
    result: dict[str, Any] = {}


@dataclass
class Reader:
    """Work that counts how often it is done, and keeps an artefact each time."""

    storage: DiskStorage
    database: Any
    status: str = "ok"
    change: bytes | None = None
    error: FileError | None = None
    kind: str = "text"
    found: dict[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    reads: int = 0

    def tools(self, _parts, path, task_id, _began):
        return path, task_id

    def run(self, request: FileRequest, task_id: str = "a") -> dict[str, Any]:
        """Let a task do the work; returns its result as it is stored."""
        tasks = SimpleNamespace(read=lambda _id: SimpleNamespace(tenant=self.tenant))
        parts = parts_with(storage=self.storage, cached_results=CachedResults(self.database), tasks=tasks)
        result = with_file(Task(parts, task_id), request, self.tools, self.work)
        return result if isinstance(result, dict) else result.as_json()

    def work(self, request: FileRequest, tools: Any, _report: Any) -> Read:
        path, task_id = tools
        self.reads += 1
        if self.change is not None:
            path.write_bytes(self.change)
        if self.error is not None:
            raise self.error
        content = path.read_bytes()
        uri = self.storage.put(content * 2, mime="text/plain", task_id=task_id)
        return Read(
            status=self.status,
            input=Input(
                sha256=hashlib.sha256(content).hexdigest(),
                bytes=len(content),
                name=request.name,
                declared_type=None,
                detected_type="text/plain",
                type_mismatch=False,
            ),
            options={},
            provenance=[{"step": "read"}],
            artefacts=[{"kind": self.kind, "uri": uri, "mime": "text/plain", "bytes": 1}],
            timing=Timing(run_s=1),
            result=self.found,
        )


@pytest.fixture
def reader(folder, database):
    return Reader(DiskStorage(folder / "storage"), database)


@pytest.fixture
def request_of(folder):
    def make(content: bytes = b"content", name: str = "a.txt", **options) -> ProcessDocument:
        (folder / name).write_bytes(content)
        return ProcessDocument(file_path=str(folder / name), **options)

    return make


def test_the_same_file_asked_for_in_the_same_way_is_read_once_and_says_whose_result_it_is(reader, request_of):
    first = reader.run(request_of(), "a")
    second = reader.run(request_of(), "b")
    assert reader.reads == 1
    assert second.pop("provenance") == [{"step": "read"}, {"step": "cache", "cached": True, "of_task": "a"}]
    assert second == {key: value for key, value in first.items() if key != "provenance"}


def test_the_artefacts_of_a_cached_result_stay_for_whoever_got_it(reader, request_of):
    uri = reader.run(request_of(), "a")["artefacts"][0]["uri"]
    reader.run(request_of(), "b")
    assert reader.storage.remove("a") == 0
    assert reader.storage.get(uri) == b"contentcontent"
    assert reader.storage.remove("b") > 0


def test_a_result_whose_artefacts_are_gone_is_read_anew_and_kept_anew(reader, request_of):
    reader.run(request_of(), "a")
    reader.storage.remove("a")
    assert len(reader.run(request_of(), "b")["provenance"]) == 1
    assert reader.run(request_of(), "c")["provenance"][-1]["of_task"] == "b"
    assert reader.reads == 2


@pytest.mark.parametrize("other", [{"content": b"other"}, {"name": "a.csv"}, {"generate_summary": False}])
def test_another_file_name_or_option_is_read_by_itself(reader, request_of, other):
    reader.run(request_of())
    reader.run(request_of(**other))
    assert reader.reads == 2


def test_another_limit_model_or_package_is_a_reason_to_read_again(reader, request_of, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "models_dir", tmp_path / "models")
    reader.run(request_of())
    monkeypatch.setattr(settings, "max_pages", 3)
    reader.run(request_of())
    assert reader.reads == 2
    settings.models_dir.mkdir()
    (settings.models_dir / "detector.onnx").write_bytes(b"weights")
    reader.run(request_of())
    assert reader.reads == 3
    monkeypatch.setattr(file_cache, "_packages", lambda: ["reader 2.0"])
    reader.run(request_of())
    assert reader.reads == 4


def test_a_model_that_was_replaced_by_one_of_the_same_size_is_a_reason_to_read_again(reader, request_of, monkeypatch):
    settings.models_dir.mkdir(parents=True)
    elsewhere = settings.data_dir / "own.onnx"
    monkeypatch.setattr(settings, "object_model", str(elsewhere))
    for number, path in enumerate((settings.models_dir / "detector.onnx", elsewhere), 1):
        for time_ns in (1, 2):
            path.write_bytes(b"weights")
            os.utime(path, ns=(time_ns, time_ns))
            reader.run(request_of())
        assert reader.reads == 2 * number


def test_another_endpoint_for_speech_is_a_reason_to_read_again(reader, request_of, monkeypatch):
    reader.run(request_of())
    monkeypatch.setattr(settings, "openai_base_url", "https://speech.example/v1")
    reader.run(request_of())
    assert reader.reads == 2


@pytest.mark.parametrize("target", ["nowhere", "gone.onnx", "own.onnx/part"])
def test_a_model_file_that_is_a_link_to_nothing_hinders_no_task(reader, request_of, target):
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "own.onnx").touch()
    (settings.models_dir / "gone.onnx").symlink_to(target)
    assert reader.run(request_of())["status"] == "ok"


def test_no_tenant_is_answered_by_what_another_one_has_read(reader, request_of):
    reader.tenant = "acme"
    reader.run(request_of(), "a")
    reader.tenant = "other"
    assert reader.run(request_of(), "b")["provenance"] == [{"step": "read"}]
    reader.tenant = "acme"
    assert reader.run(request_of(), "c")["provenance"][-1]["of_task"] == "a"


def test_a_result_with_a_result_among_its_artefacts_is_not_shared_because_that_names_artefacts_too(reader, request_of):
    reader.kind = "member_result"
    reader.run(request_of())
    reader.run(request_of())
    assert reader.reads == 2


def test_a_tag_that_a_file_calls_artefacts_is_a_tag(reader, request_of):
    reader.found = {"tags": {"artefacts": "clay pots"}}
    reader.run(request_of(), "a")
    assert reader.run(request_of(), "b")["result"] == reader.found
    assert reader.reads == 1


def test_the_cache_is_off_unless_it_is_asked_for(reader, request_of, monkeypatch):
    monkeypatch.setattr(settings, "cache_results", settings.__class__.model_fields["cache_results"].default)
    reader.run(request_of())
    reader.run(request_of())
    assert reader.reads == 2


def test_a_partial_result_is_for_its_own_task_alone(reader, request_of):
    reader.status = "partial"
    reader.run(request_of())
    reader.run(request_of())
    assert reader.reads == 2


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_that_changes_while_it_is_read_is_read_again(reader, request_of, monkeypatch, cached):
    monkeypatch.setattr(settings, "cache_results", cached)
    reader.change = b"changed"
    with pytest.raises(TransientError, match="was changed while it was read"):
        reader.run(request_of())
    reader.change = None
    assert reader.run(request_of())["input"]["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert reader.reads == 2


def test_a_file_that_is_damaged_because_it_changes_is_read_again(reader, request_of):
    reader.error = FileError("The file is cut off.", "corrupt")
    with pytest.raises(FileError, match="cut off"):
        reader.run(request_of())
    reader.change = b"half"
    with pytest.raises(TransientError, match="was changed while it was read") as told:
        reader.run(request_of())
    assert told.value.__cause__ is reader.error


def test_what_a_password_opened_or_a_person_was_matched_with_is_never_shared(reader, request_of):
    reader.run(request_of(password="planted"))
    reader.run(request_of(password="planted"))
    assert reader.reads == 2
    assert not file_cache.may_be_shared(ProcessFile(file_path="x", processing_options={"password": "planted"}))
    assert file_cache.may_be_shared(ProcessFile(file_path="x", processing_options={"generate_summary": False}))
    assert file_cache.may_be_shared(ProcessFile(file_path="x"))


def test_the_artefacts_of_results_inside_a_result_are_found():
    inner = {"artefacts": [{"uri": "store://sha256/b"}], "pages": []}
    outer = {"artefacts": [{"uri": "store://sha256/a"}], "result": {"audio": inner, "members": [{"detail": inner}]}}
    found = [one["uri"] for one in file_cache._artefacts(outer)]
    assert found == ["store://sha256/a", "store://sha256/b", "store://sha256/b"]


def test_a_fetched_file_is_the_first_tenth_of_a_tasks_progress(reader, monkeypatch):
    monkeypatch.setattr(settings, "cache_results", False)
    task = Task(parts_with(Source()))

    def work(_request: FileRequest, _tools: Any, report: Any) -> Read:
        report(0, "reading")
        report(100, "done")
        return Read.model_construct()

    with_file(task, ProcessDocument(file_path="s3://bucket/a"), lambda *_: None, work)
    assert task.told == [file_work.FETCHED_PERCENT / 2, file_work.FETCHED_PERCENT, 100]


def test_scans_and_archives_end_before_the_soft_limit_takes_all_that_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 100)
    parts = SimpleNamespace(sandbox=None, storage=None, converter=None, side_by_side=None)
    pages = document_tools(parts, tmp_path, "t").ocr_seconds
    members = route_tools(parts, tmp_path, "t").members_seconds
    assert pages < members < 100, "a scan in an archive ends first, so that its pages are kept"


def test_the_time_for_a_member_of_an_archive_is_what_those_before_it_have_left(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 1_000)
    now = [100.0]
    monkeypatch.setattr("services.file_tools.monotonic", lambda: now[0])
    parts = SimpleNamespace(sandbox=None, storage=None, converter=None, side_by_side=None)
    archive = route_tools(parts, tmp_path, "t")
    now[0] = 300.0
    assert archive.tools_of("document", tmp_path).ocr_seconds == 500
    assert archive.tools_of("audio", tmp_path).speech_seconds == 500
    assert archive.tools_of("video", tmp_path).video_seconds == 200
    now[0] = 5_000.0
    assert archive.tools_of("document", tmp_path).ocr_seconds == 0


def test_the_time_that_a_fetch_takes_is_the_tasks_own(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "cache_results", False)
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 1_000)
    now, given = [100.0], []

    class Slow(Source):
        def fetch(self, address, into, report):
            now[0] += 300
            super().fetch(address, into, report)

    for module in ("file_tools", "file_work"):
        monkeypatch.setattr(f"services.{module}.monotonic", lambda: now[0])
    parts = parts_with(Slow(), sandbox=None, storage=None, converter=None, side_by_side=None)

    def work(_request: FileRequest, tools: Any, _report: Any) -> Read:
        given.append(tools)
        return Read.model_construct()

    request = ProcessDocument(file_path="s3://bucket/a")
    with_file(Task(parts), request, document_tools, work)
    with_file(Task(parts), request, route_tools, work)
    assert (given[0].ocr_seconds, given[1].members_seconds) == (400, 500)


def test_as_many_pages_of_a_picture_are_read_as_the_settings_allow_before_its_child_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "max_pages", 37)
    monkeypatch.setattr(settings, "file_cpu_limit_seconds", 50)
    tools = image_tools(SimpleNamespace(sandbox=None, storage=None, people=None), tmp_path / "fax.tiff", "t")
    assert (tools.max_pages, tools.text_seconds) == (37, 20)
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 10)
    tools = image_tools(SimpleNamespace(sandbox=None, storage=None, people=None), tmp_path / "fax.tiff", "t")
    assert tools.text_seconds == 7, "before the task is ended"


def test_a_film_and_its_sound_end_before_the_soft_limit_takes_all_that_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "celery_task_soft_time_limit", 1_000)
    now, given = [50.0], []
    monkeypatch.setattr("services.file_tools.monotonic", lambda: now[0])
    monkeypatch.setattr("services.file_tools.process_audio", lambda _request, tools, _report: given.append(tools))
    parts = SimpleNamespace(sandbox=None, storage=None)
    tools = video_tools(parts, tmp_path / "film.mp4", "t")
    assert tools.listen is not None
    for at in (450.0, 5_000.0):
        now[0] = at
        tools.listen("film.mp4", silent)
    assert audio_tools(parts, tmp_path, "t").speech_seconds == 700
    assert (tools.video_seconds, [one.speech_seconds for one in given]) == (400, [300, 0])
