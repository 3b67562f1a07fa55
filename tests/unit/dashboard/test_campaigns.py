"""Campaigns of calls: listed, shown member by member, and steered after a page that names how many it concerns."""

import pytest

from browsing import Html
from processors.interfaces import MemberEnd
from records.audit import WantedActs
from services import audit
from services.celery_service import celery_service
from services.wiring import parts

NUMBERS = ["+15554417701", "+15554417702", "+15554417703"]


@pytest.fixture
def campaign() -> str:
    """A campaign of three, one of whom has answered and one of whom has not."""
    campaign_id = celery_service.queue_bulk_calls(NUMBERS)
    ends = [
        MemberEnd(0, "done", {"outcome": "answered", "attempts": 1, "answered_by": "human"}),
        MemberEnd(1, "failed", {"reason": "<b>busy</b>", "attempts": 2}),
    ]
    parts().members.close_all(campaign_id, ends)
    return campaign_id


def acts(campaign_id: str) -> list[tuple]:
    found = audit.acts(WantedActs(target_kind="task", target_id=campaign_id), 20)
    return [(one.act, one.count, one.origin) for one in found]


def rows(page: Html) -> list[str]:
    return [" ".join(row.text.split()) for row in page.all("tr")][1:]


def test_campaigns_are_listed_with_their_members(viewer, campaign):
    page = viewer.html("/campaigns")
    row = next(one for one in rows(page) if campaign in one)
    assert row.split()[1:4] == ["▸", "PROGRESS", "3"]
    assert f"/campaigns/{campaign}" in page.links()
    celery_service.pause_campaign(campaign)
    assert "paused" in next(one for one in rows(viewer.html("/campaigns")) if campaign in one)


def test_without_a_campaign_the_list_says_so(viewer, monkeypatch):
    monkeypatch.setattr("dashboard.pages.campaigns.CAMPAIGN", "no.such_task")
    assert "There is no campaign." in viewer.html("/campaigns").text


def test_a_campaigns_members_are_shown_by_state_and_lead_to_their_calls(viewer, operator, campaign):
    page = viewer.html(f"/campaigns/{campaign}")
    for name, value in (("Members", "3"), ("Done", "1"), ("Failed", "1"), ("Pending", "1"), ("Calls now", "0")):
        assert [tag.text for tag in page.all("div") if tag.text.startswith(name)] == [f"{name}{value}"]
    first, second, third = rows(page)
    assert "+1 *** **01 ✓ done answered 1 human" in first
    assert "<b>busy</b>" in second
    assert "pending" in third
    assert f"/tasks/{campaign}%3A1" in page.links()
    assert not page.all("b")
    assert not [link for link in page.links() if link.endswith(("/pause", "/cancel", "/hang-up"))]
    assert f"/campaigns/{campaign}" in viewer.html(f"/tasks/{campaign}:1").links()
    assert f"/campaigns/{campaign}" in viewer.html(f"/tasks/{campaign}").links()
    found = {state: rows(operator.html(f"/campaigns/{campaign}?state={state}")) for state in ("done", "pending", "x")}
    assert [NUMBERS[0] in row for row in found["done"]] == [True]
    assert [NUMBERS[2] in row for row in found["pending"]] == [True]
    assert found["x"] == []
    assert "No member is like that." in operator.html(f"/campaigns/{campaign}?state=x").text


def test_members_are_followed_page_by_page(operator, campaign, monkeypatch):
    monkeypatch.setattr("dashboard.pages.campaigns.ROWS", 2)
    first = operator.html(f"/campaigns/{campaign}")
    assert len(rows(first)) == 2
    (following,) = [tag.attributes["href"] for tag in first.all("a") if tag.text == "More members"]
    second = operator.html(following)
    assert [NUMBERS[2] in row for row in rows(second)] == [True]
    assert "More members" not in second.text
    for odd in ("x", "-1", "99999999999999", "\u0661"):
        assert len(rows(operator.html(f"/campaigns/{campaign}?after={odd}"))) == 2


def test_a_campaign_is_paused_resumed_and_cancelled_after_a_page_that_names_the_count(operator, campaign):
    for act, is_paused in (("pause", True), ("resume", False)):
        question = operator.html(f"/campaigns/{campaign}/{act}")
        assert f"{act.capitalize()}: 1 member?" in question.text
        assert "Not ended: 1 of its 3 members." in question.text
        assert operator.submit(f"/campaigns/{campaign}/{act}").headers["location"] == f"/campaigns/{campaign}"
        page = operator.html(f"/campaigns/{campaign}")
        assert ("paused" in page.text, f"/campaigns/{campaign}/resume" in page.links()) == (is_paused, is_paused)
        assert acts(campaign)[0] == (f"campaign.{act}", 1, "dashboard")
    assert operator.submit(f"/campaigns/{campaign}/cancel").status_code == 303
    assert celery_service.get_task_status(campaign)["status"] == "REVOKED"
    assert acts(campaign)[0] == ("campaign.cancel", 1, "dashboard")
    before = len(acts(campaign))
    assert operator.submit(f"/campaigns/{campaign}/pause").status_code == 303
    assert "nothing was changed" in operator.html(f"/campaigns/{campaign}").text
    assert len(acts(campaign)) == before


def test_who_hangs_up_ends_the_calls_that_go_on_too(operator, campaign, monkeypatch):
    given = []
    monkeypatch.setattr(
        "services.campaigns.cancel_campaign", lambda one, *, hang_up: given.append((one, hang_up)) is None
    )
    operator.submit(f"/campaigns/{campaign}/hang-up")
    assert given == [(campaign, True)]


def test_what_is_no_campaign_is_refused(operator):
    task_id = celery_service.analyze_sentiment("x", delay_seconds=3600)
    assert operator.get(f"/campaigns/{task_id}").status_code == 422
    assert operator.get("/campaigns/never-was").status_code == 404
    assert operator.post("/campaigns/never-was/cancel").status_code == 404
    assert operator.get("/campaigns?cursor=x").status_code == 422
