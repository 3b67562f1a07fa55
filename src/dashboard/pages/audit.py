"""Who did what."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.searches import moment_in
from dashboard.visits import Pages, Visit
from records.audit import WantedActs
from services import audit

ROWS = 100
LONGEST = 500
FILTERS = ("actor", "act", "target_kind", "target_id")
MOMENTS = ("at_from", "at_before")

pages = Pages()


@pages.get("/audit", "admin")
def acts(visit: Visit) -> Response:
    """List what was done, the newest first."""
    wanted = {name: visit.asked(name).strip()[:LONGEST].replace("\0", "") for name in FILTERS}
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
    moments: dict[str, Any] = {
        name: moment_in(name, visit.asked(name)).replace(microsecond=0) for name in MOMENTS if visit.asked(name)
    }
    found = audit.page(WantedActs(**given, **moments), ROWS, visit.asked("after") or None)
    after = found["next_cursor"]
    asked = given | {name: value.replace(tzinfo=None).isoformat() for name, value in moments.items()}
    following = after and f"/audit?{urlencode({**asked, 'after': after})}"
    shown = wanted | {name: asked.get(name, "") for name in MOMENTS}
    return page(visit, "audit.html", acts=found["items"], wanted=shown, filtered=bool(asked), following=following)
