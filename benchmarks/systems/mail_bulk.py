"""Mail as the service sends it: one bulk.

python mail_bulk.py submit 10000
python mail_bulk.py result <id>
"""

import json
import sys
import time
from typing import Any

from mail_content import BODY, SUBJECT, address

from services.celery_service import celery_service

BATCH_SIZE = 250
LONGEST_SECONDS = 900


def submit(count: str) -> dict[str, Any]:
    """Submit a bulk; returns when that began, how long it took, and the bulk's id."""
    emails = [{"to_email": address(number), "subject": SUBJECT, "body": BODY} for number in range(int(count))]
    began = time.monotonic()
    bulk_id = celery_service.send_bulk_emails(emails, batch_size=BATCH_SIZE, delay_between_batches=0)
    return {"began": began, "seconds": time.monotonic() - began, "id": bulk_id}


def result(bulk_id: str) -> dict[str, Any]:
    """Wait for the end of a bulk and return what became of it."""
    return celery_service.get_task_result(bulk_id, timeout=LONGEST_SECONDS)


if __name__ == "__main__":
    print(json.dumps({"submit": submit, "result": result}[sys.argv[1]](*sys.argv[2:])))
