"""Uploads and artefacts over HTTP: whole or refused, in nobody's way, and with nothing left of what failed."""

import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote
from uuid import uuid4

import pytest
import uvicorn
from fastapi.testclient import TestClient
from sqlalchemy import select

from adapters.disk_storage import DiskStorage
from adapters.s3_storage import S3Storage
from api.__main__ import listen
from api.app import create_app
from api.routes import uploads as routes
from config.settings import ensure_folders, settings
from processors.errors import ArtefactGone, TransientError
from records.task_moves import Failure
from records.task_records import Draft
from records.uploads import uploads as table
from s3_server import BUCKET, S3Server
from services import api_keys, uploads
from services.access import Caller, admin_key, reach
from services.api_keys import NewKey
from services.wiring import parts
from waiting import until
from web import bodies

CONTENT = b"The bytes of a file."
ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
UPLOADS, ARTEFACTS = "/api/v1/uploads", "/api/v1/artefacts"


@pytest.fixture(scope="module")
def s3():
    with S3Server() as server:
        yield server


@pytest.fixture(autouse=True, params=["disk", "s3"])
def storage(request, tmp_path, s3, monkeypatch):
    """An empty storage of each kind."""
    s3.reset()
    own = DiskStorage(tmp_path / "storage") if request.param == "disk" else S3Storage(s3.client(), BUCKET)
    monkeypatch.setitem(parts().__dict__, "storage", own)
    return own


@pytest.fixture(scope="module")
def app():
    ensure_folders(settings)
    return create_app(settings)


@pytest.fixture
def client(app):
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {admin_key(settings)}"
        yield client


@pytest.fixture(scope="module")
def served(app) -> Iterator[int]:
    """The port of the application behind a real server."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    until(lambda: server.started, what="the server has started")
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(60)


@contextmanager
def begun(port: int, body: bytes = b"", **headers: str) -> Iterator[socket.socket]:
    """A connection on which an upload was begun."""
    fields = {"Host": "localhost", "Authorization": f"Bearer {admin_key(settings)}"} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(f"POST {UPLOADS} HTTP/1.1\r\n{head}\r\n".encode() + body)
        yield connection


def answer(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """The status and the headers that came back."""
    came = http.client.HTTPResponse(connection, method="POST")
    came.begin()
    came.read()
    return came.status, {name.lower(): value for name, value in came.getheaders()}


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def upload(client, content: bytes = CONTENT, name: str | None = None, **headers: str) -> dict:
    fields = {field.replace("_", "-"): value for field, value in headers.items()}
    came = client.post(UPLOADS if name is None else f"{UPLOADS}?name={quote(name)}", content=content, headers=fields)
    assert came.status_code == 201, came.text
    return came.json()


def row(upload_id: str):
    return parts().database.read(lambda c: c.execute(select(table).where(table.c.id == upload_id)).one())


def rows() -> int:
    return len(parts().database.read(lambda c: c.execute(select(table.c.id)).all()))


def key_of(*scopes: str, **more) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {api_keys.add(ANN, NewKey(name='of a test', scopes=list(scopes), **more))['key']}"
    }


def problem(came, status: int) -> str:
    assert came.status_code == status, came.text
    assert came.headers["content-type"] == "application/problem+json"
    return came.json()["detail"]


@pytest.fixture
def nothing_left():
    """Hold that a test leaves no file and no row."""
    before, files = rows(), set(settings.tmp_dir.iterdir())
    yield
    until(lambda: routes.places.free == routes.MOST_AT_ONCE, what="all places are free")
    assert set(settings.tmp_dir.iterdir()) <= files
    assert rows() == before


# --- Uploads ----------------------------------------------------------------------------------------------------


def test_an_upload_is_kept_and_says_how_it_is_named_from_now_on(client, storage):
    done = upload(client, name="Größe 1.txt", Content_Type="Text/Plain; charset=utf-8")
    digest = hashlib.sha256(CONTENT).hexdigest()
    uri = f"store://sha256/{digest}"
    expected = {"uri": uri, "file_path": f"{uri}/Gr%C3%B6%C3%9Fe%201.txt", "name": "Größe 1.txt", "sha256": digest}
    assert {name: done[name] for name in expected} == expected
    assert done["bytes"] == len(CONTENT)
    kept = row(done["upload_id"])
    assert (kept.state, kept.name, kept.type, kept.tenant) == ("kept", "Größe 1.txt", "text/plain", None)
    assert kept.expires_at.isoformat() == done["expires_at"]
    assert storage.get(uri) == CONTENT
    assert storage.remove(f"upload-{done['upload_id']}") == len(CONTENT)


@pytest.mark.parametrize("size", [1, 2**20 - 1, 2**20, 3 * 2**20 + 7])
def test_an_upload_of_any_size_is_whole_with_and_without_its_length(client, size):
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for body in (content, iter([content[:5], content[5:]])):
        done = upload(client, body)
        assert (done["bytes"], done["sha256"]) == (size, hashlib.sha256(content).hexdigest())
    assert client.get(f"{ARTEFACTS}/{done['sha256']}").content == content


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (None, "upload"),
        ("", "upload"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\0b.pdf", "ab.pdf"),
        ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
        ("..", "upload"),
        ("日本 \U0001f600.md", "日本 \U0001f600.md"),
        ("\u202efdp.exe", "fdp.exe"),
        ("<script>.html", "<script>.html"),
        ("%2e%2e%2fx", "%2e%2e%2fx"),
        ("n" * 1000, "n" * 200),
    ],
)
def test_a_name_is_made_safe(client, name, kept):
    done = upload(client, name=name)
    assert done["name"] == kept
    came = client.post("/api/v1/submit/process_document", json={"file_path": done["file_path"]})
    assert came.status_code == 202, came.text


def test_a_name_that_is_far_too_long_is_refused(client, nothing_left):
    problem(client.post(f"{UPLOADS}?name={'n' * 2001}", content=CONTENT), 422)


@pytest.mark.parametrize("said", ["", "nonsense", "text/html\x7f", "a/b, c/d", "x" * 300 + "/y"])
def test_a_type_that_is_none_is_bytes(client, said):
    assert row(upload(client, Content_Type=said)["upload_id"]).type == "application/octet-stream"


def test_an_upload_is_written_down_as_an_act(client):
    done = upload(client, name="a.txt")
    found = until(
        lambda: client.get("/api/v1/audit", params={"act": "upload.add", "target_id": done["upload_id"]}).json()[
            "items"
        ]
    )
    assert found[0]["details"] == {"name": "a.txt", "bytes": len(CONTENT), "sha256": done["sha256"]}


def test_an_empty_upload_is_refused(client, nothing_left):
    assert "empty" in problem(client.post(UPLOADS, content=b""), 422)


def test_who_may_upload_and_who_may_read(client, nothing_left):
    for key, status in (({"Authorization": "Bearer x"}, 401), (key_of("read"), 403)):
        problem(client.post(UPLOADS, content=CONTENT, headers=key), status)
    for key in (key_of("read"), key_of("read", tenant="acme"), key_of("submit", tenant="acme")):
        problem(client.get(f"{ARTEFACTS}/{'0' * 64}", headers=key), 404)


def made(result: object, tenant: str) -> str:
    """A tenant's task that has ended with a result."""
    task_id = f"made-{uuid4()}"
    parts().tasks.open(Draft(task_id, "texts.none", "file_processing", "file_processing", tenant=tenant))
    run = parts().moves.start(task_id, 0, "worker-of-made", "w@h", None).run
    assert parts().moves.succeed(task_id, run, result)
    return task_id


def test_a_tenant_reads_what_its_own_tasks_have_made_and_nothing_else(client, storage):
    uri = storage.put(CONTENT, mime="text/plain", task_id=f"made-{uuid4()}")
    path = f"{ARTEFACTS}/{uri.rpartition('/')[2]}"
    task_id = made({"result": {"pages": [{"n": 1}, {"uri": uri}]}}, "acme")
    acme, other = key_of("read", tenant="acme"), key_of("read", tenant="other")
    assert client.get(path, params={"task": task_id}, headers=acme).content == CONTENT
    assert client.head(path, params={"task": task_id}, headers=acme).headers["content-length"] == str(len(CONTENT))
    says = made({"text": uri, "uri": f"{uri}/a.txt", "uris": [uri]}, "acme")
    for key, task in ((acme, None), (other, task_id), (acme, "never-was"), (acme, says)):
        problem(client.get(path, params={"task": task} if task else {}, headers=key), 404)
        assert client.head(path, params={"task": task} if task else {}, headers=key).status_code == 404


def test_a_tenants_upload_is_the_tenants(client):
    done = upload(client, **key_of("submit", tenant="acme"))
    assert row(done["upload_id"]).tenant == "acme"


def test_a_key_is_looked_at_before_a_byte_is_read(served, nothing_left):
    with begun(served, Authorization="Bearer x", Content_Length="10") as connection:
        assert answer(connection)[0] == 401


def test_what_says_that_it_is_too_large_is_refused_before_a_byte_is_read(served, nothing_left):
    most = settings.max_file_mb * 1024**2
    for length in (most + 1, 10 * 1024**3, 10**15):
        with begun(served, Content_Length=str(length)) as connection:
            status, headers = answer(connection)
            assert (status, headers["connection"]) == (413, "close")
            assert is_closed(connection)


def test_what_is_too_large_without_having_said_so_is_refused_at_the_first_byte_beyond(
    served, monkeypatch, nothing_left
):
    monkeypatch.setattr(settings, "max_file_mb", 1)
    size = 2**20 + 1
    with begun(served, f"{size:x}\r\n".encode() + bytes(size) + b"\r\n", Transfer_Encoding="chunked") as connection:
        assert answer(connection)[0] == 413
        assert is_closed(connection)


def test_a_client_that_sends_nothing_is_not_waited_for(served, monkeypatch, nothing_left):
    monkeypatch.setattr(bodies, "QUIET_SECONDS", 0.05)
    for body in (b"", b"abc"):
        with begun(served, body, Content_Length="10") as connection:
            status, headers = answer(connection)
            assert (status, headers["connection"]) == (408, "close")
            assert is_closed(connection)


def test_a_client_that_never_ends_is_not_waited_for(served, monkeypatch, nothing_left):
    monkeypatch.setattr(routes, "LONGEST_SECONDS", 0.0)
    with begun(served, b"abc", Content_Length="10") as connection:
        assert answer(connection)[0] == 408


def test_a_client_that_breaks_off_leaves_nothing(served, nothing_left):
    with begun(served, bytes(3 * 2**20), Content_Length=str(4 * 2**20)):
        until(lambda: routes.places.free < routes.MOST_AT_ONCE, what="it is being taken")


def test_one_key_leaves_places_to_others(served, client):
    other = api_keys.add(ANN, NewKey(name="of another", scopes=["submit"]))["key"]
    with ExitStack() as stack:
        for _ in range(routes.MOST_OF_ONE):
            stack.enter_context(begun(served, b"a", Content_Length="2"))
        until(lambda: routes.places.free == routes.MOST_AT_ONCE - routes.MOST_OF_ONE, what="all are being taken")
        assert "with this key" in problem(client.post(UPLOADS, content=CONTENT), 429)
        answered = client.post(UPLOADS, content=CONTENT, headers={"Authorization": f"Bearer {other}"})
        assert answered.status_code == 201, answered.text
    until(lambda: routes.places.free == routes.MOST_AT_ONCE, what="all places are free")


def test_so_many_uploads_are_taken_at_once_and_then_again(served, monkeypatch):
    monkeypatch.setattr(routes, "MOST_OF_ONE", routes.MOST_AT_ONCE)
    with ExitStack() as stack:
        going = [stack.enter_context(begun(served, b"a", Content_Length="2")) for _ in range(routes.MOST_AT_ONCE)]
        until(lambda: routes.places.free == 0, what="all are being taken")
        with begun(served, b"ab", Content_Length="2") as one_more:
            status, headers = answer(one_more)
            assert (status, headers["retry-after"]) == (503, str(routes.AGAIN_SECONDS))
        for connection in going:
            connection.sendall(b"b")
        assert [answer(connection)[0] for connection in going] == [201] * routes.MOST_AT_ONCE
    until(lambda: routes.places.free == routes.MOST_AT_ONCE, what="all places are free")


def test_a_disk_that_is_low_takes_nothing(client, monkeypatch, nothing_left):
    monkeypatch.setattr(parts().host, "free_bytes", lambda: routes.LOW_DISK_BYTES + len(CONTENT) - 1)
    assert "no room" in problem(client.post(UPLOADS, content=CONTENT), 507)


def test_a_disk_that_becomes_low_meanwhile_takes_no_more(client, monkeypatch, nothing_left):
    free = iter([2 * routes.LOW_DISK_BYTES, 0])
    monkeypatch.setattr(parts().host, "free_bytes", lambda: next(free))
    problem(client.post(UPLOADS, content=CONTENT), 507)


def test_room_that_one_upload_announced_is_given_to_no_other(served, monkeypatch, nothing_left):
    two = 2 * 2**20
    chunked = b"8\r\nsome of \r\n0\r\n\r\n"
    monkeypatch.setattr(parts().host, "free_bytes", lambda: routes.LOW_DISK_BYTES + two + two - 1)
    with begun(served, b"a", Content_Length=str(two)):
        until(lambda: routes.places.free < routes.MOST_AT_ONCE, what="it is being taken")
        with begun(served, Content_Length=str(two)) as second:
            assert answer(second)[0] == 507
        monkeypatch.setattr(parts().host, "free_bytes", lambda: routes.LOW_DISK_BYTES + two - 1)
        with begun(served, chunked, Transfer_Encoding="chunked") as third:
            assert answer(third)[0] == 507, "there is none for what was not announced either"
    until(lambda: routes.places.free == routes.MOST_AT_ONCE, what="its place is free")
    with begun(served, b"", Content_Length="0") as later:
        assert answer(later)[0] == 422, "there is room, and nothing came"


def test_an_upload_is_not_copied_into_a_storage_on_the_same_disk(client, monkeypatch):
    monkeypatch.setattr("adapters.disk_storage._copy", lambda *_: pytest.fail("it is copied"))
    done = upload(client, b"is on the disk once" * 100_000)
    whole = client.get(f"{ARTEFACTS}/{done['sha256']}")
    assert whole.content == b"is on the disk once" * 100_000


def test_a_disk_that_is_full_while_it_is_stored_leaves_nothing(client, monkeypatch, storage, nothing_left):
    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "put_file", full)
    problem(client.post(UPLOADS, content=CONTENT), 507)


def test_a_disk_that_is_full_to_its_last_byte_is_told_though_the_rest_can_never_be_written(
    client, monkeypatch, nothing_left
):
    class Full:
        def write(self, _content):
            raise OSError(28, "No space left on device")

        def close(self):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "arriving", Full)
    problem(client.post(UPLOADS, content=CONTENT), 507)


def test_a_storage_that_does_not_answer_takes_nothing(client, monkeypatch, storage, nothing_left):
    def away(*_arguments, **_options):
        raise TransientError("the storage rests")

    monkeypatch.setattr(storage, "put_file", away)
    assert "rests" in problem(client.post(UPLOADS, content=CONTENT), 503)


# --- Artefacts --------------------------------------------------------------------------------------------------


@pytest.fixture
def artefact(storage) -> str:
    """The path of an artefact."""
    return f"{ARTEFACTS}/{storage.put(CONTENT, mime='text/html', task_id='t')[-64:]}"


def test_an_artefact_is_a_download_of_bytes_whatever_it_is(client, artefact):
    came = client.get(artefact)
    assert (came.status_code, came.content) == (200, CONTENT)
    digest = artefact[-64:]
    expected = {
        "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename=\"{digest}\"; filename*=UTF-8''{digest}",
        "content-length": str(len(CONTENT)),
        "content-type": "application/octet-stream",
        "etag": f'"{digest}"',
        "x-content-type-options": "nosniff",
    }
    assert {name: came.headers[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("image/png", "image/png"),
        ("text/plain", "text/plain"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("text/html;x=image/png", "application/octet-stream"),
        ("image/png\r\nX-Planted: 1", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_only_a_harmless_type_is_said(client, artefact, asked, kind):
    came = client.get(artefact, params={"type": asked})
    assert came.headers["content-type"] == kind
    assert came.headers["content-disposition"].startswith("attachment;")
    assert "x-planted" not in came.headers


@pytest.mark.parametrize(
    ("name", "plain", "extended"),
    [
        ("a b.pdf", "a b.pdf", "a%20b.pdf"),
        ("Größe.pdf", "Gr__e.pdf", "Gr%C3%B6%C3%9Fe.pdf"),
        ('a"; filename="b.exe', "a_; filename=_b.exe", "a%22%3B%20filename%3D%22b.exe"),
        ("a\r\nX-Planted: 1", "aX-Planted: 1", "aX-Planted%3A%201"),
        ("../../a\0.pdf", "a.pdf", "a.pdf"),
        ("%41\\", None, None),
    ],
)
def test_a_name_to_save_it_by_plants_nothing(client, artefact, name, plain, extended):
    came = client.get(artefact, params={"name": name})
    digest = artefact[-64:]
    expected = f"attachment; filename=\"{plain or digest}\"; filename*=UTF-8''{extended or digest}"
    assert came.headers["content-disposition"] == expected
    assert "x-planted" not in came.headers


@pytest.mark.parametrize(
    ("wanted", "status", "content", "said"),
    [
        ("bytes=0-3", 206, CONTENT[:4], f"bytes 0-3/{len(CONTENT)}"),
        ("bytes=4-", 206, CONTENT[4:], f"bytes 4-19/{len(CONTENT)}"),
        ("bytes=-5", 206, CONTENT[-5:], f"bytes 15-19/{len(CONTENT)}"),
        ("bytes=0-1,4-5", 200, CONTENT, None),
        ("nonsense", 200, CONTENT, None),
    ],
)
def test_one_range_is_a_part_and_anything_else_the_whole(client, artefact, wanted, status, content, said):
    came = client.get(artefact, headers={"Range": wanted})
    assert (came.status_code, came.content, came.headers.get("content-range")) == (status, content, said)
    assert came.headers["content-length"] == str(len(content))


def test_a_range_beyond_the_end_says_how_long_it_is(client, artefact):
    came = client.get(artefact, headers={"Range": "bytes=20-"})
    assert "20 bytes" in problem(came, 416)
    assert came.headers["content-range"] == "bytes */20"


def test_who_has_it_already_is_told_so_and_a_part_of_another_one_is_never_given(client, artefact):
    digest = artefact[-64:]
    came = client.get(artefact, headers={"If-None-Match": f'W/"{digest}"', "Range": "bytes=0-3"})
    assert (came.status_code, came.content, came.headers["etag"]) == (304, b"", f'"{digest}"')
    same = client.get(artefact, headers={"If-Range": f'"{digest}"', "Range": "bytes=0-3"})
    other = client.get(artefact, headers={"If-Range": '"other"', "Range": "bytes=0-3"})
    assert (same.content, other.content) == (CONTENT[:4], CONTENT)


def test_a_look_says_what_a_read_would_and_reads_nothing(client, artefact, storage, monkeypatch):
    monkeypatch.setattr(storage, "chunks", None)
    came = client.head(artefact, headers={"Range": "bytes=0-3"}, params={"type": "text/plain"})
    assert (came.status_code, came.content) == (200, b"")
    assert (came.headers["content-length"], came.headers["content-type"]) == ("20", "text/plain")
    assert client.head(artefact, headers={"If-None-Match": "*"}).status_code == 304
    assert client.head(f"{ARTEFACTS}/{'0' * 64}").status_code == 404


def test_an_empty_artefact_is_read(client, storage):
    came = client.get(f"{ARTEFACTS}/{storage.put(b'', mime='text/plain', task_id='t')[-64:]}")
    assert (came.status_code, came.content, came.headers["content-length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    "digest", ["0", "A" * 64, "..%2f..%2f..%2fetc%2fpasswd", "%00" * 64, "0" * 63 + "%0a", "١" * 64]
)
def test_a_digest_that_is_none_leads_nowhere(client, digest):
    came = client.get(f"{ARTEFACTS}/{digest}")
    assert came.status_code in {404, 422}
    assert b"root:" not in came.content


def test_an_artefact_that_goes_between_the_look_and_the_read_is_not_found(client, artefact, storage, monkeypatch):
    size = storage.size

    def then_gone(uri):
        found = size(uri)
        storage.remove("t")
        return found

    monkeypatch.setattr(storage, "size", then_gone)
    assert "removed with its task" in problem(client.get(artefact), 404)


def test_a_storage_that_does_not_answer_is_unavailable(client, artefact, storage, monkeypatch):
    def away(*_arguments):
        raise TransientError("the storage rests")

    monkeypatch.setattr(storage, "size", away)
    assert "rests" in problem(client.get(artefact), 503)


# --- Submits that name uploads ----------------------------------------------------------------------------------


def test_a_task_that_waits_keeps_its_upload(client, storage):
    done = upload(client, name="a.md")
    came = client.post("/api/v1/submit/process_document", json={"file_path": done["file_path"], "delay_seconds": 3600})
    assert came.status_code == 202, came.text
    assert storage.remove(f"upload-{done['upload_id']}") == 0
    assert storage.get(done["uri"]) == CONTENT
    assert storage.remove(came.json()["task_id"]) == len(CONTENT)
    with pytest.raises(ArtefactGone):
        storage.get(done["uri"])


@pytest.mark.parametrize(
    ("method", "body", "argument"),
    [
        ("process_document", {"file_path": "{place}"}, "file_path"),
        ("process_file", {"file_path": "{place}/a.zip"}, "file_path"),
        (
            "send_email",
            {"to_email": "a@example.com", "subject": "s", "body": "b", "attachments": [{"path": "{place}"}]},
            "attachments.0.path",
        ),
    ],
)
def test_a_place_that_is_gone_is_refused_before_the_submit(client, method, body, argument, monkeypatch):
    def filled(value):
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return value.replace("{place}", f"store://sha256/{'0' * 64}")

    monkeypatch.setattr(uploads, "keep_for", None)
    detail = problem(client.post(f"/api/v1/submit/{method}", json=filled(body)), 422)
    assert detail.startswith(f"{argument}: there is no file at store://sha256/000")


def test_a_replay_and_a_schedule_name_no_place_that_is_gone(client):
    parts().tasks.open(Draft("gone-file", "file_processing.process_document", "file_processing", "file_processing"))
    parts().moves.fail_waiting("gone-file", Failure("It broke.", "PermanentError"))
    kwargs = {"file_path": f"store://sha256/{'0' * 64}"}
    came = client.post("/api/v1/tasks/gone-file/replay", json={"arguments": kwargs})
    assert problem(came, 422).startswith("file_path: there is no file at store://sha256/000")
    schedule = {"name": "gone-file", "task": "file_processing.process_document", "every": 60.0, "kwargs": kwargs}
    detail = problem(client.post("/api/v1/schedules", json=schedule), 422)
    assert detail.startswith("kwargs: there is no file at store://sha256/000")


@pytest.mark.parametrize("place", ["store://../../etc/passwd", "store:///etc/passwd", "STORE://sha256/0", "store://x"])
def test_an_address_that_only_begins_like_the_storages_is_refused(client, place):
    assert "file_path" in problem(client.post("/api/v1/submit/process_document", json={"file_path": place}), 422)
