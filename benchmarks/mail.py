"""Measure mail: bulks against plain Celery and smtp-source, far servers, kills, and what composing costs.

make bench-mail                                # all of it, half an hour; writes docs/mail-benchmarks.md
make bench-mail ARGUMENTS="--only bulk"        # the other figures of the page stay
make bench-mail ARGUMENTS="--quick"            # few mails, to try it out; writes nothing
make bench-mail ARGUMENTS="--profile"          # where the time of a sending process goes; writes nothing
"""

import json
import os
import random
import signal
import smtplib
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import entrants
import figures
import mail_sink
from entrants import Entrant
from environments import Environment
from figures import Figure, timed
from mail_sink import Sink, Taken, WrongMails
from measurements import Bench, Cell, turn, until_idle
from processes import Processes, ProcessFailed
from servers import RELAY, Postgresql, RedisServer, free_port, postgresql_binaries, until_listens
from systems.mail_content import BYTES, address

from config.settings import PROJECT_ROOT, environment_of_another, settings

SCRATCH = settings.data_dir / "bench"
HERE = PROJECT_ROOT / "benchmarks"
PROCESSES, CONNECTIONS = 2, 16
CLIENT_SECONDS, RESULT_SECONDS = 600, 1_000
ROUND_TRIP_MILLISECONDS, PINGS = 20.0, 50
KILLS, KILLED_SHARE = 10, 0.8
COMPOSING_MILLISECONDS = 0.3

_SERVICE = ("python", "-m", "services.celery_part", "worker", "--queues=email", f"--concurrency={PROCESSES}")
OURS = Entrant(
    "ours, records in SQLite", "ours", "mail_bulk", records="sqlite", workers=((*_SERVICE, *entrants.LEAN),),
    beside=entrants.LEADER,
)  # fmt: skip
POSTGRESQL = replace(OURS, name="ours, records in PostgreSQL", records="postgresql")
_PLAIN = ("python", "-m", "plain_worker", "mail_tasks", f"--concurrency={PROCESSES}")
CELERY = Entrant("a plain Celery task per mail", "celery", "mail_tasks", workers=((*_PLAIN, *entrants.LEAN),))


Doubts = set[tuple[str, str]]
"""Whom a mail was being handed over to, and since when."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        mails: of a bulk.
        far: mails of a bulk to a far server.
        slow: mails to a far server by a connection each.
        kills: of the worker in a bulk.
        composed: mails that are composed in a round.
        rounds: of everything but the kills.
        seed: of the kills.
    """

    mails: int
    far: int
    slow: int
    kills: int
    composed: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class Turn:
    """What came of one turn: how the mails came in, when their submitting began, and how long that took."""

    taken: Taken
    began: float
    submitted: float

    @property
    def whole(self) -> float:
        """Mails in a second, from the submit to the last mail."""
        return self.taken.count / (self.taken.last - self.began)


@contextmanager
def mailing(bench: Bench, entrant: Entrant, port: int) -> Generator[Cell]:
    """Give one entrant's turn, whose mails go to a port of this machine."""
    with turn(bench, entrant) as cell:
        cell.workers.environment.update(
            BENCH_MAIL_PORT=str(port),
            EMAIL_URL=f"smtp://127.0.0.1:{port}?tls=none",
            EMAIL_CONNECTIONS=str(CONNECTIONS // PROCESSES),
        )
        yield cell


def submitted(cell: Cell, sink: Sink, way: str, count: int) -> Turn:
    """Submit to workers that run, and wait for the last mail."""
    cell.start_beside()
    cell.start_workers()
    until_idle(cell.workers)
    with Processes(cell.workers.environment, cell.folder / "client") as clients:
        client = clients.start(command(cell, way, str(count)))
        taken = sink.until(count)
        told = clients.outcome(client, CLIENT_SECONDS)
    return Turn(taken, told["began"], told["seconds"])


def drained(cell: Cell, sink: Sink, way: str, count: int) -> Taken:
    """Submit, and only then start the workers: how the mails come in when nothing else goes on."""
    asked(cell, way, str(count))
    cell.start_beside()
    cell.start_workers()
    return sink.until(count)


def command(cell: Cell, *arguments: str) -> list[str]:
    """Return the command of an entrant's client."""
    return [cell.program("python"), "-m", cell.entrant.adapter, *arguments]


def asked(cell: Cell, *arguments: str) -> dict[str, Any]:
    """Run an entrant's client to its end; returns what it says."""
    with Processes(cell.workers.environment, cell.folder / "client") as clients:
        return clients.run(command(cell, *arguments), RESULT_SECONDS)


# --- A bulk ---------------------------------------------------------------------------------------------------------


def bulk(bench: Bench, scale: Scale) -> list[Figure]:
    """A bulk on either database, a plain task for each mail, and `smtp-source`, in turns."""
    ours: dict[str, list[Turn]] = {one.name: [] for one in _with_records(bench)}
    plain: list[Turn] = []
    plain_alone: list[Taken] = []
    limit: list[Turn] = []
    for _ in range(scale.rounds):
        for entrant in _with_records(bench):
            ours[entrant.name].append(_submitted_turn(bench, entrant, "submit", scale.mails))
        plain.append(_submitted_turn(bench, CELERY, "publish", scale.mails))
        with mail_sink.sink(bench.folder) as sink, mailing(bench, CELERY, sink.port) as cell:
            plain_alone.append(drained(cell, sink, "publish", scale.mails))
        limit.append(_source_turn(bench, scale.mails))
    found: list[Figure] = []
    for name, turns in ours.items():
        whole, alone = [one.whole for one in turns], [one.taken.per_second for one in turns]
        bulk_of = f"{name}: a bulk of {scale.mails}"
        found += [
            _rates(f"{bulk_of}, from the submit on", CELERY.name, 5, whole, [one.whole for one in plain]),
            _rates(f"{bulk_of}, sending alone", CELERY.name, 5, alone, [one.per_second for one in plain_alone]),
            _rates(f"{bulk_of}, from the submit on", "smtp-source", 0.8, whole, [one.whole for one in limit]),
            _rates(f"{bulk_of}, sending alone", "smtp-source", 0.8, alone, [one.taken.per_second for one in limit]),
        ]
    return found


def _with_records(bench: Bench) -> list[Entrant]:
    return [OURS, POSTGRESQL] if bench.postgresql else [OURS]


def _submitted_turn(bench: Bench, entrant: Entrant, way: str, count: int) -> Turn:
    with mail_sink.sink(bench.folder) as sink, mailing(bench, entrant, sink.port) as cell:
        found = submitted(cell, sink, way, count)
        _say(entrant.name, found)
        return found


def _source_turn(bench: Bench, count: int) -> Turn:
    with (
        mail_sink.sink(bench.folder) as sink,
        tempfile.TemporaryDirectory(dir=bench.folder) as name,
        Processes(mail_sink.ENVIRONMENT, Path(name)) as sources,
    ):
        began = time.monotonic()
        sources.start(mail_sink.source(sink.port, count, BYTES, CONNECTIONS))
        found = Turn(sink.until(count), began, 0.0)
        _say("smtp-source", found)
        return found


def _say(name: str, found: Turn) -> None:
    first = f"submitted in {found.submitted:.2f} s, the first mail after {found.taken.first - found.began:.2f} s"
    alone = f"{found.taken.per_second:.0f} from then on"
    print(f"{name}: {found.whole:.0f} mails/s; {first}, {alone}; load {os.getloadavg()[0]:.1f}", flush=True)


def _rates(name: str, other: str, must: float, mine: list[float], theirs: list[float]) -> Figure:
    ratios = [own / that for own, that in zip(mine, theirs, strict=True)]
    ours, another = (f"{statistics.median(one):.0f} mails/s" for one in (mine, theirs))
    return Figure(name, other, must, ratios, ours, another)


# --- A server that is far away --------------------------------------------------------------------------------------


def far(bench: Bench, scale: Scale) -> list[Figure]:
    """A bulk over a round trip of 20 ms, against a connection for each mail."""
    ours: list[float] = []
    loop: list[float] = []
    plain: list[float] = []
    trips: list[float] = []
    for _ in range(scale.rounds):
        for entrant, way, count, found in (
            (OURS, "submit", scale.far, ours),
            (replace(CELERY, workers=()), "loop", scale.slow, loop),
            (CELERY, "publish", scale.slow, plain),
        ):
            with mail_sink.sink(bench.folder) as sink, far_away(bench, sink.port) as port:
                trips.append(_round_trip(port))
                with mailing(bench, entrant, port) as cell:
                    found.append(submitted(cell, sink, way, count).whole)
                    print(f"{entrant.name}, {way}: {found[-1]:.1f} mails/s", flush=True)
    name = f"{OURS.name}: a bulk of {scale.far}, {statistics.median(trips):.1f} ms to the server and back"
    return [
        _rates(name, "smtplib, a connection per mail", 10, ours, loop),
        _rates(name, CELERY.name, 10, ours, plain),
    ]


@contextmanager
def far_away(bench: Bench, target: int) -> Generator[int]:
    """Give the port of a relay that passes every byte on, 10 ms later, to another port."""
    with (
        tempfile.TemporaryDirectory(dir=bench.folder) as name,
        Processes(mail_sink.ENVIRONMENT, Path(name)) as relays,
    ):
        port = free_port()
        relays.start([sys.executable, str(RELAY), str(port), str(target), str(ROUND_TRIP_MILLISECONDS / 2)])
        until_listens(port, relays)
        yield port


def _round_trip(port: int) -> float:
    """Return the median time of a command and its answer, in milliseconds."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as server:
        return statistics.median(timed(server.noop) * 1000 for _ in range(PINGS))


# --- Kills ----------------------------------------------------------------------------------------------------------


def kills(bench: Bench, scale: Scale) -> list[Figure]:
    """Kills of the worker in a bulk: who is missed, and who gets a mail twice."""
    print(f"seed {scale.seed}", flush=True)
    return [*_after_kills(bench, scale, "hold"), *_after_kills(bench, scale, "resend")]


def _after_kills(bench: Bench, scale: Scale, on_doubt: str) -> list[Figure]:
    found, copies, result = killed(bench, scale, on_doubt)
    doubts = Counter(one for some in found for one, _ in some)
    allowed = doubts if on_doubt == "resend" else Counter[str]()
    listed: set[str] = {one["email"] for one in result["failures"] if one["state"] == "unknown"}
    everybody = [address(number) for number in range(scale.mails)]
    missed = [one for one in everybody if not copies[one] and one not in listed]
    too_often = [one for one, count in copies.items() if count > 1 + allowed[one]]
    unlisted = listed ^ (set(doubts) if on_doubt == "hold" else set[str]())
    sums = result["total"] == scale.mails == result["sent"] + result["unknown"] and result["unknown"] == len(listed)
    name = f"{scale.kills} kills in {scale.mails} mails, EMAIL_ON_DOUBT={on_doubt}"
    extra = copies.total() - len(copies)
    arrived = sum(1 for one in doubts if copies[one])
    told = (
        f"{doubts.total()} in doubt, {arrived} of them arrived, {extra} copies, {len(listed)} listed as unknown, "
        f"seed {scale.seed}"
    )
    most = max(map(len, found))
    return [
        Figure(f"{name}: missed", "nobody", 0, [len(missed)], told, "", at_most=True),
        Figure(f"{name}: more copies than doubts", "none", 0, [len(too_often)], "", "", at_most=True),
        Figure(f"{name}: in doubt and not listed, or the reverse", "none", 0, [len(unlisted)], "", "", at_most=True),
        Figure(f"{name}: sums that are wrong", "none", 0, [int(not sums)], "", "", at_most=True),
        Figure(f"{name}: most in doubt at one kill", "connections", 1, [most / CONNECTIONS], f"{most}",
            f"{CONNECTIONS}", at_most=True),
    ]  # fmt: skip


def killed(bench: Bench, scale: Scale, on_doubt: str) -> tuple[list[Doubts], Counter[str], dict[str, Any]]:
    """Send a bulk while its worker is killed at moments of chance.

    Returns:
        Who was in doubt after each kill, and was not before; how many mails each recipient got; the bulk's result.
    """
    chance = random.Random(scale.seed)
    found: list[Doubts] = []
    with mail_sink.sink(bench.folder, dump=True) as sink, mailing(bench, OURS, sink.port) as cell:
        cell.workers.environment["EMAIL_ON_DOUBT"] = on_doubt
        cell.start_beside()
        (worker,) = cell.start_workers()
        until_idle(cell.workers)
        with (
            Processes(cell.workers.environment, cell.folder / "client") as clients,
            closing(sqlite3.connect(cell.folder / "data" / "records.db")) as records,
        ):
            client = clients.start(command(cell, "submit", str(scale.mails)))
            for number in range(scale.kills):
                _await_mails(sink, sink.count + chance.randrange(1, int(scale.mails * KILLED_SHARE / scale.kills)))
                cell.workers.kill(worker)
                found.append(handed_over(records).difference(*found))
                print(f"kill {number + 1} after {sink.count} mails: {len(found[-1])} in doubt", flush=True)
                (worker,) = cell.start_workers()
            bulk_id = clients.outcome(client, CLIENT_SECONDS)["id"]
        result = asked(cell, "result", bulk_id)
        return found, sink.copies(), result


def _await_mails(sink: Sink, count: int) -> None:
    deadline = time.monotonic() + RESULT_SECONDS
    while sink.count < count:
        if time.monotonic() > deadline:
            raise WrongMails(f"{sink.count} mails came instead of {count}")
        time.sleep(mail_sink.LOOK_SECONDS)


def handed_over(records: sqlite3.Connection) -> Doubts:
    """Return whom a mail was being handed over to, and since when."""
    return set(records.execute("SELECT address, handed_at FROM deliveries WHERE state = 'handing'").fetchall())


# --- Composing, and where the time goes -----------------------------------------------------------------------------


def composing(bench: Bench, scale: Scale) -> list[Figure]:
    """The processor time of composing a mail whose body others share."""
    with (
        tempfile.TemporaryDirectory(dir=bench.folder) as name,
        Processes(environment_of_another(DATA_DIR=name), Path(name)) as processes,
    ):
        program = [sys.executable, str(HERE / "mail_composing.py"), str(scale.composed), str(scale.rounds)]
        found = processes.run(program, CLIENT_SECONDS)
    name = "composing a mail whose body others share: milliseconds of CPU"
    return [
        Figure(f"{name}, {signed}", "nothing", COMPOSING_MILLISECONDS, rounds,
            f"{statistics.median(rounds) * 1000:.0f} µs", "", at_most=True)
        for signed, rounds in found.items()
    ]  # fmt: skip


def profile(bench: Bench, scale: Scale, entrant: Entrant) -> dict[str, float]:
    """Return where the processor time of one sending process goes: microseconds of a mail, by part."""
    profiled = replace(entrant, workers=((*entrant.workers[0], "-I", "mail_profile", "--pool=solo"),))
    with mail_sink.sink(bench.folder) as sink, mailing(bench, profiled, sink.port) as cell:
        told = cell.folder / "profile.json"
        cell.workers.environment.update(BENCH_PROFILE=str(told), EMAIL_CONNECTIONS=str(CONNECTIONS // PROCESSES))
        cell.start_beside()
        cell.start_workers()
        until_idle(cell.workers)
        asked(cell, "result", asked(cell, "submit", str(scale.mails))["id"])
        cell.workers.stop()
        found = json.loads(told.read_text())
    looks, each = sum(found["looks"].values()), found["seconds"] / scale.mails * 1e6
    return {part: each * count / looks for part, count in found["looks"].items()} | {"all": each}


def profiles(bench: Bench, scale: Scale) -> str:
    """Return the page's table of where the time goes."""
    found = {entrant.name: profile(bench, scale, entrant) for entrant in _with_records(bench)}
    parts = next(iter(found.values()))
    lines = [
        ("part", *found),
        ("---",) * (len(found) + 1),
        *((part, *(f"{one[part]:.0f}" for one in found.values())) for part in parts),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- The run --------------------------------------------------------------------------------------------------------

MEASUREMENTS: dict[str, Callable[[Bench, Scale], list[Figure]]] = {
    one.__name__: one for one in (bulk, far, kills, composing)
}

HOW = f"""\
Everybody sends mails with a text of {BYTES} bytes, the same for all, to postfix's `smtp-sink` on the same processors,
whose own count says when the first and the last came; a turn in which a mail is missing, or one too many came, ends the
run. All take turns, each started anew. Ours is a leader and a worker with {PROCESSES} processes, and a bulk with
`batch_size=250` and `delay_between_batches=0`; `LIMIT_DEFAULT=none` lifts the limit of starts per minute, and
`EMAIL_CONNECTIONS={CONNECTIONS // PROCESSES}`, as it is unless told, makes {CONNECTIONS} connections in all. The plain
task runs in stock
Celery's own environment with as many processes on the same Redis, acknowledged late, without results: it makes an
`EmailMessage` and sends it by smtplib over a connection of its own. `smtp-source` has {CONNECTIONS} connections and
keeps them; it remembers nothing. "From the submit on" is from the call until the last mail, with workers that run: in
that time ours writes all rows, and the plain application publishes. "Sending alone" is from the first mail to the last,
once all was submitted.

The far server is the same one behind `benchmarks/relay.py`, which holds back every byte for 10 ms in each direction;
the slow ones get fewer mails there, and rates are compared.

The worker is killed with its whole group at moments of chance, its rows are looked at before it is started again, and
the sink keeps all mails. Who was being handed a mail at a kill is in doubt; with `hold` that is nobody's second mail
and stands in the result as `unknown`, with `resend` it may be one.

Composing is measured in a process of its own, as a task does it: from the checked request to the bytes that are sent.

## Where the time of a sending process goes

Microseconds of processor time for each mail of a bulk, in a worker with one process, which looks each millisecond what
it does. The sink, Redis and PostgreSQL have theirs beside it.

"""


def main() -> int:
    """Measure; 1 where a figure is not reached."""
    parser = figures.parser(__doc__, MEASUREMENTS)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the kills")
    parser.add_argument("--quick", action="store_true", help="few mails, and no page")
    parser.add_argument("--profile", action="store_true", help="only where the time goes, and no page")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scale = Scale(10_000, 2_000, 100, KILLS, 2_000, given.rounds, given.seed)
    if given.quick:
        scale = Scale(1_000, 200, 20, 2, 200, 1, given.seed)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        bench = _bench(stack, quick=given.quick)
        if given.profile:
            print(profiles(bench, scale))
            return 0
        measurements = {name: partial(work, bench, scale) for name, work in MEASUREMENTS.items()}
        page = None
        if not given.quick:
            how = f"{HOW}{profiles(bench, scale)}\n"
            page = figures.Page("mail-benchmarks", "Mail: speed, and what kills do", "make bench-mail", how)
        return figures.run(page, measurements, given.only, scale.rounds)


def _bench(stack: ExitStack, *, quick: bool) -> Bench:
    """Make stock Celery's environment and start the servers."""
    environment = Environment(CELERY.system, SCRATCH)
    environment.make()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=SCRATCH, prefix="run-")))
    (folder / "servers").mkdir()
    redis = RedisServer(stack.enter_context(Processes(mail_sink.ENVIRONMENT, folder / "servers")))
    binaries = postgresql_binaries()
    postgresql = stack.enter_context(Postgresql(binaries)) if binaries else None
    return Bench(folder, redis, postgresql, {CELERY.system: environment}, quick)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (WrongMails, ProcessFailed) as error:
        sys.exit(f"Not measured: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; every process that was started has ended.")
