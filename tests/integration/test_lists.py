"""Lists and searches of a running service: its leader lets them follow."""

import pytest
from celery.utils import uuid
from sqlalchemy import text

from installation import Installation
from records.task_records import Draft
from services.submission import submit_many
from services.task_filters import filter_of
from services.task_queries import find_tasks
from services.wiring import parts
from waiting import until

pytestmark = [pytest.mark.usefixtures("installation"), pytest.mark.any_broker]


def ids(**given) -> list[str]:
    return [one["task_id"] for one in find_tasks(filter_of(**given), limit=1_000)["items"]]


def test_what_runs_is_on_its_list_at_once_and_is_found_by_its_words_soon():
    tenant, word = uuid(), uuid()
    drafts = [
        Draft(
            uuid(),
            "test.choose",
            "test",
            "default",
            {"number": f"https://me:{word}@example.com", "kind": kind},
            tenant=tenant,
        )
        for kind in ("FileError", "WorkFailed")
    ]
    submit_many(drafts)
    assert sorted(ids(tenant=tenant)) == sorted(draft.id for draft in drafts)
    until(lambda: len(ids(tenant=tenant, state=["FAILURE"])) == len(drafts), what="both failed")
    until(lambda: ids(tenant=tenant, text="workfailed") == [drafts[1].id], what="its error is found")
    assert ids(text=word) == [], "secrets are found by nobody"


def test_a_leader_that_is_killed_again_and_again_leaves_nothing_unlisted(installation: Installation):
    tenant, opened = uuid(), []
    for number in range(3):
        drafts = [Draft(uuid(), "test.add", "test", "default", args=[number, 1], tenant=tenant) for _ in range(200)]
        submit_many(drafts)
        opened += [draft.id for draft in drafts]
        installation.leader.kill()
        installation.leader.start()
    until(lambda: len(ids(tenant=tenant, state=["SUCCESS"])) == len(opened), what="all have ended")

    query = text(
        "SELECT count(*) FROM task_lists JOIN task_records ON task_records.id = task_lists.id"
        " WHERE task_records.tenant = :tenant AND task_lists.state = 1"
    )

    def listed() -> bool:
        return parts().database.read(lambda c: c.execute(query, {"tenant": tenant}).scalar_one()) == len(opened)

    until(listed, what="all are listed as ended")
    assert sorted(ids(tenant=tenant)) == sorted(opened)
