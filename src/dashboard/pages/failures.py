"""What failed lately, by the like of it: the same task with the same error, each group submitted again at once."""

from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from services.failure_groups import failure_groups

SPANS = {"1": "1 hour", "24": "24 hours", "168": "7 days", "720": "30 days"}
USUAL = "24"

pages = Pages()


@pages.get("/failures", "read")
def failures(visit: Visit) -> Response:
    """List the groups, the largest first."""
    hours = visit.asked("hours")
    hours = hours if hours in SPANS else USUAL
    found = failure_groups(float(hours))
    groups = [one | {"query": urlencode(one["filter"])} for one in found["groups"]]
    return page(visit, "failures.html", groups=groups, partial=found["partial"], spans=SPANS, hours=hours)
