"""Requests drawn from the API's own document, to a real web process: each is answered as the document says."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

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


def wrong_answers(api: Api, operation: APIOperation, cases: st.SearchStrategy[Case]) -> Mapping[str, str]:
    """What was answered otherwise than the document says, once for each status, and how it was asked."""
    wrong = dict[str, str]()

    @hypothesis.seed(SEED)
    @DRAWN
    @hypothesis.given(cases)
    def ask(case: Case) -> None:
        answer = case.call(base_url=api.url, session=api.session, timeout=ANSWER_SECONDS)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            for one in failures.exceptions:
                what = f"{operation.label}: {answer.status_code}: {one.title}"
                wrong[what] = f"{what}\n{one.message}\n{case.as_curl_command()}\n{answer.text:.1000}"

    ask()
    return wrong


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_a_drawn_request_is_answered_as_the_document_says(api: Api, mode: GenerationMode):
    print(f"SEED={SEED} REQUESTS={EXAMPLES}")  # noqa: T201 - what repeats this run
    there, wrong = api.filled(mode.value), dict[str, str]()
    document = schemathesis.openapi.from_dict(api.ask("GET", "/openapi.json"))
    operations = sorted((one.ok() for one in document.get_all_operations()), key=removes)
    assert len(operations) > 100
    for operation in operations:
        try:
            wrong |= wrong_answers(api, operation, drawn(operation, mode, there))
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label  # where nothing is forbidden
    told = "\n\n".join(wrong.values())
    assert not wrong, f"SEED={SEED} REQUESTS={EXAMPLES}\n{told}"
