"""Where requests come from, and events of several lines."""

import pytest
from starlette.requests import Request

from web.event_streams import text_event
from web.origins import is_our_page, netloc


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": [(b"host", b"csai.example:8001"), *raw]})


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec_fetch_site": "same-origin"}, True),
        ({"sec_fetch_site": "same-origin", "origin": "http://csai.example:8001"}, True),
        ({"origin": "http://csai.example:8001"}, True),
        ({}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "http://csai.example"}, False),
        ({"origin": "http://["}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "origin": "http://csai.example:8001"}, False),
        ({"sec_fetch_site": "same-origin", "origin": "http://evil.example"}, False),
    ],
)
def test_a_form_is_ours_where_the_browser_says_so(headers, ours):
    assert is_our_page(request(**headers)) is ours


def test_an_origin_is_its_host_and_port():
    assert [netloc(one) for one in ("http://a:1", "null", "", "http://[")] == ["a:1", None, None, None]


def test_no_line_of_a_text_ends_its_event():
    told = text_event("part", "a\r\nevent: end\rdata: x\n\n\u2028b")
    assert told == "event: part\ndata: a\ndata: event: end\ndata: data: x\ndata: \ndata: \u2028b\n\n".encode()
