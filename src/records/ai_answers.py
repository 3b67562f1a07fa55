"""Answers to AI requests, by the digest of all that shapes them: equal requests are paid once."""

import json
from datetime import datetime
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
    or_,
    select,
    true,
    update,
)

from processors.ai_interfaces import Answered, Asked
from processors.interfaces import Run
from records.columns import Instant, Json, Now, metadata, now_once
from records.database import Database
from records.insertion import insert_into
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


class AiAnswers:
    """Fulfils `processors.ai_interfaces.AiAnswers`; a crash of the machine may lose the newest answers."""

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
        own = {"task_id": run.task_id, "run": run.number, "answered": False, "at": Now(), "answer": None}
        fresh = insert_into(ai_answers, self.database.kind).values(digest=digest, **own)
        locked = fresh.on_conflict_do_update(index_elements=["digest"], set_={"digest": fresh.excluded.digest})
        will_do = or_(columns.at >= since, columns.at > Now(-max_age), columns.task_id == run.task_id)
        found = locked.returning(*columns, and_(columns.answered, will_do).label("will_do"))

        def work(connection: Connection) -> Answered | Asked | None:
            row = connection.execute(found).one()
            if row.will_do:
                return Answered(row.answer, row.task_id)
            asker = Run(row.task_id, row.run)
            if asker != run and not row.answered and _goes_on(connection, asker):
                return Asked(row.task_id)
            connection.execute(update(ai_answers).where(columns.digest == digest).values(own))
            return None

        return self.database.write(work, durable=False)

    def finish(self, digest: str, run: Run, answer: Any) -> None:
        """Keep the answer, if this run is the one that asks; one that is too long is given up instead."""
        if len(json.dumps(answer)) > LONGEST_ANSWER:
            self.give_up(digest, run)
            return
        kept = update(ai_answers).where(_asked_by(digest, run)).values(answered=True, at=Now(), answer=answer)
        self.database.write(lambda c: c.execute(kept), durable=False)

    def give_up(self, digest: str, run: Run) -> None:
        """Let somebody else ask: this run does not any more, and there is no answer."""
        gone = delete(ai_answers).where(_asked_by(digest, run))
        self.database.write(lambda c: c.execute(gone), durable=False)

    def prune(self, hours: float) -> int:
        """Remove answers, and requests without one, that are older than so many hours; returns how many."""
        old = delete(ai_answers).where(columns.at < now_once(-hours * 3600))
        return self.database.write(lambda c: c.execute(old).rowcount)


def _asked_by(digest: str, run: Run) -> ColumnElement[bool]:
    own = and_(columns.digest == digest, columns.task_id == run.task_id, columns.run == run.number)
    return and_(own, columns.answered == false())


def _goes_on(connection: Connection, run: Run) -> bool:
    """Tell whether a run goes on, as another statement than the one that locked its row: PostgreSQL looks anew."""
    return connection.execute(select(true()).where(is_run(run.task_id, run.number))).first() is not None
