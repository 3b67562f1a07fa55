"""Limits, which the page of queues lists: set, and forgotten again."""

from typing import Any

from starlette.responses import Response

from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import number
from processors.errors import InvalidArgument
from services import acts
from services.celery_service import celery_service

NOTHING_GIVEN = {"scope": "", "rate": "", "concurrency": ""}
LONGEST_NUMBER = 9

pages = Pages()


@pages.get("/limits", "operate")
def ask(visit: Visit) -> Response:
    """Ask how a limit is to be."""
    limit = _limit(visit.asked("scope"))
    given = NOTHING_GIVEN if limit is None else {name: str(limit[name]) for name in NOTHING_GIVEN}
    return page(visit, "limit.html", given=given, limit=limit, wrong="")


@pages.post("/limits", "operate")
def change(visit: Visit) -> Response:
    """Set a limit; what is left blank stays as it is."""
    given = {name: visit.form.get(name, "").strip() for name in NOTHING_GIVEN}
    scope, rate, text = given["scope"], given["rate"] or None, given["concurrency"]
    is_number = text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER
    concurrency = int(text) if is_number else text or None
    try:
        acts.set_limit(visit.caller, scope, rate, concurrency)
    except InvalidArgument as error:
        return page(visit, "limit.html", 422, given=given, limit=_limit(scope), wrong=str(error))
    return go_to(visit, "/queues", f"The limit of {scope} is set, from the next start on.")


@pages.get("/limits/clear", "operate")
def ask_clear(visit: Visit) -> Response:
    """Ask whether what was set is to be forgotten, naming how many tasks it concerns."""
    scope = visit.asked("scope")
    limit = _limit(scope)
    if limit is None:
        raise InvalidArgument(f"scope: nothing is limited by {scope!r:.120}.")
    return page(
        visit,
        "confirm.html",
        title=f"Clear 1 limit: {scope}?",
        lines=[
            "What was set here is forgotten: what the settings say holds then, or nothing.",
            f"Now: {limit['rate']} starts, {limit['concurrency']} at once."
            + ("" if limit["waiting"] is None else f" Tasks that wait for it: {number(limit['waiting'])}."),
        ],
        button=f"Clear the limit of {scope}",
        loses=True,
        fields={"scope": scope},
        back="/queues",
    )


@pages.post("/limits/clear", "operate")
def clear(visit: Visit) -> Response:
    """Forget what was set."""
    scope = visit.form.get("scope", "")
    acts.clear_limit(visit.caller, scope)
    return go_to(visit, "/queues", f"What was set for {scope} is forgotten.")


def _limit(scope: str) -> dict[str, Any] | None:
    return next((one for one in celery_service.get_limits() if one["scope"] == scope), None)
