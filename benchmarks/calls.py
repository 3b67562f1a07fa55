"""Measure calls: a campaign within its caps while processes are killed, submitting many, and answering webhooks.

make bench-calls                                # all of it, a quarter of an hour; writes docs/call-benchmarks.md
make bench-calls ARGUMENTS="--quick"            # a small campaign, to try it out; writes nothing
"""

import argparse
import base64
import hashlib
import hmac
import json
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from queue import Queue
from subprocess import Popen
from typing import Any
from urllib.parse import urlencode

from processes import Processes
from servers import RedisServer, free_port, until_listens

from adapters.twilio_simulator import OUR_NUMBER, TwilioSimulator
from config.settings import PROJECT_ROOT, environment_of_another, settings

SCRATCH = settings.data_dir / "bench"
HERE = PROJECT_ROOT / "benchmarks"
PAGE, FIGURES = PROJECT_ROOT / "docs" / "call-benchmarks.md", PROJECT_ROOT / "docs" / "call-benchmarks.json"
ACCOUNT, TOKEN = "AC" + "b" * 32, "c" * 32
CALLS_PER_SECOND, LIVE = 20.0, 50
SPEED = 2.4
"""Of the simulator's clock: calls last about two seconds then, so that both caps bind."""

MOST_GRANTS, MOST_REQUESTS = 20, 22
RESUMED_SECONDS, SUBMITTED_SECONDS = 10.0, 30.0
STATUS_MILLISECONDS, ANSWER_MILLISECONDS = 50.0, 100.0
SHARE = 0.9
STATUSES = ("initiated", "ringing", "in-progress", "completed")
FINAL = ("SUCCESS", "FAILURE", "REVOKED")
CONNECTIONS = 16
RESTART_SECONDS = 1.0


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        members: of the campaign.
        many: members of the campaign that is only submitted.
        messages: about calls, at 200 a second.
        answers: calls that ask what is to be said, at 20 a second.
        kills: of processes in the campaign.
    """

    members: int
    many: int
    messages: int
    answers: int
    kills: int


WHOLE, QUICK = Scale(10_000, 100_000, 8_000, 600, 3), Scale(400, 10_000, 800, 100, 3)


@dataclass
class Installation:
    """One service, on a folder and a Redis of its own.

    Attributes:
        processes: all of it.
        folder: everything it keeps.
        port: of its web process.
        redis: its broker.
        parts: its processes by name, which may be killed and are started anew.
    """

    processes: Processes
    folder: Path
    port: int
    redis: RedisServer
    parts: dict[str, Popen[bytes]]

    def start(self, name: str) -> None:
        """Start one of its processes."""
        self.parts[name] = self.processes.start([sys.executable, *COMMANDS[name]])

    def ask(self, *arguments: str, seconds: float = 600) -> dict[str, Any]:
        """Run the client to its end; returns what it says."""
        with Processes(self.processes.environment, self.folder / "client") as clients:
            return clients.run([sys.executable, "-m", "call_client", *arguments], seconds)

    @property
    def records(self) -> Path:
        """The record database."""
        return self.folder / "var" / "records.db"


COMMANDS = {
    "worker": ["-m", "services.celery_part", "worker", "--queues=twilio_calls,default", "--concurrency=2"],
    "leader": ["-m", "services.leader"],
    "web": ["-m", "api"],
}


@contextmanager
def installation(simulator: TwilioSimulator | None = None) -> Iterator[Installation]:
    """Give an installation whose calls go to a simulator."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH)))
        port = free_port()
        environment = environment_of_another(
            DATA_DIR=str(folder / "var"),
            PORT=str(port),
            WEBHOOK_BASE_URL=f"http://127.0.0.1:{port}",
            TWILIO_ACCOUNT_SID=ACCOUNT,
            TWILIO_AUTH_TOKEN=TOKEN,
            TWILIO_PHONE_NUMBER=OUR_NUMBER,
            TWILIO_BASE_URL=simulator.url if simulator else "http://127.0.0.1:9",
            TWILIO_CALLS_PER_SECOND=str(CALLS_PER_SECOND),
            LIMIT_DEFAULT="none",
            LOG_LEVEL="WARNING",
            PYTHONPATH=str(HERE),
        )
        (folder / "client").mkdir()
        processes = stack.enter_context(Processes(environment, folder))
        redis = RedisServer(processes)
        environment["CELERY_BROKER_URL"] = redis.url(0)
        made = Installation(processes, folder, port, redis, {})
        made.ask("status", "none")  # makes the schema
        for name in COMMANDS:
            made.start(name)
        until_listens(port, processes)
        yield made


def campaign(scale: Scale, told: Callable[[str], None]) -> dict[str, Any]:
    """Run a campaign, kill a process at each quarter, and throw the broker's data away."""
    with ExitStack() as stack:
        simulator = stack.enter_context(
            TwilioSimulator(ACCOUNT, TOKEN, speed=SPEED, calls_per_second=1_000, magic=False, seed=1)
        )
        service = stack.enter_context(installation(simulator))
        submitted = service.ask("submit", str(scale.members), str(LIVE))
        began, broken = time.time(), list[tuple[str, float]]()
        faults = [*list(COMMANDS)[: scale.kills], "broker"]
        marks = [scale.members * (at + 1) // (len(faults) + 1) for at in range(len(faults))]
        ended = False
        while not ended:
            time.sleep(0.5)
            if marks and simulator.measures.calls >= marks[0]:
                marks.pop(0)
                broken.append(_break(service, faults.pop(0)))
                told(f"{broken[-1][0]} killed at {simulator.measures.calls} calls")
            if simulator.measures.calls >= scale.members and not simulator.measures.live_now:
                ended = _status(service, submitted["campaign"])["status"] in FINAL
            if time.time() - began > 20 * scale.members / CALLS_PER_SECOND + 300:
                raise TimeoutError(f"the campaign does not end: {_status(service, submitted['campaign'])}")
        return _figures(service, simulator, submitted, broken)


def _break(service: Installation, what: str) -> tuple[str, float]:
    """Kill a process, which is started anew, or throw the broker's data away; returns what and when."""
    at = time.time()
    if what == "broker":
        service.redis.client.flushall()
        return what, at
    service.processes.kill(service.parts[what])
    time.sleep(RESTART_SECONDS)
    service.start(what)
    return what, at


def _status(service: Installation, campaign_id: str) -> dict[str, Any]:
    return service.ask("status", campaign_id)


def _figures(
    service: Installation, simulator: TwilioSimulator, submitted: Mapping[str, Any], broken: Sequence[tuple[str, float]]
) -> dict[str, Any]:
    with closing(sqlite3.connect(f"file:{service.records}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT sending_at, ended_at, state FROM call_attempts ORDER BY sending_at").fetchall()
        states = dict(database.execute("SELECT state, count(*) FROM members GROUP BY state").fetchall())
    sent = [_seconds(row[0]) for row in rows]
    took = [_seconds(row[1]) - _seconds(row[0]) for row in rows if row[1]]
    whole = max(_seconds(row[1]) for row in rows if row[1]) - submitted["began"]
    measures = simulator.measures
    mean = statistics.mean(took)
    allowed = min(CALLS_PER_SECOND, LIVE / mean)
    return {
        "members": sum(states.values()),
        "states": states,
        "seconds": whole,
        "calls_per_second": len(rows) / (sent[-1] - sent[0]),
        "mean_seconds_live": mean,
        "allowed_per_second": allowed,
        "share": len(rows) / (sent[-1] - sent[0]) / allowed,
        "live_most": measures.live_most,
        "grants_most_in_a_second": _most_in_a_second(sent),
        "requests_most_in_a_second": measures.posts_most_in_a_second,
        "rung_twice": sum(count > 1 for count in measures.rung.values()),
        "asked_twice": sum(count > 1 for count in measures.posts_by_attempt.values()),
        "attempts": dict(Counter(row[2] for row in rows)),
        "resumed": [{"what": what, "seconds": _next(sent, at)} for what, at in broken],
        "longest_pause": max((after - before for before, after in pairwise(sent)), default=0.0),
    }


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def _most_in_a_second(sent: Sequence[float]) -> int:
    most = first = 0
    for at, moment in enumerate(sent):
        while moment - sent[first] >= 1.0:
            first += 1
        most = max(most, at - first + 1)
    return most


def _next(sent: Sequence[float], at: float) -> float:
    """Return how long after a fault the longest time without a grant ended that began within two seconds of it."""
    around = [(before, after) for before, after in pairwise(sent) if after > at and before < at + 2.0]
    return max(after - before for before, after in around) if around else 0.0


def submitting(scale: Scale) -> dict[str, Any]:
    """Submit many members, and nothing else."""
    with installation() as service:
        return {"members": scale.many, "seconds": service.ask("submit", str(scale.many), str(LIVE))["seconds"]}


def webhooks(scale: Scale) -> dict[str, Any]:
    """Answer messages about live calls at 200 a second, and what is to be said at 20 a second."""
    with installation() as service:
        calls = service.ask("placed", str(max(scale.messages // len(STATUSES), scale.answers)), ACCOUNT)["placed"]
        messages = [
            ("/api/v1/twilio/call-status", attempt, _message(sid, status, at))
            for at, status in enumerate(STATUSES)
            for attempt, sid in calls[: scale.messages // len(STATUSES)]
        ]
        answers = [
            ("/api/v1/twilio/incoming-call", attempt, _message(sid, "in-progress", 2))
            for attempt, sid in calls[: scale.answers]
        ]
        answered = _load(service.port, answers, 20.0)
        told = _load(service.port, messages, 200.0)
        return {"status": told, "answer": answered}


def _message(sid: str, status: str, sequence: int) -> dict[str, str]:
    return {
        "AccountSid": ACCOUNT,
        "CallSid": sid,
        "CallStatus": status,
        "Direction": "outbound-api",
        "From": OUR_NUMBER,
        "SequenceNumber": str(sequence),
        "CallDuration": "3",
        "To": "+15550100000",
    }


def _load(port: int, requests: Sequence[tuple[str, str, dict[str, str]]], per_second: float) -> dict[str, Any]:
    """Send requests at their moments, whether the ones before were answered or not; returns how long answers took."""
    waiting: Queue[tuple[float, bytes, str, dict[str, str]] | None] = Queue()
    took, answers, lock = list[float](), Counter[int](), threading.Lock()

    def send() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        while (one := waiting.get()) is not None:
            due, body, path, headers = one
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            response.read()
            with lock:
                took.append(1000 * (time.monotonic() - due))
                answers[response.status] += 1
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    signed = [_signed(port, *one) for one in requests]
    began = time.monotonic()
    for at, (body, path, headers) in enumerate(signed):
        due = began + at / per_second
        time.sleep(max(0.0, due - time.monotonic()))
        waiting.put((due, body, path, headers))
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    cuts = statistics.quantiles(took, n=100)
    return {
        "per_second": len(took) / (time.monotonic() - began),
        "p50": cuts[49],
        "p99": cuts[98],
        "most": max(took),
        "answers": dict(answers),
    }


def _signed(port: int, path: str, attempt: str, form: Mapping[str, str]) -> tuple[bytes, str, dict[str, str]]:
    target = f"{path}?attempt={attempt}"
    text = f"http://127.0.0.1:{port}{target}" + "".join(name + form[name] for name in sorted(form))
    signature = base64.b64encode(hmac.digest(TOKEN.encode(), text.encode(), hashlib.sha1)).decode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
    return urlencode(form).encode(), target, headers


def page(found: Mapping[str, Any], scale: Scale) -> str:
    """Return the figures as a page."""
    run, many, hooks = found["campaign"], found["submitting"], found["webhooks"]
    resumed = ", ".join(f"{one['what']} {one['seconds']:.1f} s" for one in run["resumed"])
    lines: list[tuple[str, str, str]] = [
        ("live calls, at most", str(run["live_most"]), f"{LIVE}"),
        ("grants in any second, at most", str(run["grants_most_in_a_second"]), str(MOST_GRANTS)),
        ("requests in any second at the simulator, at most", str(run["requests_most_in_a_second"]), str(MOST_REQUESTS)),
        (
            "calls a second, of what the caps allow",
            f"{run['calls_per_second']:.1f} of {run['allowed_per_second']:.1f}: {run['share']:.0%}",
            f"{SHARE:.0%}",
        ),
        ("members that are final", f"{run['members']} ({run['states']})", str(scale.members)),
        ("numbers rung twice, orders sent twice", f"{run['rung_twice']}, {run['asked_twice']}", "0, 0"),
        ("resumed after a kill or the broker's loss", resumed, f"{RESUMED_SECONDS:.0f} s"),
        (f"{many['members']} members submitted", f"{many['seconds']:.1f} s", f"{SUBMITTED_SECONDS:.0f} s"),
        (
            f"a status message answered at {hooks['status']['per_second']:.0f}/s, p50 / p99",
            f"{hooks['status']['p50']:.1f} / {hooks['status']['p99']:.1f} ms",
            f"{STATUS_MILLISECONDS:.0f} ms",
        ),
        (
            "what is said, asked at an answer, p50 / p99",
            f"{hooks['answer']['p50']:.1f} / {hooks['answer']['p99']:.1f} ms",
            f"{ANSWER_MILLISECONDS:.0f} ms",
        ),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in (("what", "got", "asked"), ("---",) * 3, *lines))
    return (
        "# What calls reach\n\n"
        f"A campaign of {scale.members} against the phone simulator (`src/adapters/twilio_simulator.py`), "
        f"{CALLS_PER_SECOND:.0f} calls a second and {LIVE} live ones allowed, records in SQLite, a worker of two "
        f"processes, a leader and a web process, simulator and service on one machine; calls were live for "
        f"{run['mean_seconds_live']:.1f} s each. {scale.kills} processes were killed with -9 on the way and the "
        "broker's data thrown away. Repeat it by `make bench-calls`.\n\n"
        f"{table}\n\n"
        f"The last run: {found['at']}, {run['seconds']:.0f} s; attempts by their end: {run['attempts']}.\n"
    )


def main() -> None:
    """Measure and write."""
    given = argparse.ArgumentParser()
    given.add_argument("--quick", action="store_true")
    quick = given.parse_args().quick
    scale = QUICK if quick else WHOLE
    found: dict[str, Any] = {"at": datetime.now(UTC).date().isoformat(), "scale": asdict(scale)}
    for name, measure in {
        "submitting": lambda: submitting(scale),
        "webhooks": lambda: webhooks(scale),
        "campaign": lambda: campaign(scale, print),
    }.items():
        found[name] = measure()
        print(name, json.dumps(found[name]), flush=True)
    text = page(found, scale)
    print(text)
    if not quick:
        PAGE.write_text(text)
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
