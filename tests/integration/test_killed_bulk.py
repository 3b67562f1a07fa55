"""A bulk of mail over a real worker that is killed: nobody is missed, and who was in doubt is told."""

import os
import random
from collections import Counter, defaultdict
from email.parser import BytesHeaderParser
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from processors.doubt import doubt_seconds
from records.columns import Now
from records.deliveries import deliveries
from services.celery_service import celery_service
from services.wiring import parts
from waiting import until

MAILS, KILLS = 600, 2  # one more, and a batch that all of them hit would be quarantined
PROCESSES, CONNECTIONS = 2, 4
DEADLINE = 120


@pytest.fixture(params=["hold", "resend"])
def on_doubt(request: pytest.FixtureRequest) -> str:
    """What becomes of a mail that may have arrived."""
    return request.param


@pytest.fixture
def mail_settings(on_doubt: str) -> dict[str, str]:
    return {"EMAIL_CONNECTIONS": str(CONNECTIONS), "EMAIL_ON_DOUBT": on_doubt}


def being_handed_over(bulk_id: str) -> set[tuple[str, int]]:
    """Whom a mail was being handed over to, and for which time."""
    c = deliveries.c
    query = select(c.address, c.attempts).where(c.task_id == bulk_id, c.state == "handing")
    return {(one, time) for one, time in parts().database.read(lambda connection: connection.execute(query).all())}


def let_the_doubt_pass(bulk_id: str) -> None:
    """Let what a dead worker was handing over be so old that it is settled, without the wait of minutes."""
    own = (deliveries.c.task_id == bulk_id) & (deliveries.c.state == "handing")
    long_ago = update(deliveries).where(own).values(handed_at=Now(-doubt_seconds(DEADLINE)))
    parts().database.write(lambda connection: connection.execute(long_ago))


@pytest.mark.timeout(420)
def test_two_kills_miss_nobody_and_copy_only_what_was_in_doubt(installation, smtp, on_doubt):
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    print("seed", seed)  # noqa: T201 - a failing run shows it
    chance, mark = random.Random(seed), uuid4()
    everybody = {f"{number}-{mark}@example.com" for number in range(MAILS)}
    mails = [{"to_email": one, "subject": "News", "body": "All is well.\n"} for one in sorted(everybody)]
    bulk_id = celery_service.send_bulk_emails(mails, batch_size=25, delay_between_batches=0)

    doubts: set[tuple[str, int]] = set()
    for kill in range(KILLS):
        wanted = len(smtp.mails) + chance.randrange(1, MAILS * 9 // 10 // KILLS)
        until(lambda wanted=wanted: len(smtp.mails) >= wanted, what=f"{wanted} mails, before kill {kill}")
        installation.worker.kill()
        found = being_handed_over(bulk_id) - doubts  # one that was found before may not be settled yet
        assert len(found) <= PROCESSES * CONNECTIONS
        doubts |= found
        let_the_doubt_pass(bulk_id)
        installation.start_worker()
    result = celery_service.get_task_result(bulk_id, timeout=300)

    ids: dict[str, list[str]] = defaultdict(list)
    for mail in smtp.mails:
        (recipient,) = everybody.intersection(mail.recipients)
        ids[recipient].append(BytesHeaderParser().parsebytes(mail.content)["Message-ID"])
    listed = {one["email"] for one in result["failures"] if one["state"] == "unknown"}
    in_doubt = Counter(one for one, _ in doubts)
    print(in_doubt.total(), "in doubt,", sum(map(len, ids.values())) - len(ids), "copies")  # noqa: T201 - its figures
    assert listed == (set(in_doubt) if on_doubt == "hold" else set())
    assert everybody - set(ids) <= listed, "nobody is missed without being listed"
    allowed = in_doubt if on_doubt == "resend" else Counter()
    assert [one for one, copies in ids.items() if len(copies) > 1 + allowed[one]] == []
    assert all(len(set(copies)) == 1 for copies in ids.values()), "copies have one Message-ID"
    assert (result["total"], result["sent"], result["unknown"]) == (MAILS, MAILS - len(listed), len(listed))
