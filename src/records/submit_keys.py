"""Idempotency keys: to which task each was given, for 7 days by the database's clock.

A key is written in one transaction with the records of its task, and outlives them: a clean-up may remove them earlier.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from sqlalchemy import Column, Connection, Index, String, Table, and_, delete, select, tuple_

from processors.errors import IdempotencyConflict, ServiceUnavailable
from records.columns import Instant, Now, metadata
from records.database import Database, RowLocked
from records.digests import Gathering
from records.identity import database_id
from records.insertion import insert_into
from records.parents import insert_parent
from records.prepared import Given, Prepared
from records.sessions import connection_of
from records.task_records import Draft, insert_drafts, insertion, surely

KEEP_SECONDS = 7 * 24 * 3600
PRUNE_ROWS = 5_000
PATIENCE_SECONDS = 60
"""How long a submit waits for a transaction that holds its key."""

LOOK_SECONDS = 0.1
MOST_PAUSE_SECONDS = 0.5

submit_keys = Table(
    "submit_keys",
    metadata,
    Column("tenant", String(255), primary_key=True, server_default=""),  # "" where the submit named none
    Column("key", String(255), primary_key=True),
    Column("task_id", String(255), nullable=False),
    Column("digest", String(64), nullable=False),  # of the method and its arguments
    Column("expires_at", Instant, nullable=False),
)

keys = submit_keys.c

Index("ix_submit_keys_expires_at", keys.expires_at)


def _taking(value: Given, kind: str) -> Any:
    names = ("tenant", "key", "task_id", "digest")
    statement = insert_into(submit_keys, kind).values(
        {name: value(name, keys[name].type) for name in names} | {"expires_at": Now(KEEP_SECONDS)}
    )
    return statement.on_conflict_do_update(
        index_elements=[keys.tenant, keys.key],
        set_={name: statement.excluded[name] for name in ("task_id", "digest", "expires_at")},
        where=keys.expires_at <= Now(),
    ).returning(keys.task_id)


TAKE = {kind: Prepared(partial(_taking, kind=kind), kind=kind) for kind in ("sqlite", "postgresql")}


class SubmitKeys:
    """Records tasks under idempotency keys, and in transactions of callers' own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def open(self, draft: Draft, session: object | None = None) -> str:
        """Write the record of a task, with its key where it has one: both or neither.

        Args:
            draft: the task.
            session: an SQLAlchemy session of the record database that it is written through; committing is the
                caller's, and what SQLAlchemy raises goes on to it. None: it is committed durably here.

        Returns:
            The task's id, or the id of the task that was submitted with this key and these arguments before.

        Raises:
            IdempotencyConflict: the key was given to other arguments.
            InvalidArgument: the session is none, or of another database.
            ServiceUnavailable: nothing was written.
            SubmitUnknown: it is not known whether it was written.
        """
        return self._open(draft, (), lambda connection, one: insert_drafts(connection, [one]), session)

    def open_parent(
        self,
        parent: Draft,
        members: Sequence[Mapping[str, Any]],
        tasks: Sequence[Draft],
        session: object | None = None,
    ) -> str:
        """Write a parent with its key, its members and its tasks, as `open` does."""
        return self._open(parent, members, lambda c, one: insert_parent(c, one, members, tasks), session)

    def open_many(self, drafts: Sequence[Draft], session: object | None = None) -> str:
        """Write the records of many tasks of one name, with the first one's key where it has one, as `open` does.

        Returns:
            The first one's id, or that of the first one which was submitted with this key and these arguments before.
        """
        # The first one is a member, too: else its digest alone would be that of one submit.
        first, members = drafts[0], (json.loads(one.kwargs_text or json.dumps(dict(one.kwargs))) for one in drafts)
        if session is not None:
            return self._open(first, members, lambda connection, _: insert_drafts(connection, drafts), session)
        opening = insertion(self.database.kind, drafts, telling=False)
        opening.bind(self.database.engine().dialect)  # before the transaction, which others may wait for
        return self._open(first, members, lambda connection, _: opening(connection), None)

    def is_held(self, draft: Draft) -> bool:
        """Tell whether a draft's key was given to a task before."""
        own = and_(keys.tenant == (draft.tenant or ""), keys.key == draft.idempotency_key, keys.expires_at > Now())
        return self.database.read(lambda c: c.execute(select(keys.task_id).where(own)).first()) is not None

    def gather(self, parent: Draft, gathering: Gathering, session: object | None = None) -> str:
        """Add to a window, with a key where the submit has one, as `open` does; returns its notification's id."""
        return self._open(parent, [gathering.as_json()], gathering.add, session, gathering.place)

    def prune(self) -> int:
        """Forget the keys that are free again; returns how many."""
        over = keys.expires_at <= Now()
        some = select(keys.tenant, keys.key).where(over).order_by(keys.expires_at).limit(PRUNE_ROWS)
        # Asked twice: a key that is given out again meanwhile stays.
        statement = delete(submit_keys).where(tuple_(keys.tenant, keys.key).in_(some), over).returning(keys.key)
        forgotten = 0
        while found := self.database.write(lambda c: len(c.execute(statement).all()), durable=False):
            forgotten += found
        return forgotten

    @cached_property
    def _database_id(self) -> str:
        return database_id(self.database)

    def _open(
        self,
        draft: Draft,
        members: Iterable[Mapping[str, Any]],
        insert: Callable[[Connection, Draft], object],
        session: object | None,
        place: Callable[[Connection, Draft], Draft] | None = None,
    ) -> str:
        """Write what `insert` writes; where a draft's id depends on what the database holds, `place` decides it."""
        digest = "" if draft.idempotency_key is None else digest_of(draft, members)

        def work(connection: Connection) -> tuple[str, str]:
            placed = place(connection, draft) if place else draft
            if not digest or _take(connection, placed, digest):
                insert(connection, placed)
                return placed.id, digest
            return _holder(connection, placed)

        if session is None:
            task_id, held = surely(draft.id, lambda _: self._write(draft, work))
        else:
            task_id, held = work(connection_of(session, self.database, self._database_id))
        if held != digest:
            raise IdempotencyConflict(
                f"idempotency_key: {draft.idempotency_key!r} was given to task {task_id} with another method or other "
                "arguments; use another key.",
                task_id,
            )
        return task_id

    def _write(self, draft: Draft, work: Callable[[Connection], tuple[str, str]]) -> tuple[str, str]:
        """Write under a key; where a caller's transaction holds it, ask again without a connection between.

        A process has few connections: those who wait for one key must not keep all from those who do not.
        """
        if self.database.is_sqlite or draft.idempotency_key is None:
            return self.database.write(work)

        def waiting_briefly(connection: Connection) -> tuple[str, str]:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOOK_SECONDS}s'")
            return work(connection)

        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.database.write(waiting_briefly)
            except RowLocked as error:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(
                        f"idempotency_key: {draft.idempotency_key!r} was given to a task in a transaction that has not "
                        f"ended for {PATIENCE_SECONDS} s; commit it or roll it back, then submit again."
                    ) from error
            time.sleep(random.uniform(LOOK_SECONDS, MOST_PAUSE_SECONDS))  # noqa: S311 - no secret


def digest_of(draft: Draft, members: Iterable[Mapping[str, Any]]) -> str:
    """Return what is equal for equal methods and arguments: not the due time, the priority or the tags."""
    # There and back: a key that is a number here is a text in JSON.
    arguments = json.loads(json.dumps([draft.args, dict(draft.kwargs)]))
    found = hashlib.sha256(json.dumps([draft.name, arguments], sort_keys=True).encode())
    for member in members:
        found.update(json.dumps(member, sort_keys=True).encode())
    return found.hexdigest()


def _take(connection: Connection, draft: Draft, digest: str) -> bool:
    """Give the key to this task unless it was given to one before.

    Whoever comes at the same time waits for the commit, and finds the winner. A row that is not changed is locked all
    the same: it is still there when it is read.
    """
    given = {"tenant": draft.tenant or "", "key": draft.idempotency_key, "task_id": draft.id, "digest": digest}
    return bool(TAKE[connection.dialect.name](**given)(connection))


def _holder(connection: Connection, draft: Draft) -> tuple[str, str]:
    """Return whose a key is, and the digest of that one."""
    winner = select(keys.task_id, keys.digest).where(
        keys.tenant == (draft.tenant or ""), keys.key == draft.idempotency_key
    )
    task_id, held = connection.execute(winner).one()
    return task_id, held
