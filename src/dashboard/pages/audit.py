"""Who did what."""

import re
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.responses import Response

from dashboard.rendering import page
from dashboard.visits import Pages, Visit
from processors.errors import InvalidArgument
from records.audit import WantedActs
from services import audit

ROWS = 100
LONGEST = 500
FILTERS = ("actor", "act", "target_kind", "target_id")
PLACE = re.compile(r"([0-9T:.+-]{1,40}),([0-9]{1,18})")

pages = Pages()


@pages.get("/audit", "admin")
def acts(visit: Visit) -> Response:
    """List what was done, the newest first."""
    wanted = {name: visit.asked(name).strip()[:LONGEST].replace("\0", "") for name in FILTERS}
    given = {name: value for name, value in wanted.items() if value}
    rows = audit.acts(WantedActs(**given), ROWS + 1, _place(visit.asked("after")))
    following = None
    if len(rows) > ROWS:
        last = rows[ROWS - 1]
        following = f"/audit?{urlencode({**given, 'after': f'{last.at.isoformat()},{last.id}'})}"
    shown = [audit.shown(row) for row in rows[:ROWS]]
    return page(visit, "audit.html", acts=shown, wanted=wanted, filtered=bool(given), following=following)


def _place(after: str) -> tuple[datetime, int] | None:
    """Return where the page before ended.

    Raises:
        InvalidArgument: that is no place.
    """
    if not after:
        return None
    found = PLACE.fullmatch(after)
    try:
        at = datetime.fromisoformat(found[1]).astimezone(UTC) if found else None
    except (ValueError, OverflowError):
        at = None
    if found is None or at is None:
        raise InvalidArgument("after: must be what the link to older acts says.")
    return at, int(found[2])
