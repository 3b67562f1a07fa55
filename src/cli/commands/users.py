"""`csai users`: who may use the dashboard."""

import sys
from getpass import getpass
from typing import Annotated, Any

import typer

from cli.exit_codes import TOLD
from cli.output import AsJson, local, print_json, print_table, say
from processors.errors import InvalidArgument
from services import passwords, users
from services.access import at_terminal
from services.users import ROLES

Ask = Annotated[bool, typer.Option("--ask", help="Type the password, or give it as a line of input; else one is made.")]
Name = Annotated[str, typer.Argument(help="The user's name.")]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Who may use the dashboard, and as what.", no_args_is_help=True, epilog=TOLD)
    group.command("add")(add)
    group.command("ls")(show)
    group.command("set-role")(set_role)
    group.command("set-password")(set_password)
    group.command("disable")(disable)
    group.command("enable")(enable)
    root.add_typer(group, name="users")


def add(
    name: Name,
    role: Annotated[str, typer.Option(help=f"{', '.join(ROLES)}; each may do what those before it may.")] = "viewer",
    ask: Ask = False,
    as_json: AsJson = False,
) -> None:
    """Make a user, and print the password that was made for them, this once."""
    password = _asked() if ask else passwords.generated()
    _print_password(users.add(at_terminal(), name, role, password), None if ask else password, as_json=as_json)


def show(as_json: AsJson = False) -> None:
    """List the users, those that are disabled too."""
    found = users.listed()
    if as_json:
        print_json(found)
        return
    rows = [(one["name"], one["role"], _state(one), local(one["last_login_at"])) for one in found]
    columns = ("name", "role", "state", "last login")
    print_table(columns, rows, nothing="There is no user: `csai users add NAME --role admin` makes one.")


def set_role(name: Name, role: Annotated[str, typer.Argument(help=", ".join(ROLES))], as_json: AsJson = False) -> None:
    """Let a user do what this role may, from their next request on."""
    _tell(users.set_role(at_terminal(), name, role), f"is {role}", as_json=as_json)


def set_password(name: Name, ask: Ask = False, as_json: AsJson = False) -> None:
    """Replace a password, also one that was lost; all sessions of the user end."""
    password = _asked() if ask else passwords.generated()
    changed = users.set_password(at_terminal(), name, password)
    _print_password(changed, None if ask else password, as_json=as_json)


def disable(name: Name, as_json: AsJson = False) -> None:
    """Keep a user out; all their sessions end."""
    _tell(users.disable(at_terminal(), name), "is disabled", as_json=as_json)


def enable(name: Name, as_json: AsJson = False) -> None:
    """Let a user in again."""
    _tell(users.enable(at_terminal(), name), "may log in", as_json=as_json)


def _asked() -> str:
    """Return a password that is typed, twice, or comes as a line where that is no terminal."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass("Password: ")
    if getpass("Once more: ") != password:
        raise InvalidArgument("The two passwords differ; nothing was changed.")
    return password


def _print_password(user: dict[str, Any], password: str | None, *, as_json: bool) -> None:
    """Print the password, if it was made here, and nothing else where a program reads it."""
    if as_json:
        print_json(user | ({} if password is None else {"password": password}))
    elif password is None:
        print(f"The password of {user['name']} ({user['role']}) is set.")
    else:
        print(password)
        say(f"That is the password of {user['name']} ({user['role']}); it is shown this once.")


def _tell(user: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        print(f"The user {user['name']} {what}.")


def _state(user: dict[str, Any]) -> str:
    return f"disabled {local(user['disabled_at'])}" if user["disabled_at"] else "good"
