"""People who use the dashboard: listed, made, given a role or a new password, and kept out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from dashboard.forms import once_in
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from processors.errors import InvalidArgument, UnknownUser
from services import passwords, users
from services.users import ROLES

NOTHING_GIVEN = {"name": "", "role": "viewer"}

pages = Pages()


@dataclass(frozen=True, slots=True)
class UserAct:
    """What can be done to a user.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        act: does it, and leads on.
        fits: tells whether there is anything to be done.
        loses: whether they lose something by it.
    """

    verb: str
    what: str
    act: Callable[[Visit, str], Response]
    fits: Callable[[dict[str, Any]], bool]
    loses: bool = False


def _set_role(role: str, visit: Visit, name: str) -> Response:
    users.set_role(visit.caller, name, role)
    return go_to(visit, "/users", f"{name} is {role} from the next request on.")


def _set_password(visit: Visit, name: str) -> Response:
    password = passwords.generated()
    users.set_password(visit.caller, name, password, visit.form.get("former", ""))
    return _page(visit, 200, NOTHING_GIVEN, told=(name, password))


def _disable(visit: Visit, name: str) -> Response:
    users.disable(visit.caller, name)
    return go_to(visit, "/users", f"{name} is kept out.")


def _enable(visit: Visit, name: str) -> Response:
    users.enable(visit.caller, name)
    return go_to(visit, "/users", f"{name} may log in again.")


def _has_other_role(role: str, user: dict[str, Any]) -> bool:
    return user["role"] != role


ACTS = {
    **{
        role: UserAct(
            f"Make {role}",
            f"They may {scope}, with all that those roles may that come before, from their next request on.",
            partial(_set_role, role),
            partial(_has_other_role, role),
        )
        for role, scope in ROLES.items()
    },
    "password": UserAct(
        "New password",
        "A password is made and shown once. The old one is worth nothing then, and all their sessions end.",
        _set_password,
        lambda _: True,
        loses=True,
    ),
    "disable": UserAct(
        "Disable",
        "All their sessions end, and they cannot log in.",
        _disable,
        lambda one: not one["disabled_at"],
        loses=True,
    ),
    "enable": UserAct("Enable", "They may log in again.", _enable, lambda one: bool(one["disabled_at"])),
}


@pages.get("/users", "admin")
def listed(visit: Visit) -> Response:
    """List the users, and ask for a new one."""
    return _page(visit, 200, NOTHING_GIVEN)


@pages.post("/users", "admin")
def add(visit: Visit) -> Response:
    """Make a user, and show the password: this once."""
    given = {name: visit.form.get(name, "").strip() for name in NOTHING_GIVEN}
    password = passwords.generated()
    try:
        made = users.add(visit.caller, given["name"], given["role"], password, once_in(visit.form))
    except InvalidArgument as error:
        return _page(visit, 422, given, str(error))
    return _page(visit, 201, NOTHING_GIVEN, told=(made["name"], password))


def ask(act_name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a user."""
    act, user = ACTS[act_name], _user(visit)
    _refuse_oneself(visit, user["name"])
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb}, 1 user: {user['name']}?",
        lines=[act.what, f"They are {user['role']} now{', and kept out' if user['disabled_at'] else ''}."],
        button=f"{act.verb}: {user['name']}",
        loses=act.loses,
        fields={"former": users.password_mark(user["name"])} if act_name == "password" else {},
        back="/users",
    )


def do(act_name: str, visit: Visit) -> Response:
    """Do it."""
    name = _user(visit)["name"]
    _refuse_oneself(visit, name)
    return ACTS[act_name].act(visit, name)


for one in ACTS:
    pages.add("GET", f"/users/{{user}}/{one}", "admin", partial(ask, one))
    pages.add("POST", f"/users/{{user}}/{one}", "admin", partial(do, one))


def _refuse_oneself(visit: Visit, name: str) -> None:
    """Refuse what could leave the service without an admin.

    Raises:
        InvalidArgument: that is who asks.
    """
    if name == visit.caller.name:
        raise InvalidArgument("That is you: another admin can do it, or `csai users` in a terminal.")


def _user(visit: Visit) -> dict[str, Any]:
    user = next((one for one in users.listed() if one["name"] == visit.part("user")), None)
    if user is None:
        raise UnknownUser(f"There is no user {visit.part('user')!r:.120}.")
    return user


def _page(
    visit: Visit, status: int, given: dict[str, str], wrong: str = "", told: tuple[str, str] | None = None
) -> Response:
    found = [one | {"is_me": one["name"] == visit.caller.name} for one in users.listed()]
    return page(
        visit, "users.html", status, users=found, given=given, wrong=wrong, told=told, roles=list(ROLES), acts=ACTS
    )
