"""Users and sessions as rows: names once, of a token its SHA-256, and no session that a change should have ended."""

import threading

import pytest
from sqlalchemy import select, update

from records.audit import Act, Audit, WantedActs
from records.columns import Now
from records.database import Database
from records.users import IDLE_SECONDS, Users, user_sessions
from waiting import until

ACT = Act("user", "ann", "user.change", "cli", "user", "bob", 1)


@pytest.fixture
def users(database: Database) -> Users:
    return Users(database)


@pytest.fixture
def bob(users):
    assert users.add("u1", "bob", "hash-1", "viewer", act=ACT)
    return users.read("bob")


def acts(users: Users) -> int:
    return len(Audit(users.database).listed(WantedActs(act="user.change"), 100))


def digests(users: Users) -> list[str]:
    query = select(user_sessions.c.digest).order_by(user_sessions.c.digest)
    return list(users.database.read(lambda c: c.execute(query).scalars().all()))


def test_a_name_is_one_users_and_what_was_not_done_is_written_nowhere(users, bob):
    assert not users.add("u2", "bob", "hash-2", "admin", act=ACT)
    assert users.listed() == [bob]
    assert acts(users) == 1
    assert "hash-1" not in repr(bob)
    assert users.read("nobody") is None


def test_a_change_is_made_and_written_down_once(users, bob):
    assert [users.set_role("u1", "admin", ACT), users.set_role("u1", "admin", ACT)] == [True, False]
    assert [users.disable("u1", ACT), users.disable("u1", ACT)] == [True, False]
    assert users.read("bob").disabled_at is not None
    assert [users.enable("u1", ACT), users.enable("u1", ACT)] == [True, False]
    assert not users.set_password("u9", "hash", ACT)
    assert (users.read("bob").role, users.read("bob").disabled_at, acts(users)) == ("admin", None, 4)


def test_a_session_is_its_users_until_it_is_ended(users, bob):
    assert users.open_session(bob, "d1", None, ACT)
    assert users.of_session("d1").name == "bob"
    assert users.of_session("d2") is None
    assert users.read("bob").last_login_at is not None
    assert users.open_session(bob, "d2", "d1", ACT)
    assert digests(users) == ["d2"]
    users.end_session("d2")
    assert (users.of_session("d2"), digests(users)) == (None, [])


@pytest.mark.parametrize(
    "end",
    [lambda users: users.disable("u1", ACT), lambda users: users.set_password("u1", "hash-2", ACT)],
    ids=["disabled", "another password"],
)
def test_what_ends_all_sessions_of_a_user_ends_no_other_ones_and_lets_no_login_through_that_was_checked_before(
    users, bob, end
):
    users.add("u2", "eve", "hash-3", "viewer", act=ACT)
    for number in range(3):
        assert users.open_session(bob, f"d{number}", None, ACT)
    assert users.open_session(users.read("eve"), "e1", None, ACT)
    assert end(users)
    assert digests(users) == ["e1"]
    before = acts(users)
    assert not users.open_session(bob, "d9", None, ACT)
    assert (digests(users), acts(users)) == (["e1"], before)


def test_of_logins_and_a_new_password_at_once_no_session_is_left(users, bob):
    def log_in(number: int) -> None:
        users.open_session(bob, f"d{number}", None, ACT)

    threads = [threading.Thread(target=log_in, args=(number,)) for number in range(6)]
    threads.insert(3, threading.Thread(target=users.set_password, args=("u1", "hash-2", ACT)))
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert digests(users) == []


def test_a_session_ends_by_itself_and_goes_with_the_next_login(users, bob):
    for name in ("idle", "old", "good"):
        users.open_session(bob, name, None, ACT)

    def move(digest, **moments):
        users.database.write(
            lambda c: c.execute(update(user_sessions).where(user_sessions.c.digest == digest).values(**moments))
        )

    move("idle", seen_at=Now(-IDLE_SECONDS))
    move("old", expires_at=Now(-1))
    assert [users.of_session(name) is not None for name in ("idle", "old", "good")] == [False, False, True]
    users.open_session(bob, "next", None, ACT)
    assert digests(users) == ["good", "next"]


def test_that_a_session_was_used_is_written_at_most_once_a_minute(users, bob):
    users.open_session(bob, "d1", None, ACT)
    seen = select(user_sessions.c.seen_at)
    first = users.database.read(lambda c: c.execute(seen).scalar_one())
    users.seen("d1")
    users.database.write(lambda _c: None)
    assert users.database.read(lambda c: c.execute(seen).scalar_one()) == first
    users.database.write(lambda c: c.execute(update(user_sessions).values(seen_at=Now(-61))))
    users.seen("d1")
    until(lambda: users.database.read(lambda c: c.execute(seen).scalar_one()) >= first, what="it is noted")
