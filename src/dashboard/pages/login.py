"""Logging in and out, and the files that every page needs."""

from starlette.responses import Response

from dashboard import cookies
from dashboard.logins import Logins
from dashboard.rendering import STATIC, go_to, page, static_files
from dashboard.visits import Pages, Visit, own_path
from records.users import LONGEST_SESSION_SECONDS
from services import users
from web.buckets import Taken
from web.origins import address_of

MOST_BYTES = 16_000
LONGEST_NAME = 100
WRONG = "There is no such user, or that is not their password."

pages = Pages()


@pages.get("/login", None)
def login(visit: Visit) -> Response:
    """Ask for name and password."""
    if visit.logged_in is not None:
        return go_to(visit, _goes_on(visit, visit.asked("next")))
    return _form(visit, 200, "", visit.asked("next"))


@pages.post("/login", None, most=MOST_BYTES, blind=True)
async def log_in(visit: Visit) -> Response:
    """Begin a session; the form is a visitor's, also where another tab has logged in since it was shown."""
    request, wanted = visit.request, visit.form.get("next", "")
    name = visit.form.get("name", "").strip().lower()[:LONGEST_NAME]
    logins: Logins = request.app.state.logins
    former = cookies.read(request, cookies.SESSION) or None
    token = await logins.log_in(address_of(request), name, visit.form.get("password", ""), former)
    if token is None:
        return _form(visit, 403, WRONG, wanted, name)
    if isinstance(token, Taken):
        answer = _form(visit, 429, f"Too many tries; try again in {token.seconds} s.", wanted, name)
        answer.headers["Retry-After"] = str(token.seconds)
        return answer
    answer = go_to(visit, _goes_on(visit, wanted))
    cookies.write(answer, request, cookies.SESSION, token, LONGEST_SESSION_SECONDS)
    return answer


@pages.post("/logout", "read")
def log_out(visit: Visit) -> Response:
    """End the session."""
    users.log_out(cookies.read(visit.request, cookies.SESSION))
    answer = go_to(visit, "/login")
    cookies.remove(answer, visit.request, cookies.SESSION)
    return answer


@pages.get(f"{STATIC}{{name}}", None, blind=True)
def static_file(visit: Visit) -> Response:
    """Return a file that pages need."""
    return static_files().answer(visit.part("name"), visit.request)


def _goes_on(visit: Visit, wanted: str) -> str:
    """Return where to go after the login: a page of this site that can be looked at, or the first one."""
    path = own_path(wanted)
    looked_at = (one for one in visit.request.app.routes if "GET" in one.methods)
    return path if any(one.path_regex.match(path.partition("?")[0]) for one in looked_at) else "/"


def _form(visit: Visit, status: int, wrong: str, wanted: str, name: str = "") -> Response:
    return page(visit, "login.html", status, wrong=wrong, wanted=own_path(wanted), name=name)
