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
        ("smtp://me:a%2F%3F%23%40%3A%28%29%20%2C%3Bz@mail.example.com/", "single", "smtp", 1),
        ("smtp://post_office:25", "single", "smtp", 1),
        ("smtp://post.bücher.example", "single", "smtp", 1),
        ("smtp://192.0.2.1", "single", "smtp", 1),
        ("smtp://me:p@[2001:db8::1]:587?tls=none", "single", "smtp", 1),
        ("smtps://mail.example.com?tls=required\n", "single", "smtps", 1),
        (" failover( smtp://a.example\n smtp://b.example ) ", "failover", "failover(smtp)", 2),
    ],
)
def test_a_way_out_is_understood(text, order, names, number):
    ways = read_ways(text)
    assert (ways.order, ways.names, len(ways.urls)) == (order, names, number)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("OUTBOX://", ("outbox://",)),
        ("Null:///", ("null://",)),
        ("failover(SMTPS://Me:pASS@Mail.example OutBox://)", ("smtps://Me:pASS@Mail.example", "outbox://")),
    ],
)
def test_a_way_out_in_capital_letters_is_the_same_way(text, urls):
    assert read_ways(text).urls == urls


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smtp://a.example smtp://planted.example", "no blanks and control characters; several URLs stand in failover"),
        ("smtp://pla nted", "no blanks and control characters"),
        ("smtp://a.exa\nmple", "no blanks and control characters"),
        ("smtp://a.example\0", "no blanks and control characters"),
        ("smtp://a.example\u2028b", "no blanks and control characters"),
        ("outbox://\0", "no blanks and control characters"),
        ("smtp://a.example)", "must name a host"),
        ("smtp://me:plan)ted@a.example", "( ) , ; and blanks are written as"),
        ("smtp://%20", "must name a host"),
        ("smtp://a%2eexample", "must name a host"),
        ("smtp://a..example", "must name a host"),
        ("smtp://-a", "must name a host"),
        ("smtp://.", "must name a host"),
        ("smtp://[planted]", "must name a host"),
        ("smtp://[192.0.2.1]", "must name a host"),
        ("smtp://[::1", "must name a host"),
        ("smtp://me:planted@a\u2100b", "must name a host"),
        ("smtp://a.example/planted", "must have nothing after host and port"),
        ("smtp://a.example/?tls=none#planted", "must have nothing after host and port"),
        ("smtp://a.example#", "must have nothing after host and port"),
        ("smtp://user:12#planted@host", "are written as %2F %3F %23"),
        ("smtp://user:12?planted@host", "are written as %2F %3F %23"),
        ("smtp://user:12/planted@host", "are written as %2F %3F %23"),
        ("smtps://a.example?tls=none", "no other tls than required"),
        ("smtps://a.example?tls=opportunistic", "no other tls than required"),
        ("outbox://#planted", "must be outbox:// and no more"),
        ("failover(smtp://a smtp://b#planted)", "must have nothing after host and port"),
        ("smpt://user:planted@host", "must begin with one of outbox://, smtp://, smtps://, null://, or be failover"),
        ("smtp:host", "must begin with one of"),
        ("smtp://user:planted@", "must name a host"),
        ("smtp://:planted@host", "must name a user before the password"),
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
