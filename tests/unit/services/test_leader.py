"""What the leader does in one round."""

from types import SimpleNamespace

from services import leader


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
