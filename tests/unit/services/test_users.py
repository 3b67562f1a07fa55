"""Users and their passwords: slow hashes that tell nothing, names and roles with rules, the first one made once."""

import re

import pytest

from processors.errors import InvalidArgument, UnknownUser
from records.audit import WantedActs
from services import audit, passwords, users
from services.access import Caller, reach
from services.wiring import parts

ANN = Caller("user", "ann", reach(("admin",)), origin="cli")
PASSWORD = "correct horse battery"


def test_a_password_is_known_again_by_its_hash_alone():
    kept = passwords.hashed(PASSWORD)
    assert re.fullmatch(r"scrypt\$16384\$8\$5\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=", kept)
    assert passwords.hashed(PASSWORD) != kept
    assert passwords.matches(PASSWORD, kept)
    for other in ("", PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper(), "\ud800"):
        assert not passwords.matches(other, kept)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(passwords, "COST", 2)
    monkeypatch.setattr(passwords, "PARALLELISM", 1)


def test_a_hash_that_was_made_with_other_figures_is_still_good(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(passwords, "COST", 4)
        kept = passwords.hashed(PASSWORD)
    assert kept.startswith("scrypt$4$8$5$")
    assert passwords.matches(PASSWORD, kept)


def test_letters_that_look_alike_are_one_password(quick):
    assert passwords.matches("e\u0301t\u00e9 \u00e9t\u00e9 12", passwords.hashed("\u00e9te\u0301 e\u0301te\u0301 12"))
    assert not passwords.matches("anything", passwords.nobodys())


@pytest.mark.parametrize("password", ["", "x" * 11, "x" * 1001])
def test_a_password_has_bounds(quick, password):
    with pytest.raises(InvalidArgument, match="12 to 1000"):
        users.add(ANN, "bounded", "viewer", password)
    with pytest.raises(UnknownUser):
        users.disable(ANN, "bounded")


@pytest.mark.parametrize("name", ["", "Ann", "a b", ".a", "x" * 101, "a\0", "a\n", "ü", "<b>"])
def test_a_name_has_rules(quick, name):
    with pytest.raises(InvalidArgument, match="name: must be"):
        users.add(ANN, name, "viewer", PASSWORD)
    with pytest.raises(UnknownUser):
        users.set_password(ANN, name, PASSWORD)


def test_a_role_is_one_of_three_and_a_scope(quick):
    for role, scope in (("viewer", "read"), ("operator", "operate"), ("admin", "admin")):
        users.add(ANN, f"role-{role}", role, PASSWORD)
        caller = users.caller_of(users.log_in(f"role-{role}", PASSWORD), active=True)
        assert (caller.kind, caller.name, caller.origin, caller.tenant) == ("user", f"role-{role}", "dashboard", None)
        assert caller.scopes == reach((scope,))
    with pytest.raises(InvalidArgument, match="viewer, operator, admin; got 'root'"):
        users.set_role(ANN, "role-viewer", "root")
    with pytest.raises(InvalidArgument, match="already"):
        users.add(ANN, "role-viewer", "admin", PASSWORD)


def test_who_did_what_to_a_user_is_kept_and_no_password_with_it(quick):
    users.add(ANN, "kept", "viewer", PASSWORD)
    users.set_role(ANN, "kept", "admin")
    users.set_password(ANN, "kept", PASSWORD + "!")
    users.disable(ANN, "kept")
    users.disable(ANN, "kept")
    users.enable(ANN, "kept")
    rows = audit.acts(WantedActs(target_kind="user", target_id="kept"), 10)
    assert [row.act for row in rows] == [
        "user.enable",
        "user.disable",
        "user.set_password",
        "user.set_role",
        "user.add",
    ]
    assert rows[3].details == {"role": "admin", "before": "viewer"}
    assert PASSWORD not in repr(rows)
    assert "scrypt" not in repr(users.listed()) + repr(rows)


def test_the_first_user_is_an_admin_made_once(inline_service):
    password = users.add_first()
    assert (len(password), users.add_first()) == (24, None)
    assert [(one["name"], one["role"]) for one in users.listed()] == [("admin", "admin")]
    token = users.log_in("admin", password)
    assert users.caller_of(token, active=False).may("admin")
    assert password not in repr(parts().users.listed())
