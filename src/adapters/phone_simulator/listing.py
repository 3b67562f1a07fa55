"""Lists of calls as Twilio gives them: filtered, the newest first, in pages that stay true while calls are added."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import dropwhile, islice
from typing import Any
from urllib.parse import urlencode

from adapters.phone_simulator.calls import API_VERSION, Call
from adapters.phone_simulator.orders import Form
from adapters.phone_simulator.refusals import invalid

PAGE_SIZE = 50
LARGEST_PAGE = 1000
TOKEN = "PA"  # noqa: S105 - the beginning of a page's name

Test = Callable[[Call], bool]


def page(calls: Sequence[Call], query: Form, account: str, now: float) -> dict[str, Any]:
    """Return one page.

    Args:
        calls: all that may be in it, the newest first.
        query: filters (`To`, `From`, `Status`, `ParentCallSid`, `StartTime`, `EndTime`, those two also with `<` and
            `>`), `PageSize`, `Page` and `PageToken`.
        account: whose they are.
        now: the moment, in seconds of phones.

    Raises:
        Refusal: a value cannot be read.
    """
    given = dict(query)
    size = min(LARGEST_PAGE, _number(given, "PageSize", PAGE_SIZE) or PAGE_SIZE)
    number = _number(given, "Page", 0)
    tests = list(_tests(given))
    before = given.get("PageToken", "").removeprefix(TOKEN)
    rest = islice(dropwhile(lambda call: call.sid != before, calls), 1, None) if before else iter(calls)
    found = (call for call in rest if all(test(call) for test in tests))
    shown = list(islice(found, size + 1))
    more, shown = len(shown) > size, shown[:size]
    path = f"/{API_VERSION}/Accounts/{account}/Calls.json"
    filters = [(name, value) for name, value in query if name not in {"PageSize", "Page", "PageToken"}]

    def uri(*further: tuple[str, str]) -> str:
        return f"{path}?{urlencode([*filters, ('PageSize', str(size)), *further])}"

    return {
        "calls": [call.resource(now) for call in shown],
        "start": number * size,
        "end": number * size + max(0, len(shown) - 1),
        "page": number,
        "page_size": size,
        "uri": uri(("Page", str(number)), *([("PageToken", TOKEN + before)] if before else [])),
        "first_page_uri": uri(("Page", "0")),
        "next_page_uri": uri(("Page", str(number + 1)), ("PageToken", TOKEN + shown[-1].sid)) if more else None,
        "previous_page_uri": None,
    }


def _tests(given: dict[str, str]) -> Iterator[Test]:
    """Return what a call must be to be listed."""
    if "To" in given:
        yield lambda call: call.plan.to == given["To"]
    if "From" in given:
        yield lambda call: call.plan.from_ == given["From"]
    if "Status" in given:
        yield lambda call: call.shown_status == given["Status"]
    if "ParentCallSid" in given:
        yield lambda _call: False
    for name, value in given.items():
        field, comparison = name.rstrip("<>"), name[-1:]
        if field in {"StartTime", "EndTime"}:
            yield _moment_test(field, comparison, _moment(name, value))


def _moment_test(field: str, comparison: str, moment: datetime) -> Test:
    """Return a test of a moment: a call that has none is never listed."""

    def fits(call: Call) -> bool:
        own = call.dialled if field == "StartTime" else call.finished
        if own is None:
            return False
        if comparison == "<":
            return own <= moment
        return own >= moment if comparison == ">" else own.date() == moment.date()

    return fits


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(name, "a date") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _number(given: dict[str, str], name: str, otherwise: int) -> int:
    text = given.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - enough for any
        raise invalid(name, "a number")
    return int(text)
