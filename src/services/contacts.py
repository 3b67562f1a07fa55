"""Where people are reached: what was set here, and what a directory elsewhere adds to it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from processors.contacts import Channel, Contact, without
from processors.errors import InvalidArgument
from processors.results import sentence_of
from services.wiring import Parts, parts

FIELDS: dict[Channel, str] = {"push": "push", "sms": "phone", "chat": "chat"}
"""Which field of a contact has the endpoints of a channel that a carrier serves."""


class KnownContacts:
    """Fulfils `processors.contacts.Contacts`: what was set here wins, field by field, over the directory.

    Args:
        service: whose records and directory are asked.
    """

    def __init__(self, service: Parts) -> None:
        self._service = service

    def find(self, user_id: str) -> Contact | None:
        """Return all that is known of a person, or None; the directory is asked each time.

        Raises:
            TransientError: the directory does not answer now.
            PermanentError: what it answers is no contact.
        """
        stored = self._service.contacts.read(user_id)
        own = None if stored is None else Contact.model_validate(stored)
        directory = self._service.contact_directory
        theirs = None if directory is None else directory.find(user_id)
        return own.over(theirs) if own and theirs else own or theirs

    def drop(self, user_id: str, channel: Channel, endpoint: Mapping[str, Any]) -> None:
        """Forget an endpoint of what was set here; a directory's are the directory's."""
        if self._service.contacts.read(user_id) is not None:
            self._service.contacts.change(user_id, lambda known: without(known, channel, endpoint))


def set_contact(user_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change what was set of a person; returns it with its secrets masked.

    Args:
        user_id: whom.
        given: by field: None leaves it as it is, an empty text, list or dict removes it.

    Raises:
        InvalidArgument: no field was given, or one is not acceptable; nothing was changed.
    """
    said = {name: value for name, value in given.items() if value is not None}
    if not said:
        raise InvalidArgument(f"set_contact: give at least one of {', '.join(given)}; none was given.")
    removed = {name for name, value in said.items() if value in ("", [], {}, ())}
    try:
        changed = Contact.model_validate({name: value for name, value in said.items() if name not in removed})
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error
    _check_endpoints(changed)
    new = changed.stored()

    def change(known: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in (dict(known) | new).items() if name not in removed}

    return Contact.model_validate(parts().contacts.change(user_id, change)).shown()


def get_contact(user_id: str) -> dict[str, Any] | None:
    """Return what a notification would find of a person, with its secrets masked, or None."""
    found = KnownContacts(parts()).find(user_id)
    return None if found is None else found.shown()


def _check_endpoints(contact: Contact) -> None:
    """Refuse what the channel that is set here could not send to."""
    for channel, field in FIELDS.items():
        carrier = parts().carriers.get(channel)
        if carrier is None:
            continue
        for endpoint in contact.endpoints(channel):
            try:
                carrier.check(endpoint)
            except ValueError as error:
                raise InvalidArgument(f"{field}: {error}") from error
