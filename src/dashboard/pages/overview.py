"""The first page: whether all is well, what waits and what runs."""

from starlette.responses import Response

from dashboard import figures
from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from services.worker_list import living_workers

pages = Pages()


@pages.get("/", "read")
def overview(visit: Visit) -> Response:
    """Show health, sums and queues."""
    statistics, _ = figures.queues()
    health = figures.health().value()
    return page(visit, "overview.html", statistics=statistics, workers=living_workers(), health=health)
