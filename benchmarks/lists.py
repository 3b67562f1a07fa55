"""Measure lists and searches over a million tasks: p50 and p95 of a page, for each filter, on both databases.

make bench-lists                                   # fills DATA_DIR/bench/lists once, which takes half an hour; writes
                                                   # docs/list-benchmarks.md
make bench-lists ARGUMENTS="--rows 100000 --only sqlite"
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from servers import Postgresql, postgresql_binaries
from sqlalchemy import insert, text

from config.settings import PROJECT_ROOT, settings
from records import schema
from records.database import Database
from records.task_following import TaskFollowing
from records.task_lists import Place, TaskLists, Wanted
from records.task_minutes import TaskMinutes
from records.task_records import TaskRecords, task_records
from records.task_words import plain, words_of

SCRATCH = settings.data_dir / "bench" / "lists"
PAGE = PROJECT_ROOT / "docs" / "list-benchmarks.md"
DATABASES = ("sqlite", "postgresql")
ROWS, GROUP = 1_000_000, 5_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS, PARENT_SHARE, NEWEST_SHARE = 30, 0.1, 0.5
COLUMNS_MS, WORDS_MS, OVERVIEW_MS = 100.0, 300.0, 200.0
KINDS = (
    ("email.send_email", "email", 50),
    ("ai_processing.process_chat", "ai_processing", 25),
    ("file_processing.process_document", "file_processing", 15),
    ("twilio_calls.queue_outbound_call", "twilio_calls", 9),
    ("monitoring.health_check", "monitoring", 1),
)
STATES = (("SUCCESS", 900), ("FAILURE", 60), ("REVOKED", 10), ("PENDING", 25), ("RETRY", 4), ("STARTED", 1))
COMMON = ["invoice", "order", "customer", "welcome", "report", "delivery", "please", "account", "monthly", "summary"]


def main() -> int:
    """Measure what the command line names; 1 where a filter is slower than it must be."""
    arguments = _arguments()
    slow = 0
    for kind in arguments.only:
        with _database(kind, arguments.rows) as database:
            began = time.monotonic()
            filled = _fill(database, arguments.rows)
            print(
                f"{kind}: {arguments.rows} rows there, {filled} filled in {time.monotonic() - began:.0f} s", flush=True
            )
            slow += _measure(kind, database, arguments.rows, arguments.rounds)
    if arguments.rows == ROWS:
        PAGE.write_text(_page())
    return 1 if slow else 0


def _page() -> str:
    """Return what was measured last on each database, as a page."""
    kept = [(kind, SCRATCH / f"{kind}-{ROWS}.json") for kind in DATABASES]
    rows = [
        f"| {kind} | {name} | {one['p50']} ms | {one['p95']} ms | {one['must']:.0f} ms |"
        f" {'yes' if one['p95'] < one['must'] else '**no**'} |"
        for kind, file in kept
        if file.exists()
        for name, one in json.loads(file.read_text()).items()
    ]
    return "\n".join(
        [
            f"# Lists and searches over {ROWS:,} tasks",
            "",
            "Written by `make bench-lists`: pages of 50, half of them the first one and half at a chance place.",
            "",
            "| database | filter | p50 | p95 | must | reached |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=DATABASES, default=DATABASES)
    return parser.parse_args()


@contextmanager
def _database(kind: str, rows: int) -> Iterator[Database]:
    """Give the database of this size; SQLite's is kept for the next time."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    if kind == "sqlite":
        database = Database(f"sqlite:///{SCRATCH / f'{rows}.db'}")
        schema.prepare(database)
        yield database
        database.close()
        return
    binaries = postgresql_binaries()
    if binaries is None:
        sys.exit("PostgreSQL is not installed.")
    with Postgresql(binaries) as server:
        database = Database(server.fresh_database().replace("postgresql:", "postgresql+psycopg:", 1))
        schema.prepare(database)
        yield database
        database.close()


def _fill(database: Database, rows: int) -> int:
    """Write the records that are not there yet, and let the lists follow; returns how many were written."""
    there = database.read(lambda c: c.execute(text("SELECT count(*) FROM task_records")).scalar_one())
    random = Random(there)
    for start in range(there, rows, GROUP):
        group = [_record(random, number, rows) for number in range(start, min(rows, start + GROUP))]
        database.write(lambda c, group=group: c.execute(insert(task_records), group), durable=False)
    following = TaskFollowing(database)
    began, done = time.monotonic(), 0
    following.created(1)
    while found := following.fill(GROUP):
        done += found
    print(f"listed {done} rows: {(time.monotonic() - began) / max(done, 1) * 1e6:.0f} µs each", flush=True)
    began, done = time.monotonic(), 0
    while found := following.words(GROUP // 5, lambda _, given: given):
        done += found
    print(f"kept the words of {done}: {(time.monotonic() - began) / max(done, 1) * 1e6:.0f} µs each", flush=True)
    if not database.is_sqlite:
        with database.engine().connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
    return rows - there


def _record(random: Random, number: int, rows: int) -> dict[str, Any]:
    """Return a record, of which ten in all have what is rare."""
    name, category, _ = random.choices(KINDS, [kind[2] for kind in KINDS])[0]
    state = random.choices([one for one, _ in STATES], [weight for _, weight in STATES])[0]
    rare = number % (rows // 10) == rows // 20
    created = FIRST + timedelta(seconds=number * DAYS * 86_400 / rows)
    finished = (
        created + timedelta(seconds=random.expovariate(1 / 20)) if state in ("SUCCESS", "FAILURE", "REVOKED") else None
    )
    words = " ".join(random.choices(COMMON, k=8))
    parent = f"parent{random.randrange(5)}" if random.random() < PARENT_SHARE else None
    failed = state in ("FAILURE", "RETRY")
    return {
        "id": f"{random.getrandbits(128):032x}",
        "name": "own.seldom" if rare else name,
        "category": "own" if rare else category,
        "queue": "seldom" if rare else category,
        "priority": "normal",
        "state": state,
        "created_at": created,
        "due_at": created,
        "started_at": created,
        "finished_at": finished,
        "attempt": 0,
        "run": 1,
        "lost_runs": 0,
        "worker": "io@seldom" if rare else f"io@host{random.randrange(8)}",
        "progress": 100.0,
        "args": [],
        "kwargs": {"to_email": f"person{random.randrange(rows)}@example.com", "subject": words, "number": number},
        "message": {"headers": {"origin": "bench"}, "properties": {"priority": 3}, "embed": {}},
        "result": {"status": "sent", "text": words} if state == "SUCCESS" else None,
        "error": f"the server said no to {random.randrange(1000)}" if failed else None,
        "error_type": ("SeldomError" if rare else random.choice(["OSError", "ValueError"])) if failed or rare else None,
        "error_fingerprint": ("rare" if rare else f"{random.randrange(50):016x}") if failed or rare else None,
        "is_parent": False,
        "parent_id": "parent-rare" if rare else parent,
        "retry_count": 0,
        "tenant": "seldom" if rare else f"tenant{random.randrange(20)}",
        "tags": ["seldom"] if rare else random.sample(["red", "green", "blue"], 1),
    }  # fmt: skip


def _filters(rows: int) -> dict[str, tuple[float, Wanted]]:
    """Return what is measured: a name, how many milliseconds it may take, the filter."""
    middle = FIRST + timedelta(days=15)
    one = {"states": frozenset(["FAILURE"])}
    columns = {
        "everything": {},
        "state FAILURE": one,
        "state STARTED": {"states": frozenset(["STARTED"])},
        "states PENDING, RETRY": {"states": frozenset(["PENDING", "RETRY"])},
        "name": {"name": "email.send_email"},
        "name, rare": {"name": "own.seldom"},
        "name, none": {"name": "own.none"},
        "category": {"category": "ai_processing"},
        "category, rare": {"category": "own"},
        "queue": {"queue": "twilio_calls"},
        "queue, rare": {"queue": "seldom"},
        "tenant": {"tenant": "tenant3"},
        "tenant, rare": {"tenant": "seldom"},
        "tag": {"tags": ("red",)},
        "tag, rare": {"tags": ("seldom",)},
        "two tags, never together": {"tags": ("red", "green")},
        "worker": {"worker": "io@host1"},
        "worker, rare": {"worker": "io@seldom"},
        "parent": {"parent": "parent1"},
        "parent, rare": {"parent": "parent-rare"},
        "error type": {"error_type": "OSError"},
        "error type, rare": {"error_type": "SeldomError"},
        "fingerprint": {"fingerprint": f"{7:016x}"},
        "fingerprint, rare": {"fingerprint": "rare"},
        "created, a day": {"created_from": middle, "created_before": middle + timedelta(days=1)},
        "finished, a minute": {"finished_from": middle, "finished_before": middle + timedelta(minutes=1)},
        "finished, ten days": {"finished_from": middle, "finished_before": middle + timedelta(days=10)},
        "name and state": {"name": "email.send_email", **one},
        "name and tenant": {"name": "email.send_email", "tenant": "tenant3"},
        "name and rare tenant": {"name": "email.send_email", "tenant": "seldom"},
        "name and another category": {"name": "email.send_email", "category": "ai_processing"},
        "tenant, state and a day": {"tenant": "tenant5", **one, "created_before": middle},
    }
    words = {
        "word, in half of all": {"words": tuple(words_of("invoice"))},
        "word, one task": {"words": tuple(words_of(f"person{rows // 3}"))},
        "word, none": {"words": ("nowhere",)},
        "two words": {"words": ("invoice", "person77")},
        "word and state": {"words": ("server",), **one},
        "word and rare name": {"words": ("invoice",), "name": "own.seldom"},
        "part, frequent": {"part": plain("nvoic")},
        "part, none": {"part": "nowher"},
    }
    return {name: (COLUMNS_MS, Wanted(**given)) for name, given in columns.items()} | {
        name: (WORDS_MS, Wanted(**given)) for name, given in words.items()
    }


def _measure(kind: str, database: Database, rows: int, rounds: int) -> int:
    """Print and keep the times of each filter: of first pages, and of pages after chance places."""
    lists, random, slow = TaskLists(database), Random(1), 0
    told: dict[str, Any] = {}
    works = {name: (bound, partial(lists.page, wanted, 51)) for name, (bound, wanted) in _filters(rows).items()}
    for name, (bound, work) in (
        works | {"the overview's figures": (OVERVIEW_MS, partial(_overview, database))}
    ).items():
        work(None)
        places = [_place(random) for _ in range(rounds)]
        took = sorted(_timed(partial(work, place)) for place in places)
        p50, p95 = statistics.median(took), took[int(len(took) * 0.95)]
        slow += p95 >= bound
        told[name] = {"p50": round(p50, 1), "p95": round(p95, 1), "must": bound}
        print(f"{kind:10} {name:28} p50 {p50:7.1f} ms  p95 {p95:7.1f} ms  {'' if p95 < bound else 'SLOW'}", flush=True)
    (SCRATCH / f"{kind}-{rows}.json").write_text(json.dumps(told, indent=1))
    return slow


def _overview(database: Database, _place: Place | None) -> None:
    """Read what the overview tells of an hour and of now, as `services.overview` does."""
    minutes = TaskMinutes(database)
    minutes.counted(1)
    minutes.since(1)
    minutes.looks(1)
    TaskRecords(database).queue_figures()


def _place(random: Random) -> Place | None:
    """Return where a page begins: half of them at the newest."""
    if random.random() < NEWEST_SHARE:
        return None
    return Place(FIRST + timedelta(days=DAYS * random.random()), "f")


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
