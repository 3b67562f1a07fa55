"""What AI calls took: calls, tokens and cost, by day, provider, model, kind or tenant."""

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from processors.ai_usage import PARTS
from services.celery_service import celery_service

DAYS = {"1": "today", "7": "7 days", "30": "30 days", "365": "a year"}
USUAL = "7"
USUAL_PARTS = ["day", "provider", "model"]

pages = Pages()


@pages.get("/usage", "read")
def usage(visit: Visit) -> Response:
    """Report what was used."""
    days = visit.asked("days") if visit.asked("days") in DAYS else USUAL
    asked = visit.request.query_params.getlist("by")
    by = [part for part in PARTS if part in asked] or USUAL_PARTS
    lines = celery_service.get_ai_usage(int(days), by)
    return page(visit, "usage.html", lines=lines, by=by, days=days, spans=DAYS, parts=PARTS, sums=_sums(lines))


def _sums(lines: list[dict[str, object]]) -> dict[str, float]:
    """Return what was paid, by currency."""
    found: dict[str, float] = {}
    for line in lines:
        currency, cost = line["currency"], line["cost"]
        found[str(currency)] = found.get(str(currency), 0.0) + float(str(cost))
    return found
