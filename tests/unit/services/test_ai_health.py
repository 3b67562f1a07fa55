"""What a health check says of the providers of AI."""

import pytest

from ai_ledger import AiClock
from config.ai_providers import AiProvider
from config.settings import settings
from processors.errors import ServiceUnavailable
from services.ai_providers import account_of
from services.monitoring import probes
from services.testing import InlineService
from services.wiring import parts


@pytest.fixture
def account(inline_service: InlineService, monkeypatch) -> str:
    provider = AiProvider.model_validate({"url": "https://x/v1", "key": "sk-0123456789"})
    monkeypatch.setattr(settings, "ai_providers", {"house": provider})
    return account_of("house", provider)


@pytest.mark.parametrize(
    ("why", "seconds", "passed", "bad"),
    [
        ("provider_unavailable", 30, 0, True),
        ("provider_unavailable", 30, 31, False),
        ("provider_auth", 30, 0, True),
        ("provider_auth", 30, 31, True),
        ("provider_rate_limited", 60, 0, False),
        ("provider_rate_limited", 3600, 0, True),
        ("provider_rate_limited", 3600, 3601, False),
    ],
)
def test_a_provider_is_unwell_while_tasks_wait_for_it(account, why, seconds, passed, bad):
    parts().ai_calls.pause(account, why, seconds, "It says so.")
    AiClock(parts().database).pass_by(passed)
    look = probes(parts())["providers"]
    if bad:
        with pytest.raises(ServiceUnavailable, match=rf"house is not asked \({why}\): It says so\."):
            look()
    else:
        assert look() == "house: 0 requests in a minute"
