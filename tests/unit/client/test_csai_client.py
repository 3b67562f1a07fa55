"""The client over HTTP has the facade's methods, and its answers and errors; what got no answer is sent again once."""

import inspect
import json
import random
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import csai_client
from api.examples import EXAMPLES
from api.routes import uploads as routes
from call_faults import web_application
from config.settings import ensure_folders, settings
from csai_client import CsaiClient
from records.task_moves import Failure
from records.task_records import Draft
from services.access import admin_key
from services.celery_service import CeleryService, celery_service
from services.wiring import parts

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def served():
    ensure_folders(settings)
    with web_application() as url:
        yield url


@pytest.fixture(scope="module")
def client(served):
    with CsaiClient(served, admin_key(settings)) as made:
        yield made


# --- The same interface -----------------------------------------------------------------------------------------


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(one) for name, one in inspect.getmembers(kind, callable) if not name.startswith("_")
    }


def test_the_client_has_every_method_of_the_facade_with_its_parameters():
    facade, ours = public(CeleryService), public(CsaiClient)
    assert set(facade) <= set(ours)
    assert set(ours) - set(facade) == {"upload"}
    for name in set(facade) & set(ours) - {"submit"}:
        theirs = [one for one in facade[name].parameters.values() if one.kind is not one.VAR_KEYWORD]
        mine = {one.name: one for one in ours[name].parameters.values()}
        assert [one.name for one in theirs] == [
            one for one in mine if one in facade[name].parameters and one != "options"
        ], name
        for one in theirs:
            assert (mine[one.name].kind, mine[one.name].default is one.empty) == (one.kind, one.default is one.empty), (
                name
            )


def test_the_client_is_what_the_apis_document_says():
    made = subprocess.run(
        [sys.executable, "scripts/make_client.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr

    foreign = "{one.split('.')[0] for one in set(sys.modules) - before} - sys.stdlib_module_names - {'csai_client'}"
    code = f"import sys; before = set(sys.modules); import csai_client; print(sorted({foreign}))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.strip() == "[]"


# --- Answers ----------------------------------------------------------------------------------------------------


def test_a_submit_is_recorded_as_the_facade_records_it(client):
    task_id = client.analyze_sentiment("fine", tags=["by-client"], priority="high")
    record = parts().tasks.read(task_id)
    assert (record.kwargs["text"], record.tags, record.priority) == ("fine", ["by-client"], "high")
    assert client.get_task_status(task_id) == celery_service.get_task_status(task_id)
    assert client.cancel_task(task_id) is True
    assert client.cancel_task(task_id) is False
    with pytest.raises(csai_client.TaskCancelled):
        client.get_task_result(task_id, timeout=0)


def test_results_and_failures_are_those_of_the_facade(client):
    parts().tasks.open(Draft("client-failed", "texts.none", "ai_processing", "ai_processing", delay=3600))
    with pytest.raises(csai_client.TaskTimeout):
        client.get_task_result("client-failed", timeout=0.01)
    parts().moves.fail_waiting("client-failed", Failure("it broke", "PermanentError"))
    with pytest.raises(csai_client.TaskFailed, match="it broke") as told:
        client.get_task_result("client-failed")
    assert told.value.error_type == "PermanentError"
    assert client.get_task_status("client-none") == celery_service.get_task_status("client-none")
    with pytest.raises(csai_client.NotFound):
        client.get_task_result("client-none")


def test_what_is_wrong_has_the_kind_of_error_that_the_facade_raises(client, served):
    with pytest.raises(ValueError, match="to_number"):
        client.queue_outbound_call("12")
    with pytest.raises(csai_client.InvalidArgument, match="idempotency_key"):
        client.health_check(idempotency_key="k" * 300)
    with CsaiClient(served, "csai_none") as stranger, pytest.raises(csai_client.NotAllowed) as told:
        stranger.health_check()
    assert told.value.status == 401
    with pytest.raises(LookupError):
        client.pause_schedule("none")
    first = client.health_check(idempotency_key="client-once")
    assert client.health_check(idempotency_key="client-once") == first
    with pytest.raises(csai_client.Conflict):
        client.analyze_sentiment("x", idempotency_key="client-once", tenant=None)


def test_lists_dictionaries_numbers_and_texts_come_as_the_facade_gives_them(client):
    assert client.get_limits() == json.loads(json.dumps(celery_service.get_limits()))
    client.health_check(delay_seconds=3600)
    assert client.pause_queue("low_priority") is True
    assert client.drain("low_priority") == 0
    assert client.resume_queue("low_priority") is True
    assert client.purge_queue("low_priority") >= 0  # however many: the facade asks nobody
    with pytest.raises(csai_client.Conflict, match="0 tasks were confirmed"):
        client.kill_all_tasks(count=0)
    assert client.get_contact("client-nobody") is None
    client.set_contact("client-ann", email="ann@example.com")
    assert client.get_contact("client-ann")["email"] == celery_service.get_contact("client-ann")["email"]
    assert client.delete_contact("client-ann") is True
    assert client.add_opt_out("+491701234599", "asked") is True
    assert [one["phone_number"] for one in client.get_opt_outs(after="+491701234598", limit=1)] == ["+491701234599"]
    assert client.remove_opt_out("+491701234599") is True


def test_marking_an_inbox_tells_how_many_items_there_are(client):
    parts().inbox.write("client-reader-1", "client-reader", "welcome", "Welcome!", "Hello.", None)
    (item,) = client.get_inbox("client-reader")["items"]
    assert client.mark_inbox("client-reader", [item["id"]], "read") == 1
    assert client.get_inbox("client-reader") == celery_service.get_inbox("client-reader")


def test_vectors_come_as_the_facade_gives_them_and_what_is_not_there_yet_is_told_at_once(client, monkeypatch):
    parts().tasks.open(Draft("client-vectors", "texts.none", "ai_processing", "ai_processing", delay=3600))
    with pytest.raises(csai_client.TaskTimeout):
        next(client.get_vectors("client-vectors"))
    found = [(0, np.array([0.5, 1.0], "f4")), (2, np.array([2.0, 0.25], "f4"))]
    monkeypatch.setattr(celery_service, "get_vectors", lambda _: iter(found))
    assert list(client.get_vectors("client-vectors")) == [(0, [0.5, 1.0]), (2, [2.0, 0.25])]
    parts().moves.fail_waiting("client-vectors", Failure("it broke", "PermanentError"))
    monkeypatch.undo()
    with pytest.raises(csai_client.TaskFailed, match="it broke"):
        next(client.get_vectors("client-vectors"))


# --- No answer --------------------------------------------------------------------------------------------------


class Dropping:
    """Stands before the service; passes requests on, and drops the first answers."""

    def __init__(self, url: str, drops: int, breaks: int = 0):
        self.port, self.drops, self.seen = int(url.rpartition(":")[2]), drops, 0
        self.breaks = breaks  # so many connections more end after the first bytes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                taken, _ = self.listener.accept()
            except OSError:
                return
            with taken, socket.create_connection(("127.0.0.1", self.port)) as behind:
                self.pass_on(taken, behind)

    def pass_on(self, taken: socket.socket, behind: socket.socket) -> None:
        """Pass on until one side ends, or an answer is dropped."""
        while True:
            for side in select.select([taken, behind], [], [])[0]:
                if not (sent := side.recv(65536)):
                    return
                if side is behind:
                    self.seen += 1
                    if self.seen <= self.drops:
                        return
                (taken if side is behind else behind).sendall(sent)
                if side is taken and self.breaks:
                    self.breaks -= 1
                    return


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(csai_client, "FIRST_PAUSE_SECONDS", 0.01)


def test_a_submit_whose_answer_was_lost_is_sent_again_and_done_once(served):
    proxy = Dropping(served, drops=3)
    with CsaiClient(proxy.url, admin_key(settings)) as client:
        task_id = client.analyze_sentiment("lost answers", tags=["lost-answers"])
    proxy.listener.close()
    assert proxy.seen >= 4
    made = [one for one in parts().tasks.unfinished(100_000) if one.tags == ["lost-answers"]]
    assert [one.id for one in made] == [task_id]


def test_many_whose_answer_was_lost_are_sent_again_and_done_once(served):
    proxy, many = Dropping(served, drops=3), [{"text": f"lost {n}"} for n in range(20)]
    with CsaiClient(proxy.url, admin_key(settings)) as client:
        ids = client.submit_many("ai_processing.analyze_sentiment", many, tags=["lost-many"])
    proxy.listener.close()
    assert proxy.seen >= 4
    made = [one for one in parts().tasks.unfinished(100_000) if one.tags == ["lost-many"]]
    assert {one.id for one in made} == set(ids)
    assert [parts().tasks.read(one).kwargs["text"] for one in ids] == [one["text"] for one in many]


def test_a_schedule_whose_run_was_not_answered_is_run_once(client, served):
    celery_service.add_schedule("client-once", "monitoring.health_check", every=3600)
    before = {one.id for one in parts().tasks.unfinished(100_000)}
    proxy = Dropping(served, drops=2)
    with CsaiClient(proxy.url, admin_key(settings)) as dropped:
        task_id = dropped.run_schedule_now("client-once")
    proxy.listener.close()
    assert proxy.seen >= 3
    made = {one.id for one in parts().tasks.unfinished(100_000) if one.origin == "schedule:client-once"}
    assert made - before == {task_id}
    assert client.run_schedule_now("client-once", "k") == client.run_schedule_now("client-once", "k") != task_id
    client.remove_schedule("client-once")


def test_a_key_of_any_signs_is_kept_and_an_empty_one_is_refused(client):
    for key in ("Bestellung 5 \u20ac", "a\nb", " a", "\U0001f600"):
        ids = [client.analyze_sentiment("fine", idempotency_key=f"client {key}") for _ in range(2)]
        ids.append(celery_service.analyze_sentiment("fine", idempotency_key=f"client {key}"))
        assert len(set(ids)) == 1, key
    celery_service.add_schedule("client-key", "monitoring.health_check", every=3600)
    for refused in (
        lambda: client.analyze_sentiment("fine", idempotency_key=""),
        lambda: client.run_schedule_now("client-key", ""),
    ):
        with pytest.raises(csai_client.InvalidArgument, match="1 to 255 characters"):
            refused()
    client.remove_schedule("client-key")


def test_an_upload_that_broke_off_or_whose_answer_was_lost_is_sent_again_whole(served, tmp_path):
    content = random.Random(1).randbytes(3 * 2**20)
    file = tmp_path / "a.bin"
    file.write_bytes(content)
    proxy = Dropping(served, drops=1, breaks=2)
    with CsaiClient(proxy.url, admin_key(settings)) as client:
        place = client.upload(file)
        assert client.get_artefact(place.rpartition("/")[0]) == content
    proxy.listener.close()
    assert (proxy.breaks, proxy.seen >= 3) == (0, True)


def test_an_upload_that_is_too_large_is_refused_while_it_is_sent(client, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "max_file_mb", 1)
    file = tmp_path / "large.bin"
    with file.open("wb") as empty:
        empty.truncate(200 * 2**20)  # far more than what lies between the two
    for _ in range(5):
        with pytest.raises(csai_client.InvalidArgument, match="at most 1 MB") as told:
            client.upload(file)
        assert told.value.status == 413
    file.write_bytes(b"small")
    assert client.upload(file).endswith("/large.bin")


def test_an_upload_for_which_there_is_no_place_now_waits_for_one(client, monkeypatch, tmp_path):
    class Full(routes.Places):
        asked = 0

        def one(self, announced, holder):
            self.asked += 1
            self._most = 0 if self.asked < 3 else 1
            return super().one(announced, holder)

    full = Full(1)
    monkeypatch.setattr(routes, "places", full)
    monkeypatch.setattr(routes, "AGAIN_SECONDS", 0)
    file = tmp_path / "a.txt"
    file.write_bytes(b"text")
    assert client.upload(file).endswith("/a.txt")
    assert full.asked == 3


def test_an_upload_to_a_service_that_is_away_is_given_up_when_the_patience_ends(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    file = tmp_path / "a.txt"
    file.write_bytes(b"text")
    with pytest.raises(ConnectionError, match="does not answer"):
        CsaiClient(f"http://127.0.0.1:{port}", "csai_x", patience=0.1).upload(file)


def test_a_service_that_is_away_is_asked_until_the_patience_ends():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = CsaiClient(f"http://127.0.0.1:{port}", "csai_x", patience=0.1)
    with pytest.raises(ConnectionError, match="does not answer"):
        away.get_limits()


def test_a_connection_that_the_service_has_closed_is_opened_anew(client):
    client.get_limits()
    client._connection._kept.connection.sock.shutdown(socket.SHUT_RDWR)
    assert client.get_limits()


@pytest.mark.parametrize("url", ["localhost:8001", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="url: must begin with http"):
        CsaiClient(url, "k")


def test_every_example_is_taken_by_the_method_of_its_name():
    for name, example in EXAMPLES.items():
        if name not in {"submit", "submit_many"}:
            inspect.signature(getattr(CsaiClient, name)).bind(None, **example)


@pytest.mark.parametrize(
    "call",
    [
        lambda client, options: client.send_email("ann@example.com", "s", "b", **options),
        lambda client, options: client.submit("ai_processing.analyze_sentiment", {"text": "a"}, **options),
        lambda client, options: client.submit_many("ai_processing.analyze_sentiment", [{"text": "a"}], **options),
        lambda client, options: client.schedule_call("+15554417701", "2030-01-01T12:00:00Z", **options),
    ],
    ids=["send_email", "submit", "submit_many", "schedule_call"],
)
def test_an_unknown_keyword_is_a_type_error_as_it_is_of_the_facade(client, call):
    with pytest.raises(TypeError, match=r"CsaiClient\.\w+\(\) got an unexpected keyword argument 'foo'"):
        call(client, {"foo": 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'due_at'"):
        client.schedule_call("+15554417701", "2030-01-01T12:00:00Z", due_at="2030-01-01T12:00:00Z")
