"""Keys of the API: listed, made and revoked."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from dashboard.forms import once_in
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from processors.errors import InvalidArgument, UnknownKey
from processors.results import sentence_of
from services import api_keys
from services.access import SCOPES
from services.api_keys import NewKey

MOST_DAYS = 36_600
NOTHING_GIVEN = {"name": "", "scope": "read", "tenant": "", "days": ""}

pages = Pages()


@pages.get("/keys", "admin")
def keys(visit: Visit) -> Response:
    """List the keys, and ask for a new one."""
    return _page(visit, 200, NOTHING_GIVEN)


@pages.post("/keys", "admin")
def add(visit: Visit) -> Response:
    """Make a key, and show it: this once."""
    given = {name: visit.form.get(name, "").strip() for name in NOTHING_GIVEN}
    try:
        made = api_keys.add(visit.caller, _wanted(given), once_in(visit.form))
    except InvalidArgument as error:
        return _page(visit, 422, given, str(error))
    return _page(visit, 201, NOTHING_GIVEN, made=made)


@pages.get("/keys/{key_id}/revoke", "admin")
def ask(visit: Visit) -> Response:
    """Ask whether a key is to be revoked."""
    key = next((one for one in api_keys.listed() if one["id"] == visit.part("key_id")), None)
    if key is None:
        raise UnknownKey("There is no key with this id.")
    return page(
        visit,
        "confirm.html",
        title=f"Revoke 1 key: {key['name']}?",
        lines=[
            "Whoever uses it is refused within 5 s, for good.",
            f"It may {key['scopes'][-1]}; its id is {key['id']}.",
        ],
        button=f"Revoke {key['name']}",
        loses=True,
        fields={},
        back="/keys",
    )


@pages.post("/keys/{key_id}/revoke", "admin")
def revoke(visit: Visit) -> Response:
    """Revoke a key."""
    ended = api_keys.revoke(visit.caller, visit.part("key_id"))
    return go_to(visit, "/keys", f"The key {ended['name']} is revoked.")


def _wanted(given: dict[str, str]) -> NewKey:
    """Return the key that a form asks for.

    Raises:
        InvalidArgument: there can be none like it.
    """
    days = given["days"]
    if days and not (days.isascii() and days.isdecimal() and 1 <= int(days[:9]) <= MOST_DAYS):
        raise InvalidArgument(f"days: must be 1 to {MOST_DAYS}, or nothing.")
    wanted: dict[str, Any] = {
        "name": given["name"],
        "scopes": [given["scope"]],
        "tenant": given["tenant"] or None,
        "expires_at": datetime.now(UTC) + timedelta(days=int(days)) if days else None,
    }
    try:
        return NewKey.model_validate(wanted)
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error


def _page(
    visit: Visit, status: int, given: dict[str, str], wrong: str = "", made: dict[str, Any] | None = None
) -> Response:
    now = datetime.now(UTC)
    found = [one | {"state": _state(one, now)} for one in api_keys.listed()]
    return page(visit, "keys.html", status, keys=found, given=given, wrong=wrong, made=made, scopes=SCOPES)


def _state(key: dict[str, Any], now: datetime) -> str:
    if key["revoked_at"]:
        return "revoked"
    ended = key["expires_at"] is not None and datetime.fromisoformat(key["expires_at"]) <= now
    return "expired" if ended else "good"
