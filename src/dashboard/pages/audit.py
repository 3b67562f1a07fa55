"""Who did what."""

from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from records.audit import WantedActs
from services import audit

ROWS = 100
LONGEST = 500
FILTERS = ("actor", "act", "target_kind", "target_id")

pages = Pages()


@pages.get("/audit", "admin")
def acts(visit: Visit) -> Response:
    """List what was done, the newest first."""
    wanted = {name: visit.asked(name).strip()[:LONGEST].replace("\0", "") for name in FILTERS}
    given = {name: value for name, value in wanted.items() if value}
    found = audit.page(WantedActs(**given), ROWS, visit.asked("after") or None)
    after = found["next_cursor"]
    following = after and f"/audit?{urlencode({**given, 'after': after})}"
    return page(visit, "audit.html", acts=found["items"], wanted=wanted, filtered=bool(given), following=following)
