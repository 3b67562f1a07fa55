"""People who use the dashboard: made, changed, logged in and out, by whom it is written down."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from processors.errors import InvalidArgument, UnknownUser
from records.users import User
from services import passwords
from services.access import RANDOM_BYTES, Caller, at_terminal, digest_of, id_of, reach
from services.audit import act_of, record_act
from services.wiring import parts

ROLES = {"viewer": "read", "operator": "operate", "admin": "admin"}
"""By role the scope that it has, with those before it."""

FIRST = "admin"
"""The name of the user who is there from the first start on."""

NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")


def add(caller: Caller, name: str, role: str, password: str, once: str | None = None) -> dict[str, Any]:
    """Make a user.

    Args:
        caller: who makes them.
        name: of the user.
        role: of theirs.
        password: that they log in with.
        once: who says this word again is told that they have made the user, and not that the name is taken.

    Raises:
        InvalidArgument: the name, the role or the password cannot be one, or the name is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidArgument(
            f"name: must be 1 to 100 of a-z, 0-9 and ._@+-, the first one a letter or a figure; got {name!r:.120}."
        )
    _check_role(role)
    kept = passwords.hashed(passwords.check(password))
    act = act_of(caller, "user.add", target=("user", name), count=1, details={"role": role})
    user_id = id_of(once, name)
    if not parts().users.add(user_id, name, kept, role, act=act):
        if _user(name).id == user_id:
            raise InvalidArgument(
                f"This form was sent before: it made the user {name}, whose password was shown then and is not kept. "
                "Where nobody has it, give them a new one."
            )
        raise InvalidArgument(f"name: there is a user {name} already; `csai users ls` lists them.")
    return shown(_user(name))


def add_first() -> str | None:
    """Make the first user, an admin, and return their password; None where there are users."""
    if parts().users.listed():
        return None
    password = passwords.generated()
    add(at_terminal(), FIRST, "admin", password)
    return password


def listed() -> Sequence[dict[str, Any]]:
    """Return all users, those that are disabled too, by name."""
    return [shown(user) for user in parts().users.listed()]


def set_role(caller: Caller, name: str, role: str) -> dict[str, Any]:
    """Let a user do what this role may, from their next request on.

    Raises:
        InvalidArgument: there is no such role.
        UnknownUser: there is no such user.
    """
    _check_role(role)
    user = _user(name)
    details = {"role": role, "before": user.role}
    parts().users.set_role(user.id, role, act_of(caller, "user.set_role", target=("user", name), details=details))
    return shown(_user(name))


def set_password(caller: Caller, name: str, password: str, former: str | None = None) -> dict[str, Any]:
    """Replace a user's password, and end all their sessions.

    Args:
        caller: who does it.
        name: of the user.
        password: the new one.
        former: what `password_mark` told of the one that is replaced; None: whichever it is.

    Raises:
        InvalidArgument: it is too short or too long, or the former one was replaced before.
        UnknownUser: there is no such user.
    """
    user = _user(name)
    kept = passwords.hashed(passwords.check(password))
    act = act_of(caller, "user.set_password", target=("user", name))
    same = former is None or former == _mark(user)
    if not same or not parts().users.set_password(user.id, kept, act, former and user.password):
        raise InvalidArgument(
            f"The password of {name} was replaced since this was asked, and shown to who did it. "
            "Where nobody has it, ask for a new one again."
        )
    return shown(_user(name))


def password_mark(name: str) -> str:
    """Return what is another one as soon as a user has another password, and tells nothing of it.

    Raises:
        UnknownUser: there is no such user.
    """
    return _mark(_user(name))


def disable(caller: Caller, name: str) -> dict[str, Any]:
    """Keep a user out, and end all their sessions; one who is kept out stays so.

    Raises:
        UnknownUser: there is no such user.
    """
    parts().users.disable(_user(name).id, act_of(caller, "user.disable", target=("user", name)))
    return shown(_user(name))


def enable(caller: Caller, name: str) -> dict[str, Any]:
    """Let a user in again.

    Raises:
        UnknownUser: there is no such user.
    """
    parts().users.enable(_user(name).id, act_of(caller, "user.enable", target=("user", name)))
    return shown(_user(name))


def log_in(name: str, password: str, former: str | None = None, address: str | None = None) -> str | None:
    """Begin a session and return its token; None where there is no such user, or that is not their password.

    The audit has both, of a user that there is: a try is written beside other writes, and takes no time that tells.

    Args:
        name: who they say they are.
        password: what they bring; to check it takes as long whether or not there is such a user.
        former: the token of the session that this one replaces.
        address: where they are.
    """
    user = parts().users.read(name if NAME.fullmatch(name) else "")
    kept = passwords.nobodys() if user is None or user.disabled_at is not None else user.password
    matches = passwords.matches(password, kept)
    if user is None:
        return None
    login: dict[str, Any] = {"target": ("user", user.name), "details": {"address": address} if address else None}
    if not matches:
        record_act(_caller(user), "user.log_in", **login, outcome="failed", sure=False)
        return None
    token = secrets.token_urlsafe(RANDOM_BYTES)
    act = act_of(_caller(user), "user.log_in", **login)
    opened = parts().users.open_session(user, digest_of(token), former and digest_of(former), act)
    return token if opened else None


def caller_of(token: str, *, active: bool) -> Caller | None:
    """Return whose session this token is of; None where it is nobody's, or that has ended.

    Args:
        token: what the browser brings.
        active: whether a person did something, rather than a page that looks by itself.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    digest = digest_of(token)
    user = parts().users.of_session(digest)
    if user is None:
        return None
    if active:
        parts().users.seen(digest)
    return _caller(user)


def log_out(token: str) -> None:
    """End a session."""
    digest = digest_of(token)
    user = parts().users.of_session(digest)
    parts().users.end_session(digest)
    if user is not None:
        record_act(_caller(user), "user.log_out", target=("user", user.name))


def shown(user: User) -> dict[str, Any]:
    """Return a user as callers read them, without what is kept of their password."""
    return {
        "name": user.name,
        "role": user.role,
        "created_at": user.created_at.isoformat(),
        "disabled_at": _iso(user.disabled_at),
        "last_login_at": _iso(user.last_login_at),
    }


def _caller(user: User) -> Caller:
    return Caller("user", user.name, reach((ROLES[user.role],)), origin="dashboard")


def _mark(user: User) -> str:
    return digest_of(user.password)[:16]


def _user(name: str) -> User:
    user = parts().users.read(name) if NAME.fullmatch(name) else None
    if user is None:
        raise UnknownUser(f"There is no user {name!r:.120}; `csai users ls` lists them.")
    return user


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidArgument(f"role: must be {', '.join(ROLES)}; got {role!r:.100}.")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
