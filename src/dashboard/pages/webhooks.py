"""Webhooks: who is told of the ends of tasks, made, tried, switched off and on, and removed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.responses import Response

from dashboard.forms import once_in
from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import number
from processors.errors import InvalidArgument, UnknownWebhook
from processors.results import sentence_of
from processors.webhooks import TASK
from services import task_acts, webhooks
from services.task_filters import filter_of
from services.webhooks import ChangedWebhook, NewWebhook, State

STATES = get_args(State)
NOTHING_GIVEN = {"url": "", "category": "", "name": "", "tenant": ""}

pages = Pages()


@dataclass(frozen=True, slots=True)
class WebhookAct:
    """What can be done to a webhook.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        act: does it, and says what came of it.
        fits: tells whether there is anything to be done.
        loses: whether something is not told by it.
    """

    verb: str
    what: str
    act: Callable[[Visit, str], str]
    fits: Callable[[dict[str, Any]], bool]
    loses: bool = False


def _test(visit: Visit, webhook_id: str) -> str:
    told = webhooks.test(visit.caller, webhook_id)
    return f"It took the test: {told['status']}." if told["delivered"] else f"It did not take the test: {told['error']}"


def _disable(visit: Visit, webhook_id: str) -> str:
    webhooks.change(visit.caller, webhook_id, ChangedWebhook(enabled=False))
    return "It is told nothing more."


def _enable(visit: Visit, webhook_id: str) -> str:
    webhooks.change(visit.caller, webhook_id, ChangedWebhook(enabled=True))
    return "It is told what ends from now on."


def _remove(visit: Visit, webhook_id: str) -> str:
    webhooks.remove(visit.caller, webhook_id)
    return "The webhook is removed."


ACTS = {
    "test": WebhookAct("Test", "It is sent a webhook.test at once.", _test, lambda _: True),
    "disable": WebhookAct(
        "Disable",
        "It is told nothing more, and what was still to be sent fails.",
        _disable,
        lambda one: not one["disabled_at"],
        loses=True,
    ),
    "enable": WebhookAct("Enable", "It is told what ends from now on.", _enable, lambda one: bool(one["disabled_at"])),
    "remove": WebhookAct(
        "Remove", "It is gone for good, and what was still to be sent fails.", _remove, lambda _: True, loses=True
    ),
}


@pages.get("/webhooks", "admin")
def listed(visit: Visit) -> Response:
    """List the webhooks, and ask for a new one."""
    return _page(visit, 200, NOTHING_GIVEN, STATES)


@pages.post("/webhooks", "admin")
def add(visit: Visit) -> Response:
    """Make a webhook, and show its secret: this once."""
    given = {name: visit.form.get(name, "").strip() for name in NOTHING_GIVEN}
    states = tuple(one for one in STATES if visit.form.get(f"state-{one}"))
    try:
        made = webhooks.add(visit.caller, _wanted(given, states), once_in(visit.form))
    except InvalidArgument as error:
        return _page(visit, 422, given, states, str(error))
    return _page(visit, 201, NOTHING_GIVEN, STATES, made=made)


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a webhook."""
    act, webhook = ACTS[name], _webhook(visit)
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb} 1 webhook: {webhook['url']}?",
        lines=[act.what, *([f"Still to be sent: {number(_unsent(webhook['id']))}."] if act.loses else [])],
        button=f"{act.verb} the webhook",
        loses=act.loses,
        fields={},
        back="/webhooks",
    )


def do(name: str, visit: Visit) -> Response:
    """Do it."""
    return go_to(visit, "/webhooks", ACTS[name].act(visit, visit.part("webhook_id")))


for one in ACTS:
    pages.add("GET", f"/webhooks/{{webhook_id}}/{one}", "admin", partial(ask, one))
    pages.add("POST", f"/webhooks/{{webhook_id}}/{one}", "admin", partial(do, one))


def _wanted(given: dict[str, str], states: tuple[str, ...]) -> NewWebhook:
    """Return the webhook that a form asks for.

    Raises:
        InvalidArgument: there can be none like it.
    """
    wanted = {name: value or None for name, value in given.items()}
    try:
        return NewWebhook.model_validate(wanted | {"url": given["url"], "states": list(states)})
    except ValidationError as error:
        raise InvalidArgument(sentence_of(error)) from error


def _webhook(visit: Visit) -> dict[str, Any]:
    webhook = next((one for one in webhooks.listed() if one["id"] == visit.part("webhook_id")), None)
    if webhook is None:
        raise UnknownWebhook(f"There is no webhook with the id {visit.part('webhook_id')!r:.100}.")
    return webhook


def _page(
    visit: Visit,
    status: int,
    given: dict[str, str],
    chosen: tuple[str, ...],
    wrong: str = "",
    made: dict[str, Any] | None = None,
) -> Response:
    found = [one | {"deliveries": _deliveries(one["id"])} for one in webhooks.listed()]
    return page(
        visit,
        "webhooks.html",
        status,
        webhooks=found,
        given=given,
        chosen=chosen,
        wrong=wrong,
        made=made,
        states=STATES,
        acts=ACTS,
    )


def _unsent(webhook_id: str) -> int:
    """Return how many tasks are still to tell this webhook of ends."""
    return task_acts.count_of("cancel", filter_of(name=TASK, text=webhook_id), None)


def _deliveries(webhook_id: str) -> str:
    """Return where the tasks are that tell this webhook of ends."""
    return f"/tasks?{urlencode({'name': TASK, 'text': webhook_id})}"
