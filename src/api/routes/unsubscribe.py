"""Unsubscribing with one click (RFC 8058): a page for people, whose button does what mailboxes do themselves.

Both are open: the token in the address is the right to do it. To look changes nothing, because scanners follow links.
"""

from html import escape
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import HTMLResponse

from api.documents import problems
from api.guards import GuardedRoute, everybody
from processors.unsubscribing import PATH, Subscription
from services import mail_intake
from services.wiring import parts

ADDRESS = PATH + "{token}"
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
{form}</html>
"""
FORM = """\
<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button>Unsubscribe</button>
</form>
"""

Token = Annotated[str, Path(description="The right to do it, as the mail has it.")]
ANSWERS = problems(HTTPStatus.SERVICE_UNAVAILABLE) | {
    200: {"content": {"text/html": {"example": "<!doctype html>…"}}, "description": "A page for people."}
}

router = APIRouter(tags=["mail"], route_class=GuardedRoute, dependencies=[everybody()])


@router.head(ADDRESS, include_in_schema=False)
@router.get(ADDRESS, operation_id="ask_to_unsubscribe", response_class=HTMLResponse, responses=ANSWERS)
def look(token: Token) -> Response:
    """Show who would leave what."""
    who = _subscription(token)
    return _page("Unsubscribe?", f"{who.address} will get no more {_mail(who)} from us.", FORM)


@router.post(ADDRESS, operation_id="unsubscribe", response_class=HTMLResponse, responses=ANSWERS)
def unsubscribe(token: Token) -> Response:
    """Unsubscribe at once, with no key, cookie or question; the body is RFC 8058's or the page's, and says no more."""
    who = _subscription(token)
    mail_intake.unsubscribe(who)
    return _page("Unsubscribed", f"{who.address} gets no more {_mail(who)} from us.")


def _subscription(token: str) -> Subscription:
    who = parts().unsubscribing.read(token)
    if who is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "This is no address to unsubscribe: it is not whole, or not ours.")
    return who


def _mail(who: Subscription) -> str:
    return "mail" if who.list_name is None else f"mail of the list {who.list_name}"


def _page(title: str, text: str, form: str = "") -> Response:
    return HTMLResponse(PAGE.format(title=escape(title), text=escape(text), form=form))
