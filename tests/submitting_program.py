"""A program that submits tasks as it is told, a line of JSON each, and writes what became of each into a file.

`{"ask": [ids]}` asks for the states of tasks instead.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from processors.errors import ServiceUnavailable
from services.celery_app import celery_app
from services.celery_service import celery_service
from services.submission import submit_by_name
from services.submit_options import Options


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    if "ask" in asked:
        return {"states": [celery_service.get_task_status(task_id)["status"] for task_id in asked["ask"]]}
    began = time.monotonic()
    options = Options.of(**asked.get("options", {}))
    try:
        if "countdown" in asked:
            sent = celery_app.send_task("lives.work", kwargs=asked["given"], countdown=asked["countdown"])
            found = {"id": sent.id}
        else:
            found = {
                "id": submit_by_name("lives.work", asked["given"], queue="default", origin="test", options=options)
            }
    except ServiceUnavailable as error:
        found = {"error": type(error).__name__, "why": str(error), "id": getattr(error, "task_id", None)}
    return {"number": asked["given"]["number"], "began": began, "seconds": time.monotonic() - began, **found}


def main(answers: str) -> None:
    with Path(answers).open("a", buffering=1) as file:
        file.write("{}\n")  # ready
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), file=file)


if __name__ == "__main__":
    main(sys.argv[1])
