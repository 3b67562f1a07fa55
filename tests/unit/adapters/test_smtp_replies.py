"""What a mail server says is read whatever pieces it comes in, and never without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.smtp_replies import LONGEST_REPLY, Reply, ReplyReader
from processors.errors import TransportFault

SAID = b"250-mail.example.com\r\n250-\r\n250-SIZE  1000\r\n250 HELP\r\n250 2.0.0 Ok: queued as 1\n354 \xffgo\r\n421\r\n"
REPLIES = [
    Reply(250, "mail.example.com SIZE 1000 HELP"),
    Reply(250, "2.0.0 Ok: queued as 1"),
    Reply(354, "\ufffdgo"),
    Reply(421, ""),
]


@given(st.lists(st.integers(0, len(SAID)), max_size=10).map(sorted))
def test_replies_are_the_same_whatever_pieces_they_come_in(cuts):
    reader = ReplyReader()
    pieces = [SAID[start:end] for start, end in zip([0, *cuts], [*cuts, len(SAID)], strict=True)]
    assert [reply for piece in pieces for reply in reader.feed(piece)] == REPLIES


@pytest.mark.parametrize("piece", [b"250-\r\n" * 200, b"250-   \r\n" * 200, b"250-x\r\n" * 200, b"x" * 800])
def test_a_reply_without_an_end_is_a_fault(piece):
    reader = ReplyReader()
    with pytest.raises(TransportFault, match="no end"):
        for _ in range(LONGEST_REPLY // 800 + 1):
            list(reader.feed(piece))


def test_what_is_no_reply_is_a_fault_each_time():
    for _ in range(2):
        with pytest.raises(TransportFault, match="no reply"):
            list(ReplyReader().feed(b"Ok\r\n"))
