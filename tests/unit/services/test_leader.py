"""What the leader does in one round."""

from types import SimpleNamespace

from sqlalchemy import update

from records.columns import Now
from records.submit_keys import submit_keys
from records.task_records import Draft
from services import leader
from services.wiring import Parts


def test_a_round_of_the_relay_goes_on_while_another_queue_turns_out_to_be_full(monkeypatch):
    full, published = set[str](), []
    pages = [("email.low", 0), ("email", 0), (None, leader.BATCH), (None, 1), (None, 0)]

    def relay(limit: int) -> int:
        queue, count = pages.pop(0)
        full.update({queue} if queue else ())
        published.append(count)
        return count

    publisher = SimpleNamespace(full_queues=lambda: set(full))
    monkeypatch.setattr(leader, "parts", lambda: SimpleNamespace(publisher=publisher))
    monkeypatch.setattr(leader, "relay", relay)
    leading = leader.Leader()
    leading.term = 1
    monkeypatch.setattr(leading, "_take_lease", lambda: None)

    leading._relay()

    assert published == [0, 0, leader.BATCH, 1]


def test_the_leader_forgets_idempotency_keys_that_are_free_again(database, monkeypatch):
    service = Parts(database)
    for key in ("old", "young"):
        service.submit_keys.open(Draft(key, "x", "x", "default", idempotency_key=key))
    old = update(submit_keys).where(submit_keys.c.key == "old").values(expires_at=Now(-1))
    database.write(lambda c: c.execute(old))
    monkeypatch.setattr(leader, "parts", lambda: service)

    leader._prune()

    assert database.read(lambda c: c.execute(submit_keys.select()).mappings().one())["key"] == "young"
