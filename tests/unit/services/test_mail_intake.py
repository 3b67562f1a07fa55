"""Who is not mailed, by the facade: in one sentence where it is wrong, and as it was said where it is right."""

from datetime import UTC, datetime, timedelta

import pytest

from processors.errors import InvalidArgument
from services.celery_service import celery_service


@pytest.mark.usefixtures("inline_service")
def test_what_is_suppressed_is_listed_as_it_was_said_and_ends_by_hand():
    until = datetime.now(UTC) + timedelta(days=3)
    made = celery_service.suppress_email("Ann <ANN@example.com>", until=until.isoformat())
    assert made | {"id": 0, "created_at": ""} == {
        "id": 0,
        "address": "ann@example.com",
        "list_name": None,
        "reason": "manual",
        "until": until.isoformat(),
        "source": "facade",
        "text": "",
        "created_at": "",
    }
    assert celery_service.get_suppressions("ann@EXAMPLE.com") == [made]
    assert celery_service.get_suppressions(list_name="news") == []
    assert not celery_service.unsuppress_email("ann@example.com", list_name="news")
    assert celery_service.unsuppress_email("ann@example.com")
    assert celery_service.get_suppressions() == []


def test_what_has_ended_by_itself_is_listed_no_more(inline_service):
    celery_service.suppress_email("ann@example.com", until=datetime.now(UTC) + timedelta(days=3))
    inline_service.advance(3 * 86_400 + 1)
    assert celery_service.get_suppressions() == []


@pytest.mark.usefixtures("inline_service")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.suppress_email("nobody"), "address: must be one mail address"),
        (lambda s: s.suppress_email("a@example.com, b@example.com"), "address: must be one mail address"),
        (lambda s: s.suppress_email(5), "address: .*valid string; got 5"),
        (lambda s: s.suppress_email("a@example.com", reason="boredom"), "reason: must be|reason: Input should be"),
        (lambda s: s.suppress_email("a@example.com", list_name="all"), "list_name: must not be 'all'"),
        (lambda s: s.suppress_email("a@example.com", list_name=" "), "list_name"),
        (lambda s: s.suppress_email("a@example.com", list_name="a\nb"), "list_name: must not contain control"),
        (lambda s: s.suppress_email("a@example.com", until="soon"), "until: must be a datetime"),
        (lambda s: s.suppress_email("a@example.com", until="2020-01-01"), "until: must lie ahead; got 2020-01-01"),
        (lambda s: s.unsuppress_email(""), "address"),
        (lambda s: s.get_suppressions(limit=0), "limit"),
        (lambda s: s.get_suppressions(after="x"), "after"),
        (lambda s: s.get_email_events(message_id=""), "message_id"),
        (lambda s: s.unsubscribe_url("nobody"), "address: must be one mail address"),
        (lambda s: s.receive_bounce("text"), "message: must be the bytes of one mail; got str"),
        (lambda s: s.receive_bounce(b" " * 10_000_001), "message: must have at most 10000000 bytes; got 10000001"),
        (lambda s: s.receive_bounce(b"hello"), "message: The mail is no report"),
    ],
    ids=range(17),
)
def test_a_bad_argument_is_one_sentence_and_nothing_is_kept(call, words):
    with pytest.raises(InvalidArgument, match=words) as error:
        call(celery_service)
    assert "\n" not in str(error.value)
    assert celery_service.get_suppressions() == []
