"""Measure the API: submits over HTTP beside the facade's, and what two hundred who watch tasks cost.

make bench-api                       # some minutes; writes docs/api-benchmarks.md
make bench-api ARGUMENTS=--quick     # to try it out; writes nothing
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from subprocess import Popen

import psutil
from processes import Processes
from servers import RedisServer, free_port, until_listens

from config.settings import PROJECT_ROOT, environment_of_another, settings

SCRATCH = settings.data_dir / "bench"
PAGE = PROJECT_ROOT / "docs" / "api-benchmarks.md"
THREADS = 4
WATCHERS = 200
LEAST_RATIO, MOST_SHARE = 0.45, 2.0


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds, submits of a round, and seconds of watching."""

    rounds: int
    submits: int
    seconds: float


WHOLE, QUICK = Scale(7, 2_000, 30), Scale(2, 200, 3)


@dataclass
class Installation:
    """A service on a folder of its own: its processes, its web process, where that listens, and its key."""

    processes: Processes
    folder: Path
    web: Popen[bytes]
    port: int

    @property
    def key(self) -> str:
        """The admin key."""
        return (self.folder / "var" / "run" / "api-key").read_text().strip()

    def submits(self, way: str, count: int) -> float:
        """Submit so many in a process of its own, by the facade or the client; returns submits a second."""
        told = self.processes.run(
            [sys.executable, __file__, "--submit", way, "--count", str(count), "--port", str(self.port)], 600
        )
        return told["rate"]


@contextmanager
def installation() -> Iterator[Installation]:
    """Give a service whose web process is warm."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH)))
        port = free_port()
        environment = environment_of_another(
            DATA_DIR=str(folder / "var"),
            PORT=str(port),
            API_LIMIT="none",
            LIMIT_DEFAULT="none",
            LIMIT_AI_PROCESSING="none",
            LOG_LEVEL="WARNING",
        )
        processes = stack.enter_context(Processes(environment, folder))
        environment["CELERY_BROKER_URL"] = RedisServer(processes).url(0)
        web = processes.start([sys.executable, "-m", "api"])
        until_listens(port, processes)
        yield Installation(processes, folder, web, port)


def submitting(way: str, port: int) -> Callable[[int], str]:
    """Return what submits one task by the facade, or over HTTP."""
    if way == "facade":
        from services.celery_service import celery_service as facade  # noqa: PLC0415 - the client is measured without it
    else:
        from csai_client import CsaiClient  # noqa: PLC0415

        facade = CsaiClient(f"http://127.0.0.1:{port}", (settings.run_dir / "api-key").read_text().strip())
    return lambda number: facade.analyze_sentiment(f"Number {number} is a text of some length, which is good.")


def submit_many(way: str, count: int, port: int) -> None:
    """Submit so many, four at once, and say how many a second that were."""
    submit = submitting(way, port)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(submit, range(4 * THREADS)))
        began = time.monotonic()
        list(pool.map(submit, range(count)))
        print(json.dumps({"rate": count / (time.monotonic() - began)}))


def watching(service: Installation, seconds: float) -> float:
    """Watch 200 waiting tasks; returns the per cent of a core that the web process took meanwhile."""
    headers = {"Authorization": f"Bearer {service.key}", "Content-Type": "application/json"}

    def post(text: str) -> str:
        asked = HTTPConnection("127.0.0.1", service.port, timeout=30)
        asked.request(
            "POST", "/api/v1/submit/analyze_sentiment", json.dumps({"text": text, "delay_seconds": 9000}), headers
        )
        task_id: str = json.loads(asked.getresponse().read())["task_id"]
        asked.close()
        return task_id

    watched = [HTTPConnection("127.0.0.1", service.port, timeout=60) for _ in range(WATCHERS)]
    for number, connection in enumerate(watched):
        connection.request("GET", f"/api/v1/tasks/{post(f'Watched {number}')}/events", headers=headers)
        first = connection.getresponse().readline()
        if first != b"event: status\n":
            raise AssertionError(first)
    web = psutil.Process(service.web.pid)
    threading.Event().wait(2)
    before, began = sum(web.cpu_times()[:2]), time.monotonic()
    threading.Event().wait(seconds)
    share = 100 * (sum(web.cpu_times()[:2]) - before) / (time.monotonic() - began)
    for connection in watched:
        connection.close()
    return share


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--submit", choices=["facade", "client"], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.submit:
        submit_many(arguments.submit, arguments.count, arguments.port)
        return
    scale = QUICK if arguments.quick else WHOLE
    with installation() as service:
        rounds = [
            (service.submits("facade", scale.submits), service.submits("client", scale.submits))
            for _ in range(scale.rounds)
        ]
        share = watching(service, scale.seconds)
    ratios = sorted(ours / facade for facade, ours in rounds)
    middle = statistics.median
    lines = [
        "# What the API reaches",
        "",
        f"Submits of `analyze_sentiment`, {THREADS} at once, {scale.submits} in each of {scale.rounds} rounds turns:",
        "by the facade in the client's own process, and by `csai_client` through the web process. Records in",
        "SQLite, client and service on the same two processors. Repeat it by `make bench-api`.",
        "",
        "| what | got | asked |",
        "| --- | --- | --- |",
        f"| by the API, of the facade's rate | {middle(ratios):.2f} {ratios[0]:.2f}-{ratios[-1]:.2f} | {LEAST_RATIO} |",
        f"| submits a second, facade | {middle(one for one, _ in rounds):,.0f} | |",
        f"| submits a second, API | {middle(one for _, one in rounds):,.0f} | |",
        f"| {WATCHERS} who watch a waiting task each, of a core | {share:.1f} % | {MOST_SHARE} % |",
        "",
    ]
    page = "\n".join(lines)
    print(page)
    if not arguments.quick:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
