"""Views of the task list that people of the dashboard save: a name for what an address asks for."""

from processors.errors import InvalidArgument, UnknownView
from records.saved_views import MOST
from services.access import Caller
from services.audit import record_act
from services.wiring import parts

LONGEST_NAME = 100
LONGEST_QUERY = 8_000


def listed(caller: Caller) -> dict[str, str]:
    """Return what the views of who asks ask for, by name."""
    return parts().views.of(caller.name)


def save(caller: Caller, name: str, query: str) -> bool:
    """Keep a view, instead of the one with its name; tells whether there was one that asked for something else.

    Raises:
        InvalidArgument: the name cannot be one, the view asks for too much, or there are too many.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidArgument(f"name: must be 1 to {LONGEST_NAME} letters, figures and signs in one line.")
    if len(query) > LONGEST_QUERY:
        raise InvalidArgument(f"view: must ask for at most {LONGEST_QUERY} characters.")
    former = listed(caller).get(name, query)
    if not parts().views.save(caller.name, name, query):
        raise InvalidArgument(f"view: there are {MOST} others, which are the most; remove one.")
    record_act(caller, "view.save", target=("view", name))
    return former != query


def remove(caller: Caller, name: str) -> None:
    """Remove a view.

    Raises:
        UnknownView: there is none.
    """
    if not parts().views.remove(caller.name, name):
        raise UnknownView(f"You have saved no view {name!r:.120}.")
    record_act(caller, "view.remove", target=("view", name))
