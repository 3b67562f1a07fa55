"""Workers: which live, what each runs, and which died lately."""

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from services.worker_list import dead_workers, living_workers

pages = Pages()


@pages.get("/workers", "read")
def workers(visit: Visit) -> Response:
    """List the working processes that live, and those that died."""
    return page(visit, "workers.html", workers=living_workers(), dead=dead_workers())
