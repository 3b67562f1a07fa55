"""`csai contacts`: how people are reached."""

import json
import sys
from typing import Annotated, Any

import typer

from cli.commands.submit import parse
from services.celery_service import celery_service

User = Annotated[str, typer.Argument(help="Your name for the person.")]
Text = str | None
AS_JSON = "JSON, or @file with JSON"


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How people are reached by notifications.", no_args_is_help=True)
    group.command("show")(show)
    group.command("set")(change)
    group.command("delete")(delete)
    root.add_typer(group, name="contacts")


def show(user_id: User) -> None:
    """Show how a person is reached, with secrets masked; exit code 1 where nobody knows."""
    found = celery_service.get_contact(user_id)
    if found is None:
        print(f"Nobody knows how {user_id} is reached.", file=sys.stderr)
        sys.exit(1)
    _print(found)


def change(  # noqa: PLR0913, PLR0917 - one per field
    user_id: User,
    email: Annotated[Text, typer.Option(help="One address.")] = None,
    phone: Annotated[Text, typer.Option(help="E.164, such as +491701234567.")] = None,
    push: Annotated[Text, typer.Option(help=f"Web push subscriptions: {AS_JSON}.")] = None,
    chat: Annotated[Text, typer.Option(help=f"Apprise URLs, which are secrets: {AS_JSON}.")] = None,
    time_zone: Annotated[Text, typer.Option(help="An IANA name.")] = None,
    language: Annotated[Text, typer.Option(help="A code of BCP 47.")] = None,
    quiet_hours: Annotated[Text, typer.Option(help=f'{{"from": "22:00", "to": "07:00"}}: {AS_JSON}.')] = None,
    preferences: Annotated[Text, typer.Option(help=f"What the person wants to be told: {AS_JSON}.")] = None,
) -> None:
    """Say how a person is reached. What is left out stays; an empty text, list or object removes a field."""
    lists = {"push": push, "chat": chat}
    objects = {"quiet_hours": quiet_hours, "preferences": preferences}
    given: dict[str, Any] = {"email": email, "phone": phone, "time_zone": time_zone, "language": language}
    given |= {name: parse(name, list, value) for name, value in lists.items()}
    given |= {name: parse(name, dict, value) for name, value in objects.items()}
    _print(celery_service.set_contact(user_id, **given))


def delete(user_id: User) -> None:
    """Remove what was set of a person."""
    done = celery_service.delete_contact(user_id)
    print(f"What was set of {user_id} is removed." if done else f"Nothing was set of {user_id}.")


def _print(contact: dict[str, Any]) -> None:
    print(json.dumps(contact, indent=2, ensure_ascii=False))
