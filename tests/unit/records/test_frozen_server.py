"""A PostgreSQL server that is frozen while its kernel keeps the connections holds nobody for ever."""

import pytest

from postgresql import PostgresqlServer
from processors.errors import ServiceUnavailable
from records import postgresql as postgresql_room
from records import schema, upgrading
from records.database import Database, ping
from records.leadership import Leadership
from records.task_records import Draft, TaskRecords
from records.workers import Workers

WHILE_IDLE = {"IDLE_SECONDS": -1.0, "PING_SECONDS": 0.5}
IN_THE_MIDDLE_OF_WORK = {"IDLE_SECONDS": 60.0, "PING_SECONDS": 0.5, "PATIENCE_SECONDS": 0.5}


@pytest.mark.parametrize("patience", [WHILE_IDLE, IN_THE_MIDDLE_OF_WORK], ids=["while idle", "in the middle of work"])
def test_a_frozen_server_is_told_as_away_and_is_used_again_when_it_wakes(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch, patience: dict[str, float]
):
    for name, seconds in patience.items():
        monkeypatch.setattr(postgresql_room, name, seconds)
    monkeypatch.setattr(postgresql_room, "CONNECT_TIMEOUT_SECONDS", 1)
    database = Database(postgresql.fresh_database())
    upgrading.upgrade(database, schema.VERSION)
    tasks, leadership, workers = TaskRecords(database), Leadership(database), Workers(database)
    workers.start("w1", "io@here", "here", 1, 1)
    tasks.open(Draft("before", "x", "x", "default"))

    with postgresql.frozen():
        for call in (
            lambda: tasks.open(Draft("meanwhile", "x", "x", "default")),
            lambda: workers.renew("w1"),
            lambda: leadership.take("a", "host", 1),
            lambda: ping(database),
        ):
            with pytest.raises(ServiceUnavailable, match=r"does not answer|was lost during a commit|not known"):
                call()

    assert tasks.open(Draft("after", "x", "x", "default"))
    assert workers.renew("w1")
    assert leadership.take("a", "host", 1) == 1
    database.close()
