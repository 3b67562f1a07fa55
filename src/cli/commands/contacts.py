"""`csai contacts`: how people are reached."""

from typing import Annotated, Any

import typer

from cli.acts import change as change_and_tell
from cli.acts import note
from cli.exit_codes import NOT_FOUND
from cli.given import JSON_FORMS, list_of, object_of
from cli.output import AsJson, print_json, say
from services.celery_service import celery_service

User = Annotated[str, typer.Argument(help="Your name for the person.")]
Text = str | None


def register(root: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="How people are reached by notifications.", no_args_is_help=True)
    group.command("show")(show)
    group.command("set")(change)
    group.command("delete")(delete)
    root.add_typer(group, name="contacts")


def show(user_id: User, _as_json: AsJson = False) -> None:
    """Show how a person is reached, as JSON in any case, with secrets masked."""
    found = celery_service.get_contact(user_id)
    if found is None:
        say(f"Nobody knows how {user_id} is reached.")
        raise typer.Exit(NOT_FOUND)
    print_json(found)


def change(  # noqa: PLR0913, PLR0917 - one per field
    user_id: User,
    email: Annotated[Text, typer.Option(help="One address.")] = None,
    phone: Annotated[Text, typer.Option(help="E.164, such as +491701234567.")] = None,
    push: Annotated[Text, typer.Option(help=f"Web push subscriptions: {JSON_FORMS}.")] = None,
    chat: Annotated[Text, typer.Option(help=f"Apprise URLs, which are secrets: {JSON_FORMS}.")] = None,
    time_zone: Annotated[Text, typer.Option(help="An IANA name.")] = None,
    language: Annotated[Text, typer.Option(help="A code of BCP 47.")] = None,
    quiet_hours: Annotated[Text, typer.Option(help=f'{{"from": "22:00", "to": "07:00"}}: {JSON_FORMS}.')] = None,
    preferences: Annotated[Text, typer.Option(help=f"What the person wants to be told: {JSON_FORMS}.")] = None,
    _as_json: AsJson = False,
) -> None:
    """Say how a person is reached. What is left out stays; an empty text, list or object removes a field."""
    given: dict[str, Any] = {
        "email": email,
        "phone": phone,
        "time_zone": time_zone,
        "language": language,
        "push": list_of("push", push),
        "chat": list_of("chat", chat),
        "quiet_hours": object_of("quiet_hours", quiet_hours),
        "preferences": object_of("preferences", preferences),
    }
    made = celery_service.set_contact(user_id, **given)
    fields = sorted(name for name, value in given.items() if value is not None)
    note("contact.set", ("person", user_id), details={"fields": fields})
    print_json(made)


def delete(user_id: User, as_json: AsJson = False) -> None:
    """Remove what was set of a person."""
    change_and_tell(
        "contact.delete",
        ("person", user_id),
        lambda: celery_service.delete_contact(user_id),
        f"What was set of {user_id} is removed.",
        f"Nothing was set of {user_id}.",
        as_json=as_json,
    )
