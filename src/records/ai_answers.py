"""Answers to AI requests, by the digest of all that shapes them: equal requests are paid once."""

import json
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    String,
    Table,
    and_,
    delete,
    false,
    select,
    true,
    tuple_,
    update,
)

from processors.ai_answers import Answered, Asked
from processors.interfaces import Run
from records.columns import Instant, Json, Now, instant, metadata, now_once
from records.database import Database
from records.insertion import insert_into
from records.prepared import Given, GivenRows, Prepared
from records.task_records import is_run

LONGEST_ANSWER = 1_000_000
"""Bytes of an answer as JSON; one that is longer is asked for again."""

ai_answers = Table(
    "ai_answers",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("task_id", String(255), nullable=False),  # whose run asks, or has asked
    Column("run", Integer, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("at", Instant, nullable=False),  # of the answer; before that, since when it is asked for
    Column("answer", Json),
)

columns = ai_answers.c

Index("ix_ai_answers_task_id", columns.task_id)
Index("ix_ai_answers_at", columns.at)


def _begin(value: Given, kind: str) -> Any:
    own = {"task_id": value("task_id", String()), "run": value("run", Integer()), "answered": false(), "at": Now()}
    fresh = insert_into(ai_answers, kind).values(digest=value("digest", String()), **own)
    locked = fresh.on_conflict_do_update(index_elements=["digest"], set_={"digest": fresh.excluded.digest})
    return locked.returning(columns.task_id, columns.run, columns.answered, columns.at, columns.answer, Now())


def _take_over(value: Given) -> Any:
    own = {"task_id": value("task_id", String()), "run": value("run", Integer())}
    fresh = {"answered": false(), "at": Now(), "answer": None}
    return update(ai_answers).where(columns.digest == value("digest", String())).values(**own, **fresh)


def _asked_by(value: Given) -> ColumnElement[bool]:
    """Tell in SQL whether a run is the one that asks."""
    run = and_(columns.task_id == value("task_id", String()), columns.run == value("run", Integer()))
    return and_(columns.digest == value("digest", String()), run, columns.answered == false())


def _finish(value: Given) -> Any:
    kept = {"answered": true(), "at": Now(), "answer": value("answer", Json())}
    return update(ai_answers).where(_asked_by(value)).values(kept)


def _give_up(value: Given) -> Any:
    return delete(ai_answers).where(_asked_by(value))


def _give_up_many(rows: GivenRows) -> Any:
    asked = select(rows("digest", String()), rows("task_id", String()), rows("run", Integer())).select_from(rows.source)
    own = tuple_(columns.digest, columns.task_id, columns.run).in_(asked)
    return delete(ai_answers).where(own, columns.answered == false())


BEGIN = {kind: Prepared(partial(_begin, kind=kind), "digest", kind=kind) for kind in ("sqlite", "postgresql")}
TAKE_OVER = Prepared(_take_over, "digest")
FINISH = Prepared(_finish, "digest")
GIVE_UP = Prepared(_give_up, "digest", _give_up_many)


class AiAnswers:
    """Fulfils `processors.ai_answers.AiAnswers`; a crash of the machine, or of PostgreSQL, may lose the newest."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, digest: str, run: Run, since: datetime, max_age: float) -> Answered | Asked | None:
        """Take a request for this run, unless it is answered, or asked for by another run that goes on.

        Args:
            digest: of the request, at most 64 characters.
            run: who wants the answer.
            since: an answer of this moment or later will do.
            max_age: seconds; so will one that is at most so old, and any of the same task.

        Returns:
            None where this run is to ask.
        """
        own = _own(digest, run)

        def work(connection: Connection) -> Answered | Asked | None:
            task_id, number, answered, at, answer, now = BEGIN[self.database.kind](**own)(connection)[0]
            asker, age = Run(task_id, number), (instant(now) - instant(at)).total_seconds()
            if answered and (instant(at) >= since or age < max_age or task_id == run.task_id):
                return Answered(answer and json.loads(answer), task_id)
            if asker == run:
                return None
            if not answered and _goes_on(connection, asker):
                return Asked(task_id)
            TAKE_OVER(**own)(connection)
            return None

        return self.database.write(work, durable=False, lossy=True)

    def finish(self, digest: str, run: Run, answer: Any) -> None:
        """Keep the answer, if this run is the one that asks; one that is too long is given up instead."""
        if len(json.dumps(answer)) > LONGEST_ANSWER:
            self.give_up(digest, run)
            return
        self.database.write(FINISH(**_own(digest, run), answer=answer), durable=False, lossy=True)

    def give_up(self, digest: str, run: Run) -> None:
        """Let somebody else ask: this run does not any more, and there is no answer."""
        self.database.write(GIVE_UP(**_own(digest, run)), durable=False, lossy=True)

    def prune(self, hours: float) -> int:
        """Remove answers, and requests without one, that are older than so many hours; returns how many."""
        old = delete(ai_answers).where(columns.at < now_once(-hours * 3600))
        return self.database.write(lambda c: c.execute(old).rowcount)


def _own(digest: str, run: Run) -> dict[str, Any]:
    return {"digest": digest, "task_id": run.task_id, "run": run.number}


def _goes_on(connection: Connection, run: Run) -> bool:
    """Tell whether a run goes on, as another statement than the one that locked its row: PostgreSQL looks anew."""
    return connection.execute(select(true()).where(is_run(run.task_id, run.number))).first() is not None
