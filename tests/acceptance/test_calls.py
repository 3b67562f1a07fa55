"""Phone calls as people try them: the whole service beside the phone simulator, and the example's calls."""

import sys
from pathlib import Path

import pytest

from adapters.twilio_simulator import TwilioSimulator
from calling import ACCOUNT_SID, TOKEN, account, variables
from service import Service

EXAMPLE = """
from examples.celery_example import phone

rows = list(phone())
print(*rows, sep="\\n")
assert all(row.good for row in rows)
"""


@pytest.mark.slow
def test_the_examples_calls_are_made_once_each_and_nobody_is_called_who_opted_out(tmp_path: Path):
    service = Service(tmp_path)
    with TwilioSimulator(ACCOUNT_SID, TOKEN, speed=10, calls_per_second=50) as simulator:
        base = f"http://127.0.0.1:{service.port}"
        given = account(twilio_base_url=simulator.url, twilio_calls_per_second=20.0, webhook_base_url=base)
        service.environment |= variables(given)
        try:
            service.start().until_ready()
            done = service.run(sys.executable, "-c", EXAMPLE)
        finally:
            service.end()
        assert done.returncode == 0, done.stdout + done.stderr
        assert "not configured" not in done.stdout
        assert "2 of 3 answered" in done.stdout
        ordered = [call.plan.to for call in simulator.calls]
        assert sorted(ordered) == [f"+12025550{last}" for last in (100, 101, 102, 110, 111)]
        assert all("Say" in str(call.history) for call in simulator.calls if call.plan.to.endswith(("110", "111")))
