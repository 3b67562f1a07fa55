"""Workers: which live, and what each runs."""

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from services.worker_list import living_workers

pages = Pages()


@pages.get("/workers", "read")
def workers(visit: Visit) -> Response:
    """List the working processes that live."""
    return page(visit, "workers.html", workers=living_workers())
