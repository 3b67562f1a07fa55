"""Keys as rows: found by their SHA-256 alone, ended once, and nothing of a key itself is stored."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text, update

from records.api_keys import ApiKeys, api_keys
from records.audit import Act, Audit, WantedActs, audit
from records.columns import Now
from records.database import Database
from services.access import digest_of, new_key
from waiting import until

ADDED = Act("user", "ann", "key.add", "cli", "key", "k1", 1, {"scopes": ["read"]})
REVOKED = Act("user", "ann", "key.revoke", "cli", "key", "k1", 1)


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


def test_a_key_is_found_by_its_digest_alone_and_the_key_is_nowhere_in_the_database(keys):
    key = new_key()
    later = datetime.now(UTC) + timedelta(days=3)
    made = keys.add("k1", "billing \0 ü", digest_of(key), ["submit"], "acme", later, act=ADDED)
    found = keys.find(digest_of(key))
    assert found.key == made == keys.read("k1")
    assert (made.scopes, made.tenant, made.expires_at, made.revoked_at, made.last_used_at) == (
        ["submit"], "acme", later, None, None,
    )  # fmt: skip
    assert abs((found.at - datetime.now(UTC)).total_seconds()) < 60
    assert keys.find(digest_of(new_key())) is None
    rows = keys.database.read(lambda c: [c.execute(select(table)).all() for table in (api_keys, audit)])
    assert key not in repr(rows)
    assert digest_of(key) in repr(rows)


def test_two_keys_never_have_one_digest(keys):
    keys.add("k1", "a", "d" * 64, ["read"], None, None, act=ADDED)
    with pytest.raises(Exception, match=r"(?i)unique"):
        keys.add("k2", "b", "d" * 64, ["read"], None, None, act=ADDED)
    assert len(Audit(keys.database).listed(WantedActs(), 10)) == 1  # the act that was none is written nowhere


def test_of_many_who_revoke_a_key_one_has_done_it(keys):
    keys.add("k1", "a", "d" * 64, ["read"], None, None, act=ADDED)
    done = []
    threads = [threading.Thread(target=lambda: done.append(keys.revoke("k1", REVOKED))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(done) == [False, False, False, True]
    assert keys.read("k1").revoked_at is not None
    assert [one.act for one in Audit(keys.database).listed(WantedActs(), 10)] == ["key.revoke", "key.add"]
    assert not keys.revoke("nobody", REVOKED)


def test_the_use_of_a_key_is_written_soon_and_at_most_once_a_minute(keys):
    keys.add("k1", "a", "d" * 64, ["read"], None, None, act=ADDED)
    keys.used("k1")
    first = until(lambda: keys.read("k1").last_used_at, what="its use is noted")
    keys.used("k1")
    keys.used("gone")
    keys.database.write(lambda c: c.execute(text("SELECT 1")))
    assert keys.read("k1").last_used_at == first
    keys.database.write(lambda c: c.execute(update(api_keys).values(last_used_at=Now(-61))))
    keys.used("k1")
    until(lambda: keys.read("k1").last_used_at >= first, what="it is noted again a minute later")


def test_keys_are_listed_the_newest_first(keys):
    for number in range(3):
        keys.add(f"k{number}", "a", str(number), ["read"], None, None, act=ADDED)
        moment = Now(number - 10)
        keys.database.write(
            lambda c, n=number, m=moment: c.execute(
                update(api_keys).where(api_keys.c.id == f"k{n}").values(created_at=m)
            )
        )
    assert [one.id for one in keys.listed()] == ["k2", "k1", "k0"]
    json.dumps([one.scopes for one in keys.listed()])
