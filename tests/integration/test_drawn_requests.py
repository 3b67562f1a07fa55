"""Requests drawn from the API's own document, to a real web process: each is answered as the document says."""

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from broker.embedded_redis import EmbeddedRedis
from config.settings import Settings, ensure_folders
from installation import Part
from ports import free_port, listens
from services.celery_app import QUEUES
from waiting import until

EXAMPLES = int(os.environ.get("REQUESTS", "4"))
"""Of each route, allowed ones and as many that are not; `make requests` has more."""

SEED = int(os.environ.get("SEED", "1"))
ANSWER_SECONDS = 60.0
SHORT_WAIT = 0.01
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
DRAWN = hypothesis.settings(
    max_examples=EXAMPLES, phases=[Phase.generate], database=None, deadline=None, suppress_health_check=[*HealthCheck]
)
FAIL = """
import sys
from records.task_moves import Failure
from services.wiring import parts
parts().moves.fail_waiting(sys.argv[1], Failure("it broke", "PermanentError"))
"""
CALLS = {"phone_numbers": ["+4915112345678"], "call_metadata": {"message": "Good morning."}}
MAIL = {"to_email": "ann@example.com", "subject": "Yours", "body": "Thank you."}


@schemathesis.serializer("message/rfc822")
def serialized(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


class Api:
    """A web process with a database, a storage and a broker of its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = Settings(data_dir=folder / "data")
        ensure_folders(own)
        self.variables = {"DATA_DIR": str(own.data_dir), "PORT": str(self.port), "API_LIMIT": "none"}
        self.redis = EmbeddedRedis(own)
        self.web = Part("web", [sys.executable, "-m", "api"], folder / "web.txt", self.variables)
        self.session = requests.Session()

    def start(self) -> None:
        self.redis.start()
        self.web.start()
        until(lambda: listens(self.port), what="the web process listens")
        key = Path(self.variables["DATA_DIR"]) / "run" / "api-key"
        self.session.headers["Authorization"] = f"Bearer {key.read_text().strip()}"

    def stop(self) -> None:
        self.session.close()
        self.web.stop()
        self.redis.stop()

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        came = self.session.request(method, f"{self.url}/api/v1{path}", json=body, timeout=ANSWER_SECONDS, **more)
        assert came.ok, came.text
        return came.json()

    def submitted(self, method: str, **arguments: Any) -> str:
        return self.ask("POST", f"/submit/{method}", arguments | {"delay_seconds": 3600})["task_id"]

    def filled(self, schedule: str) -> Mapping[str, Sequence[str]]:
        """Make some of everything; returns it by the names that the routes' paths have for it."""
        waiting, failed, cancelled = (self.submitted("send_email", **MAIL) for _ in range(3))
        bulk, campaign = (
            self.submitted("send_bulk_emails", emails=[MAIL]),
            self.submitted("queue_bulk_calls", **CALLS),
        )
        subprocess.run([sys.executable, "-c", FAIL, failed], env=os.environ | self.variables, check=True, timeout=60)
        self.ask("POST", f"/tasks/{cancelled}/cancel")
        self.ask("POST", "/schedules", {"name": schedule, "task": "monitoring.health_check", "every": 3600.0})
        self.ask("PATCH", "/contacts/ann", {"email": "ann@example.com"})
        return {
            "task_id": [waiting, failed, cancelled, bulk],
            "campaign_id": [campaign, waiting],
            "call_id": [f"{campaign}:0", waiting],
            "name": [schedule],
            "key_id": [self.ask("POST", "/keys", {"name": "drawn", "scopes": ["read"]})["id"]],
            "webhook_id": [self.ask("POST", "/webhooks", {"url": "https://receiver.invalid/"})["id"]],
            "sha256": [self.ask("POST", "/uploads", data=b"bytes")["sha256"]],
            "user_id": ["ann"],
            "queue": list(QUEUES),
            "queue_name": list(QUEUES),
            "scope": ["category:email", "queue:default", "task:email.send_email"],
            "ended": [failed, cancelled],
        }


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    running = Api(tmp_path_factory.mktemp("api"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@dataclass
class Report:
    """What was drawn of the operations of a document, and how it was answered."""

    mode: GenerationMode
    there_are: int
    asked: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    not_as_told: int = 0
    wrong: dict[str, str] = field(default_factory=dict)

    def told(self) -> str:
        classes = Counter({2: 0, 4: 0, 5: 0})
        for status, count in self.statuses.items():
            classes[status // 100] += count
        answered = ", ".join(f"{one}xx {count}" for one, count in sorted(classes.items()))
        return (
            f"{self.mode.value}: {len(self.asked)} of {self.there_are} operations, {self.statuses.total()} requests: "
            f"{answered}; not as the document says: {self.not_as_told}"
        )


@pytest.fixture(scope="module")
def reports() -> Iterator[list[Report]]:
    """What `make requests` prints at its end."""
    made: list[Report] = []
    yield made
    head = f"schemathesis {version('schemathesis')} over the whole document, SEED={SEED} REQUESTS={EXAMPLES}"
    print("", head, *(one.told() for one in made), sep="\n")  # noqa: T201 - what repeats this run, and came of it


def removes(operation: APIOperation) -> bool:
    """Whether it takes away what the other ones are asked about."""
    return operation.method == "delete" or operation.path.endswith(("/kill-all", "/purge"))


@st.composite
def drawn(draw, operation: APIOperation, mode: GenerationMode, there: Mapping[str, Sequence[str]]) -> Case:
    """A request that is the route's example, or anything of this mode, often about something that is there."""
    examples = operation.get_strategies_from_examples() if mode is GenerationMode.POSITIVE else []
    case = draw(st.one_of(*examples, operation.as_strategy(generation_mode=mode)))
    streams = operation.path.endswith("{task_id}/events")  # until the task's end
    for name in sorted(set(case.path_parameters or ()) & set(there)):
        if streams or draw(st.booleans()):
            case.path_parameters[name] = draw(st.sampled_from(there["ended" if streams else name]))
    if "wait" in (case.query or {}):
        case.query["wait"] = SHORT_WAIT
    return case


def ask_all(
    url: str, session: requests.Session, operation: APIOperation, cases: st.SearchStrategy[Case], report: Report
) -> None:
    """Ask what is drawn; what is answered otherwise than the document says is reported once for each status."""

    @hypothesis.seed(SEED)
    @DRAWN
    @hypothesis.given(cases)
    def ask(case: Case) -> None:
        answer = case.call(base_url=url, session=session, timeout=ANSWER_SECONDS)
        report.asked.add(operation.label)
        report.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            report.not_as_told += 1
            for one in failures.exceptions:
                what = f"{operation.label}: {answer.status_code}: {one.title}"
                report.wrong[what] = f"{what}\n{one.message}\n{case.as_curl_command()}\n{answer.text:.1000}"

    ask()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_a_drawn_request_is_answered_as_the_document_says(api: Api, mode: GenerationMode, reports: list[Report]):
    there = api.filled(mode.value)
    document = schemathesis.openapi.from_dict(api.ask("GET", "/openapi.json"))
    operations = sorted((one.ok() for one in document.get_all_operations()), key=removes)
    assert len(operations) > 100
    report = Report(mode, len(operations))
    reports.append(report)
    for operation in operations:
        try:
            ask_all(api.url, api.session, operation, drawn(operation, mode, there), report)
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # where nothing is forbidden
    told = "\n\n".join(report.wrong.values())
    assert not report.wrong, f"SEED={SEED} REQUESTS={EXAMPLES}\n{told}"
    assert mode is GenerationMode.NEGATIVE or len(report.asked) == len(operations)


class Server(BaseHTTPRequestHandler):
    """Answers with the status that is the path, and writes down what it was asked."""

    asked: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        status = int(self.path[1:4])
        self.asked.append(status)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_the_report_counts_what_was_sent_and_how_it_was_answered():
    number = {"name": "number", "in": "query", "schema": {"type": "integer"}}
    get = {"parameters": [number], "responses": {"200": {"description": "All is well."}}}
    paths = {f"/{one}": {"get": get} for one in (200, 404, 500)}
    given = {"openapi": "3.1.0", "info": {"title": "Few", "version": "1"}, "paths": paths}
    report = Report(GenerationMode.POSITIVE, len(paths))
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server, requests.Session() as session:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for one in schemathesis.openapi.from_dict(given).get_all_operations():
            ask_all(f"http://127.0.0.1:{server.server_port}", session, one.ok(), one.ok().as_strategy(), report)
        server.shutdown()
    sent = Counter(Server.asked)
    assert sent == report.statuses
    assert set(sent) == {200, 404, 500}
    assert sent.total() > len(paths)
    assert report.told() == (
        f"positive: 3 of 3 operations, {len(Server.asked)} requests: "
        f"2xx {sent[200]}, 4xx {sent[404]}, 5xx {sent[500]}; not as the document says: {sent[404] + sent[500]}"
    )
    assert {what.split(":")[0] for what in report.wrong} == {"GET /404", "GET /500"}
