"""PostgreSQL that fails over in the middle of what is written of a call: it is ordered once all the same."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from calling import Office
from postgresql import PostgresqlServer
from processors import doubt
from processors.call_interfaces import Granted
from processors.dialing import dial
from records import schema, upgrading
from records.database import Database
from services import until_written

NUMBER = "+15557831000"


class FailingOver(Database):
    """A database that ends the session of its next transaction as often as told.

    Attributes:
        cuts: where: in its `middle`, at its `commit`, or after it (`committed`), so that nobody is told of it.
        made: the cuts that there were.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.cuts, self.made = list[str](), list[str]()
        self._other = Database(url)

    def write(self, work: Callable[[Any], Any], *, durable: bool = True, lossy: bool = False) -> Any:
        def cut(connection: Any) -> Any:
            result = work(connection)
            if self.cuts:
                self.made.append(self.cuts.pop())
                session = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                if self.made[-1] == "committed":
                    connection.commit()
                    connection.exec_driver_sql("SELECT 1")  # what is committed next has no answer
                end = text("SELECT pg_terminate_backend(:session, 60000)").bindparams(session=session)
                assert self._other.read(lambda c: c.execute(end).scalar())
                if self.made[-1] == "middle":
                    connection.exec_driver_sql("SELECT 1")
            return result

        return super().write(cut, durable=durable, lossy=lossy)

    def close(self) -> None:
        super().close()
        self._other.close()


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[FailingOver]:
    url = postgresql.fresh_database()
    made = FailingOver(url)
    upgrading.upgrade(made, schema.VERSION)
    yield made
    made.close()
    postgresql.drop(url)


@pytest.mark.parametrize("how", ["middle", "commit", "committed"])
@pytest.mark.parametrize("what", ["grant", "answer", "end"])
def test_a_database_that_fails_over_while_a_call_is_written_down_costs_no_second_call(
    database: FailingOver, monkeypatch: pytest.MonkeyPatch, what: str, how: str
):
    monkeypatch.setattr(until_written, "DATABASE_PAUSE_SECONDS", 0)
    office = Office(database)
    office.line = replace(office.line, persist=partial(until_written.until_written, "campaign"))
    [call_id] = office.phones.campaign("campaign", [NUMBER])
    create_call = office.provider.create_call

    def made(order: Any) -> Any:
        placed = create_call(order)
        if what == "answer":
            database.cuts = [how]
        return placed

    monkeypatch.setattr(office.provider, "create_call", made)
    if what == "grant":
        database.cuts = [how]
    for _ in range(20):
        granted = office.line.persist(lambda: office.phones.grant(call_id))
        if isinstance(granted, Granted):
            attempt = granted.attempt_id
            order = office.order(call_id, attempt)
            dial(office.line, Granted(attempt, doubt.clock()), order, lambda _: True)
            (sid,) = office.provider.live()
            assert (office.phones.attempt(attempt).state, office.phones.attempt(attempt).call_sid) == ("placed", sid)
            office.provider.end(sid)
            if what == "end":
                database.cuts = [how]
            office.line.persist(partial(office.phones.tell, attempt, sid, "completed", key="the end"))
        if office.phones.call(call_id).state == "done":
            break
        office.follow(200)

    assert database.made == [how]
    assert office.phones.call(call_id).state == office.phones.member(call_id).state == "done"
    assert (office.phones.call(call_id).attempts, office.phones.live()) == (1, {})
    assert len(office.provider.orders) == office.provider.rung()[NUMBER] == 1
    lost = how == "committed" and what == "grant"
    assert [row.state for row in office.phones.attempts()] == [*(["void"] if lost else []), "ended"]
