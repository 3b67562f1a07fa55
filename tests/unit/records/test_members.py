"""The rows of a parent's parts: each ends once, and many end together or not at all."""

import pytest
from sqlalchemy.exc import StatementError

from processors.interfaces import MemberEnd
from records import members as rooms
from records.database import Database
from records.members import MemberRecords, insert_members


@pytest.fixture
def rows(database: Database) -> MemberRecords:
    database.write(lambda c: insert_members(c, "bulk", [{"text": f"t{number}"} for number in range(12)]))
    database.write(lambda c: insert_members(c, "other", [{"text": "another's"}]))
    return MemberRecords(database)


def end(position: int, state: str = "done", **outcome) -> MemberEnd:
    return MemberEnd(position, state, outcome)


def test_many_members_end_at_once_each_with_its_own_state_and_outcome(rows):
    rows.close_all("bulk", [end(2, row=0), end(0, "refused", code="content_filtered"), end(1, row=1)])

    assert rows.ends("bulk", 0, 4) == [
        MemberEnd(0, "refused", {"code": "content_filtered"}),
        MemberEnd(1, "done", {"row": 1}),
        MemberEnd(2, "done", {"row": 0}),
        MemberEnd(3, "waiting", None),
    ]
    assert [one.position for one in rows.waiting("bulk", 0, 5)] == [3, 4]
    assert rows.tally("other") == {"waiting": 1}


def test_a_member_that_has_ended_stays_as_it_is(rows):
    rows.close_all("bulk", [end(0, row=0)])
    rows.close_all("bulk", [end(0, "refused", code="late"), end(1, row=5)])
    assert rows.ends("bulk", 0, 2) == [end(0, row=0), end(1, row=5)]


def test_none_of_them_ends_where_one_cannot(rows):
    with pytest.raises(StatementError, match="not JSON serializable"):
        rows.close_all("bulk", [end(0, row=0), end(1, row=object())])
    assert rows.tally("bulk") == {"waiting": 12}


def test_to_end_nobody_is_no_error(rows):
    rows.close_all("bulk", [])
    assert rows.tally("bulk") == {"waiting": 12}


def test_all_members_are_read_in_their_order_page_by_page(rows, monkeypatch):
    monkeypatch.setattr(rooms, "PAGE_ROWS", 5)
    rows.close_all("bulk", [end(11, row=3)])
    read = list(rows.all_ends("bulk"))
    assert [one.position for one in read] == list(range(12))
    assert read[11] == end(11, row=3)
