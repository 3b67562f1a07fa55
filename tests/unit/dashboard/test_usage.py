"""What AI calls took, in a browser."""

import pytest

from services.celery_service import celery_service

LINE = {
    "calls": 1200,
    "input_tokens": 34_000,
    "output_tokens": 5,
    "cached_tokens": 0,
    "reasoning_tokens": 0,
    "cost": 0.0123,
    "currency": "USD",
    "estimated": 0.25,
}


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the facade, which knows two lines."""
    seen = []

    def usage(days, by, task_id=None):
        seen.append((days, list(by)))
        parts = dict.fromkeys(by, "<model>")
        return [parts | LINE, dict.fromkeys(by) | LINE | {"cost": 1000.5, "currency": "EUR"}]

    monkeypatch.setattr(celery_service, "get_ai_usage", usage)
    return seen


def test_a_report_has_a_line_for_each_part_and_what_was_paid(viewer, asked):
    page = viewer.html("/usage?days=30&by=model&by=tenant&by=evil")
    assert asked == [(30, ["model", "tenant"])]
    heads = [tag.text for tag in page.all("th") if tag.attributes["scope"] == "col"]
    assert heads[:3] == ["Model", "Tenant", "Calls"]
    assert "<model>" in page.text
    figures = dict(zip([tag.text for tag in page.all("dt")], [tag.text for tag in page.all("dd")], strict=True))
    space = "\N{NARROW NO-BREAK SPACE}"
    assert figures == {
        "Paid, USD": "0.0123",
        "Paid, EUR": f"1{space}000.50",
        "Calls": f"2{space}400",
        "Tokens in": f"68{space}000",
        "Tokens out": "10",
    }
    assert "25 %" in page.text


@pytest.mark.parametrize("query", ["", "?days=0", "?days=x&by=evil", "?days=1e9&by="])
def test_what_is_not_offered_is_the_usual(viewer, asked, query):
    assert viewer.get(f"/usage{query}").status_code == 200
    assert asked == [(7, ["day", "provider", "model"])]


def test_nothing_used_is_said(viewer):
    assert "No provider of AI was asked in that time; " in viewer.html("/usage?days=1").text
