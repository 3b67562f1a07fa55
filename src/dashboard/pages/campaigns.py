"""Campaigns of calls: how each stands, whom it calls, and pausing, resuming and cancelling it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import go_to, page
from dashboard.visits import Pages, Visit
from dashboard.words import number, segment
from processors.phone_numbers import masked
from services import acts, campaigns
from services.access import Caller
from services.parent_progress import CAMPAIGN, PENDING
from services.task_filters import filter_of
from services.task_queries import find_tasks
from services.wiring import parts
from web.task_answers import FINAL_NAMES, shown_status

ROWS = 50
LOOKS = {"done": "good", PENDING: "wait", **dict.fromkeys(("failed", "exhausted", "invalid", "ambiguous"), "bad")}
"""Of a member by its state; any other one was left out or stopped."""

LONGEST_POSITION = 9

pages = Pages()


@dataclass(frozen=True, slots=True)
class CampaignAct:
    """What can be done to a campaign.

    Attributes:
        verb: what the button says.
        what: what comes of it.
        change: does it; False where that changes nothing.
        loses: whether members are not called by it.
    """

    verb: str
    what: str
    change: Callable[[Caller, str], bool]
    loses: bool = False


ACTS = {
    "pause": CampaignAct(
        "Pause",
        "Nobody else is called until it is resumed; calls that are going on go on.",
        acts.pause_campaign,
    ),
    "resume": CampaignAct("Resume", "It goes on.", acts.resume_campaign),
    "cancel": CampaignAct(
        "Cancel",
        "Nobody is called any more, for good, and what rings is ended; who has answered may go on talking.",
        acts.cancel_campaign,
        loses=True,
    ),
    "hang-up": CampaignAct(
        "Cancel and hang up",
        "Nobody is called any more, for good, and all calls are ended, those too that somebody has answered.",
        partial(acts.cancel_campaign, hang_up=True),
        loses=True,
    ),
}


@pages.get("/campaigns", "read")
def listed(visit: Visit) -> Response:
    """List the campaigns, the newest first."""
    cursor = visit.asked("cursor")
    found = find_tasks(filter_of(name=CAMPAIGN), cursor or None, ROWS, wall=visit.caller.tenant)
    older = found["next_cursor"] and f"/campaigns?{urlencode({'cursor': found['next_cursor']})}"
    rows = [one | {"paused": _is_paused(one["task_id"], one["status"])} for one in found["items"]]
    return page(visit, "campaigns.html", campaigns=rows, older=older, first=not cursor)


@pages.get("/campaigns/{campaign_id}", "read")
def campaign(visit: Visit) -> Response:
    """Show how a campaign stands, and its members, of one state or all."""
    state, after = visit.asked("state"), _position(visit.asked("after"))
    found = _campaign(visit, after, ROWS + 1, state or None)
    rows = found["members"][:ROWS]
    whole = visit.may("operate")
    members = [one if whole else one | {"phone_number": masked(one["phone_number"])} for one in rows]
    following = {"after": rows[-1]["position"]} | ({"state": state} if state else {}) if rows else {}
    return page(
        visit,
        "campaign.html",
        campaign=found,
        final=found["status"] in FINAL_NAMES,
        paused=_is_paused(found["campaign_id"], found["status"]),
        members=members,
        following=len(found["members"]) > ROWS and f"{_path(visit)}?{urlencode(following)}",
        first=after < 0,
        state=state,
        acts=ACTS,
        looks=LOOKS,
    )


def ask(name: str, visit: Visit) -> Response:
    """Ask whether this is to be done to a campaign, naming how many of its members it concerns."""
    act, found = ACTS[name], _campaign(visit)
    left = _members(found["counts"].get(PENDING, 0))
    lines = [
        f"It is the campaign {found['campaign_id']}.",
        act.what,
        f"Not ended: {number(found['counts'].get(PENDING, 0))} of its {_members(found['total'])}.",
        f"Calls that are going on: {number(found['live_calls'])}.",
    ]
    return page(
        visit,
        "confirm.html",
        title=f"{act.verb}: {left}?",
        lines=lines,
        button=f"{act.verb}: {left}",
        loses=act.loses,
        fields={},
        back=_path(visit),
    )


def do(name: str, visit: Visit) -> Response:
    """Do it."""
    act, found = ACTS[name], _campaign(visit)
    changed = act.change(visit.caller, found["campaign_id"])
    said = f"{act.verb}: it is done." if changed else "That was so before: nothing was changed."
    return go_to(visit, _path(visit), said)


for one in ACTS:
    pages.add("GET", f"/campaigns/{{campaign_id}}/{one}", "operate", partial(ask, one))
    pages.add("POST", f"/campaigns/{{campaign_id}}/{one}", "operate", partial(do, one))


def _campaign(visit: Visit, after: int = -1, limit: int = 0, state: str | None = None) -> dict[str, Any]:
    """Return how a campaign stands, with so many members.

    Raises:
        UnknownTask: there is none.
        InvalidArgument: that is no campaign.
    """
    campaign_id = visit.part("campaign_id")
    shown_status(campaign_id, visit.caller)
    return campaigns.get_campaign(campaign_id, after, limit, state)


def _is_paused(campaign_id: str, status: str) -> bool:
    if status in FINAL_NAMES:
        return False
    pause = parts().task_pauses.last(campaign_id)
    return pause is not None and pause.resumed_at is None


def _position(text: str) -> int:
    is_one = text.isascii() and text.isdecimal() and len(text) <= LONGEST_POSITION
    return int(text) if is_one else -1


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{number(count)} members"


def _path(visit: Visit) -> str:
    return f"/campaigns/{segment(visit.part('campaign_id'))}"
