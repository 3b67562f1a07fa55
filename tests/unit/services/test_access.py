"""Who is let in: what scopes stand for, for how long a look is believed, and what is never kept or told."""

import hmac
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from config.settings import Settings, ensure_folders
from processors.errors import ServiceUnavailable, UnknownKey
from records.api_keys import ApiKey, FoundKey
from records.audit import WantedActs
from services import access, api_keys, audit
from services.access import ADMIN, SCOPES, AdminKey, Caller, Keys, Refused, at_terminal, digest_of, new_key, reach
from services.api_keys import NewKey
from services.audit import record_act
from services.wiring import parts
from waiting import until

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ANN = Caller("user", "ann", reach(("admin",)), origin="cli")


class Rows:
    """Rows of keys, which count how often they are asked."""

    def __init__(self) -> None:
        self.found: dict[str, ApiKey] = {}
        self.looks = 0
        self.uses: list[str] = []
        self.now = NOW
        self.meanwhile: Callable[[], None] = lambda: None

    def find(self, digest: str) -> FoundKey | None:
        self.looks += 1
        key = self.found.get(digest)
        self.meanwhile()
        return key and FoundKey(key, self.now)

    def used(self, key_id: str) -> None:
        self.uses.append(key_id)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own(tmp_path) -> Settings:
    made = Settings(data_dir=tmp_path / "data")
    ensure_folders(made)
    return made


@pytest.fixture
def keys(own, rows, clock) -> Keys:
    return Keys(AdminKey(own), lambda: rows, clock)


def given(rows: Rows, **more) -> str:
    """A key that is there; returns its digest."""
    digest = digest_of(new_key())
    values = {"expires_at": None, "revoked_at": None, "last_used_at": None, "tenant": None, "scopes": ["submit"]} | more
    rows.found[digest] = ApiKey(id="k1", name="billing", digest=digest, created_at=NOW, **values)
    return digest


# --- Scopes and keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "all_of_them"),
    [
        (["read"], {"read"}),
        (["submit"], {"read", "submit"}),
        (["operate", "read"], {"read", "submit", "operate"}),
        (["admin"], set(SCOPES)),
        ([], set()),
        (["root", "ADMIN", "admin "], set()),
    ],
)
def test_a_scope_has_those_before_it_and_an_unknown_one_has_none(scopes, all_of_them):
    assert reach(scopes) == all_of_them


def test_a_key_has_256_bits_in_text_that_every_header_takes():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(one.startswith("csai_") and len(one) == access.KEY_CHARACTERS for one in made)
    assert all(audit.KEY_TEXT.fullmatch(one) for one in made)


def test_a_tenants_callers_see_their_tenant_alone():
    of_acme = Caller("key", "a", reach(("read",)), "acme")
    assert [of_acme.sees(tenant) for tenant in ("acme", "acme ", "other", None)] == [True, False, False, False]
    assert all(ANN.sees(tenant) for tenant in ("acme", None))


# --- How long a look is believed -------------------------------------------------------------------------------


def test_a_key_in_use_is_looked_up_every_three_seconds_and_not_more_often(keys, rows, clock):
    digest = given(rows)
    assert keys.at_hand(digest) is None
    assert keys.looked_up(digest) == Caller("key", "billing", reach(("submit",)), None, "k1")
    for _ in range(1000):
        assert keys.at_hand(digest).name == "billing"
    assert rows.looks == 1
    clock.now += access.FRESH_SECONDS
    assert keys.at_hand(digest) is None
    assert keys.knows(digest)


def test_a_revocation_binds_within_five_seconds_also_where_the_look_itself_was_slow(keys, rows, clock):
    digest = given(rows)

    def slowly() -> None:
        clock.now += 2.9  # the row is read, and revoked by another process before the answer is there

    rows.meanwhile = slowly
    assert isinstance(keys.looked_up(digest), Caller)
    rows.found[digest] = replace(rows.found[digest], revoked_at=NOW)
    rows.meanwhile = lambda: None
    clock.now += 0.2
    assert keys.at_hand(digest) is None
    assert access.FRESH_SECONDS < 5
    assert keys.looked_up(digest) == Refused(f"This key was revoked at {NOW.isoformat()}.")
    assert keys.at_hand(digest) == Refused(f"This key was revoked at {NOW.isoformat()}.")


def test_a_key_is_over_at_its_moment_by_the_databases_clock_even_where_it_was_just_looked_up(keys, rows, clock):
    digest = given(rows, expires_at=NOW + timedelta(seconds=1))
    assert isinstance(keys.looked_up(digest), Caller)
    clock.now += 0.9
    assert isinstance(keys.at_hand(digest), Caller)
    clock.now += 0.1
    rows.now += timedelta(seconds=1)
    assert keys.at_hand(digest) is None
    assert "expired" in keys.looked_up(digest).why


def test_a_key_that_is_none_is_not_remembered(keys, rows):
    digest = digest_of("csai_none")
    assert keys.looked_up(digest) is None
    assert not keys.knows(digest)
    rows.found[digest] = replace(rows.found[given(rows)], digest=digest)
    assert isinstance(keys.looked_up(digest), Caller)


def test_a_process_remembers_so_many_keys_and_no_more(keys, rows, monkeypatch):
    monkeypatch.setattr(access, "MOST_KNOWN", 2)
    digests = [given(rows) for _ in range(3)]
    assert all(isinstance(keys.looked_up(one), Caller) for one in digests)
    assert [keys.knows(one) for one in digests] == [True, True, False]
    assert isinstance(keys.looked_up(digests[0]), Caller)
    assert [keys.knows(one) for one in digests] == [True, True, False]


def test_a_use_is_noted_once_a_minute_and_a_refusal_never(keys, rows, clock):
    digest = given(rows)
    for _ in range(125):
        keys.at_hand(digest) or keys.looked_up(digest)
        clock.now += 1
    assert rows.uses == ["k1"] * 3
    over = given(rows, revoked_at=NOW)
    keys.looked_up(over)
    keys.at_hand(over)
    assert rows.uses == ["k1"] * 3


def test_the_key_of_the_file_is_an_admins_and_needs_no_database(own, clock):
    def away():
        raise ServiceUnavailable("away")

    keys = Keys(AdminKey(own), away, clock)
    assert keys.at_hand(digest_of(access.admin_key(own))) == ADMIN
    with pytest.raises(ServiceUnavailable):
        keys.looked_up(digest_of(new_key()))


def test_every_comparison_of_keys_takes_the_same_time_whatever_is_given(keys, rows, monkeypatch):
    compared = []

    def noted(ours, theirs):
        compared.append((ours, theirs))
        return hmac_compare(ours, theirs)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", noted)
    digest = given(rows)
    keys.looked_up(digest)
    assert compared.pop() == (digest, digest)
    keys.at_hand(digest)
    assert [theirs for _, theirs in compared] == [digest, digest]  # the file's key, and the one that is remembered
    assert all(len(ours) == len(theirs) == 64 for ours, theirs in compared)  # digests, whatever was given


def test_what_a_look_gives_is_compared_too(keys, rows):
    digest = given(rows)
    rows.found[digest_of("other")] = rows.found[digest]  # a database that answers for another one
    assert keys.looked_up(digest_of("other")) is None


# --- Keys that are made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"name": ""}, "at least 1 character"),
        ({"name": "a\nb"}, "one line"),
        ({"name": "\0"}, "one line"),
        ({"name": "\ud800"}, "."),
        ({"name": " a"}, "one line"),
        ({"name": "a", "scopes": ["root"]}, "'read', 'submit', 'operate' or 'admin'"),
        ({"name": "a", "scopes": []}, "at least 1"),
        ({"name": "a", "tenant": ""}, "at least 1 character"),
        ({"name": "a", "tenant": "acme", "scopes": ["read", "admin"]}, "cannot be an admin's"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "in the future"),
        ({"name": "a", "expires_at": "2030-01-01T00:00:00"}, "timezone"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-14:00"}, "of the years 1 to 9999"),
        ({"name": "a", "expires_at": "9999-06-01T00:00:00Z"}, "before the year 9999"),
        ({"name": "a", "key": "csai_mine"}, "not permitted"),
    ],
    ids=range(14),
)
def test_a_wish_for_a_key_that_cannot_be_is_one_sentence(wanted, words):
    with pytest.raises(ValidationError, match=words):
        NewKey.model_validate(wanted)


def test_a_key_is_told_once_and_who_made_and_ended_it_is_written_down():
    made = api_keys.add(ANN, NewKey(name="once", scopes=["operate", "read"], tenant="acme"))
    key_id, key = made["id"], made.pop("key")
    assert made["scopes"] == ["read", "submit", "operate"]
    listed = {one["id"]: one for one in api_keys.listed()}
    assert listed[key_id] == made
    assert parts().api_keys.find(digest_of(key)).key.id == key_id
    ended = api_keys.revoke(ANN, key_id)
    assert api_keys.revoke(ANN, key_id) == ended
    written = audit.acts(WantedActs(target_kind="key", target_id=key_id), 9)
    assert [(one.act, one.actor, one.origin) for one in written] == [
        ("key.revoke", "ann", "cli"),
        ("key.add", "ann", "cli"),
    ]
    assert written[1].details == {"name": "once", "scopes": ["operate", "read"], "tenant": "acme", "expires_at": None}
    assert key not in json.dumps([audit.shown(one) for one in written])
    with pytest.raises(UnknownKey, match="no key with the id 'nobody'"):
        api_keys.revoke(ANN, "nobody")


def test_who_types_at_a_terminal_has_the_name_of_this_machine(monkeypatch):
    assert (at_terminal().kind, at_terminal().origin) == ("user", "cli")
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert at_terminal().name == "54321"
    assert at_terminal().may("admin")


# --- Acts that are written down --------------------------------------------------------------------------------


def written(act: str) -> list[dict]:
    return [audit.shown(one) for one in audit.acts(WantedActs(act=act), 9)]


def test_secrets_that_come_into_an_act_are_masked_in_the_audit():
    key = new_key()
    details = {
        "password": "planted-1",
        "headers": {"Authorization": "planted-2"},
        "url": "https://u:planted-3@example.com",
        "text": f"Bearer {key}",
        key: "a field of this name",
        "older_than": float("nan"),
    }
    record_act(ANN, "test.masked", target=("key", f"it was {key}"), details=details)
    (row,) = written("test.masked")
    assert "planted" not in json.dumps(row)
    assert key not in json.dumps(row)
    assert row["target"]["id"] == "it was ***"
    assert row["details"]["text"] == "Bearer ***"


def test_long_details_are_cut_off_and_keep_no_secret():
    secret = new_key()
    record_act(ANN, "test.long", details={"password": "planted", "ids": ["x" * 40] * 1000 + [secret]}, count=1001)
    (row,) = written("test.long")
    assert len(row["details"]["cut_off"]) == audit.MOST_CHARACTERS
    assert row["count"] == 1001
    assert "planted" not in json.dumps(row)


@pytest.mark.parametrize(
    ("act", "kind"), [("purge", "queue"), ("Queue.purge", "queue"), ("a." + "b" * 63, "queue"), ("a.b", "k" * 33)]
)
def test_an_act_that_a_database_would_not_take_is_found_by_the_first_test_of_it(act, kind):
    with pytest.raises(ValueError, match=r"noun\.verb"):
        record_act(ANN, act, target=(kind, "x"))


def test_what_has_a_record_of_its_own_is_written_down_soon():
    record_act(replace(ANN, origin="api", key_id="k1"), "test.soon", sure=False, outcome="failed")
    (row,) = until(lambda: written("test.soon"), what="it is there")
    assert row["actor"] == {"kind": "user", "name": "ann (k1)"}
    assert (row["outcome"], row["origin"]) == ("failed", "api")


def test_an_act_that_cannot_be_written_down_stays_done_and_is_in_the_log_without_its_secrets(monkeypatch, caplog):
    def away(_act):
        raise ServiceUnavailable("the database is away")

    monkeypatch.setattr(parts().audit, "add", away)
    with caplog.at_level(logging.ERROR):
        record_act(ANN, "queue.purge", target=("queue", "email"), count=7, details={"token": "planted"})
    assert "queue.purge" in caplog.text
    assert "count=7" in caplog.text
    assert "planted" not in caplog.text
