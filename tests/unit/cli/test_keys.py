"""`csai keys`: made, shown and revoked at a terminal, and written down as done there."""

import json

import pytest

from records.audit import WantedActs
from services import audit
from services.access import digest_of
from services.wiring import parts


def test_a_key_is_printed_alone_once_and_can_be_revoked(csai):
    code, out, told = csai("keys", "add", "nightly", "--scope", "operate", "--tenant", "acme", "--days", "30")
    key = parts().api_keys.find(digest_of(out.strip())).key
    assert (code, key.name, key.scopes, key.tenant) == (0, "nightly", ["operate"], "acme")
    assert key.id in told
    assert out.strip() not in told
    code, out, _ = csai("keys", "ls", "--json")
    found = {one["id"]: one for one in json.loads(out)}[key.id]
    assert (code, found["scopes"], found["revoked_at"]) == (0, ["read", "submit", "operate"], None)
    code, out, _ = csai("keys", "revoke", key.id)
    assert (code, "nightly" in out) == (0, True)
    assert csai("keys", "revoke", key.id)[:2] == (0, out)
    rows = audit.acts(WantedActs(target_kind="key", target_id=key.id), 9)
    assert [(one.act, one.origin, one.actor_kind) for one in rows] == [
        ("key.revoke", "cli", "user"),
        ("key.add", "cli", "user"),
    ]


def test_a_key_as_json_is_what_the_api_answers(csai):
    made = json.loads(csai("keys", "add", "[bold]x", "--json")[1])
    assert parts().api_keys.find(digest_of(made["key"])).key.id == made["id"]
    assert set(made) == {
        "id", "name", "scopes", "tenant", "created_at", "expires_at", "revoked_at", "last_used_at", "key",
    }  # fmt: skip
    ended = json.loads(csai("keys", "revoke", made["id"], "--json")[1])
    assert ended["revoked_at"]
    shown = csai("keys", "ls")[1]
    assert "[bold]x" in shown
    assert made["key"] not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "x", "--scope", "root"), "scopes"),
        (("add", "x", "--tenant", "acme", "--scope", "admin"), "cannot be an admin's"),
        (("add", ""), "name"),
        (("add", "x", "--days", "0"), "days"),
    ],
    ids=range(4),
)
def test_what_cannot_be_is_one_line_and_exit_code_2(csai, words, said):
    code, out, told = csai("keys", *words)
    assert (code, out, said in told) == (2, "", True)
    assert "Traceback" not in told


def test_a_key_that_is_not_there_is_one_line_and_exit_code_3(csai):
    code, out, told = csai("keys", "revoke", "never")
    assert (code, out, "There is no key with the id 'never'" in told) == (3, "", True)
