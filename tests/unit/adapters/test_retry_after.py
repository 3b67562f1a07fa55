"""How long an answer asks to wait, in each form that servers use."""

import pytest

from adapters.retry_after import retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "9"}, 0.0),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_seconds_milliseconds_and_dates_are_understood(headers, seconds):
    assert retry_after(headers) == seconds


def test_a_date_to_come_is_as_far_as_it_is():
    assert retry_after({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}) > 10**9


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "1e999", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_what_cannot_be_waited_for_is_as_if_nothing_was_asked(value):
    assert retry_after({"retry-after": value}) is None
    assert retry_after({}) is None
