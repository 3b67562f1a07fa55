"""The outbox: mail that was written into files instead of sent, as those who would get it would see it."""

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from dashboard.rendering import FRAMES, HEADERS, framed_page, page
from dashboard.visits import Pages, Visit
from processors.attachments import UNKNOWN_TYPE
from services import monitoring, outbox
from services.outbox import Mail
from web.downloads import HARMLESS, disposition

ROWS = 50

pages = Pages()


@pages.get("/outbox", "read")
def mails(visit: Visit) -> Response:
    """List the newest mails."""
    rows, last = outbox.listed(ROWS, visit.asked("before"))
    older = last and f"/outbox?before={last}"
    return page(visit, "outbox.html", mails=rows, goes=monitoring.mail(), older=older, first=not visit.asked("before"))


@pages.get("/outbox/{mail_id}", "operate")
def mail(visit: Visit) -> Response:
    """Show a mail: its header, its text, its page in a frame, and what is enclosed."""
    found = _mail(visit)
    return page(visit, "mail.html", headers=FRAMES, mail=found)


@pages.get("/outbox/{mail_id}/page", "operate")
def framed(visit: Visit) -> Response:
    """Return the page that a mail has, for the frame."""
    found = _mail(visit)
    if found.html is None:
        raise HTTPException(404, "The mail has no page.")
    return framed_page(found.html)


@pages.get("/outbox/{mail_id}/parts/{number}", "operate")
def part(visit: Visit) -> Response:
    """Return what is enclosed, to be saved."""
    number, found = visit.part("number"), _mail(visit).parts
    if not (number.isascii() and number.isdecimal() and int(number[:6]) < len(found)):
        raise HTTPException(404, "The mail has no such part.")
    one = found[int(number[:6])]
    kind = one.type if one.type in HARMLESS else UNKNOWN_TYPE
    return Response(one.content, 200, {**HEADERS, "Content-Disposition": disposition(one.name, f"part-{number}")}, kind)


@pages.get("/outbox/{mail_id}/source", "operate")
def source(visit: Visit) -> Response:
    """Return a mail as it was written, to be saved."""
    path = outbox.path_of(visit.part("mail_id"))
    if path is None:
        raise HTTPException(404, "There is no such mail.")
    headers = {**HEADERS, "Content-Disposition": disposition(path.name, "mail.eml")}
    return FileResponse(path, headers=headers, media_type=UNKNOWN_TYPE)


def _mail(visit: Visit) -> Mail:
    found = outbox.mail(visit.part("mail_id"))
    if found is None:
        raise HTTPException(404, "There is no such mail.")
    return found
