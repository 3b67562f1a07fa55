"""What a benchmark of calls asks of the service, in a process of its own: prints one line of JSON.

python -m call_client submit COUNT LIVE    # a campaign; says its id and how long its submitting took
python -m call_client status ID            # how it stands
python -m call_client placed COUNT         # as many calls that are live, for the messages about them
"""

import json
import sys
import time
from uuid import uuid4

from processors.call_interfaces import Gate, Granted
from records.call_gates import Wish
from services.celery_service import celery_service
from services.submission import draft_by_name
from services.wiring import parts

FIRST_NUMBER = 15_550_100_000
ACCOUNT_GATE = Gate("account:bench", 0.0, None)


def number(at: int) -> str:
    """Return the number of one member: each is another one, and none has a meaning of its own to the simulator."""
    return f"+{FIRST_NUMBER + 10 * at}"


def submit(count: int, live: int) -> dict[str, object]:
    """Submit a campaign."""
    numbers = [number(at) for at in range(count)]
    began = time.time()
    campaign = celery_service.queue_bulk_calls(
        numbers, call_metadata={"message": "Hello."}, delay_between_calls=0, max_concurrent_calls=live
    )
    return {"campaign": campaign, "began": began, "seconds": time.time() - began}


def status(campaign: str) -> dict[str, object]:
    """Return how a campaign stands."""
    told = celery_service.get_task_status(campaign)
    return {"status": told["status"], "info": told["info"]}


def placed(count: int, account: str) -> dict[str, object]:
    """Write calls that are live, with their sids."""
    service, made = parts(), list[tuple[str, str]]()
    for at in range(count):
        task_id = str(uuid4())
        arguments = {"to_number": number(at), "call_metadata": {"message": "Hello."}}
        name = "twilio_calls.queue_outbound_call"
        service.tasks.open(draft_by_name(name, arguments, queue="twilio_calls", origin="bench", task_id=task_id))
        service.calls.want(task_id, number(at), number(10**8))
        granted = service.call_gates.grant(Wish(task_id, account, [ACCOUNT_GATE], task_id, 10.0))
        if not isinstance(granted, Granted):
            raise TypeError(f"no attempt was granted: {granted}")
        sid = f"CA{uuid4().hex}"
        service.calls.placed(granted.attempt_id, sid, "queued", queue_seconds=0.0, look=3_600.0, hang_up=3_600.0)
        made.append((granted.attempt_id, sid))
    return {"placed": made}


COMMANDS = {
    "submit": lambda count, live: submit(int(count), int(live)),
    "status": status,
    "placed": lambda count, account: placed(int(count), account),
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(COMMANDS[sys.argv[1]](*sys.argv[2:])) + "\n")
