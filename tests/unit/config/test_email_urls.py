"""EMAIL_URL: every form is understood, and what is none is named without what may be a password."""

import pytest

from config.email_urls import read_ways


@pytest.mark.parametrize(
    ("text", "order", "names", "number"),
    [
        ("outbox://", "single", "outbox", 1),
        ("null://", "single", "null", 1),
        ("smtp://user:p%40ss@mail.example.com:587?tls=required", "single", "smtp", 1),
        ("smtps://mail.example.com", "single", "smtps", 1),
        ("failover(smtp://a.example smtps://u:p@b.example)", "failover", "failover(smtp smtps)", 2),
        ("roundrobin(smtp://a.example smtp://b.example outbox://)", "roundrobin", "roundrobin(smtp outbox)", 3),
        (" failover( smtp://a.example\n smtp://b.example ) ", "failover", "failover(smtp)", 2),
    ],
)
def test_a_way_out_is_understood(text, order, names, number):
    ways = read_ways(text)
    assert (ways.order, ways.names, len(ways.urls)) == (order, names, number)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smpt://user:planted@host", "must begin with one of outbox://, smtp://, smtps://, null://, or be failover"),
        ("smtp:host", "must begin with one of"),
        ("smtp://user:planted@", "must name a host"),
        ("smtp://host:99999", "a port from 1 to 65535"),
        ("smtp://host:port", "a port from 1 to 65535"),
        ("smtp://host?tls=maybe", "tls=required, tls=opportunistic or tls=none"),
        ("smtp://host?tls=none&planted=1", "tls=required, tls=opportunistic or tls=none"),
        ("outbox:///planted", "must be outbox:// and no more"),
        ("failover()", "at least one URL"),
        ("failover(smtp://a, smtp://b)", "must name a host"),
        ("failover(smtp://a smpt://planted)", "must begin with one of"),
        ("failover(roundrobin(smtp://a smtp://b))", "must begin with one of"),
        ("fallback(smtp://a smtp://b)", "must begin with one of"),
    ],
)
def test_what_is_no_way_out_is_named_and_never_repeated(text, words):
    with pytest.raises(ValueError, match=r"^must") as error:
        read_ways(text)
    assert words in str(error.value)
    assert "planted" not in str(error.value)
