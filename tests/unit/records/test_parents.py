"""A parent is written with all its rows once, however many write it at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from records.members import MemberRecords
from records.parents import Parents
from records.task_records import Draft, TaskRecords


def test_a_parent_that_many_open_at_once_is_one_with_one_set_of_members(database):
    parents, ready = Parents(database), threading.Barrier(4)
    TaskRecords(database).open(Draft("old", "notification.send_notification", "notification", "default"))
    parent = Draft("new", "notification.send_notification", "notification", "default", is_parent=True, retry_of="old")
    part = Draft("part", "notification.send_channel", "notification", "default", parent_id="new")

    def open_it(_: int) -> None:
        ready.wait(30)
        parents.open(parent, [{"channel": "email"}], [part])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_it, range(4)))

    assert MemberRecords(database).tally("new") == {"waiting": 1}
    assert TaskRecords(database).read("old").retried_as == "new"
