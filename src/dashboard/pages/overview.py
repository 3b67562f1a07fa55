"""The first page: whether all is well, what waits and runs, and what came and ended lately."""

from starlette.responses import Response

from dashboard import figures, plots
from dashboard.rendering import as_json, page
from dashboard.visits import Pages, Visit
from processors.errors import ServiceUnavailable
from services.worker_list import living_workers

SPANS = {"1": "1 hour", "6": "6 hours", "24": "24 hours", "168": "7 days"}
USUAL = "1"
PATIENCE_SECONDS = 10.0

pages = Pages()


@pages.get("/", "read")
def overview(visit: Visit) -> Response:
    """Show health, sums and queues, and how much each queue did."""
    hours = _hours(visit)
    return page(
        visit,
        "overview.html",
        statistics=figures.queues(),
        workers=living_workers(),
        health=figures.health().value(),
        past=figures.past(float(hours)).value(),
        hours=hours,
        spans=SPANS,
    )


@pages.get("/plots", "read")
def lines(visit: Visit) -> Response:
    """Return what the plots show, as columns."""
    past = figures.past(float(_hours(visit))).value(PATIENCE_SECONDS)
    if past is None:
        raise ServiceUnavailable("What came and ended lately cannot be counted now.")
    return as_json(plots.columns(past))


def _hours(visit: Visit) -> str:
    hours = visit.asked("hours")
    return hours if hours in SPANS else USUAL
