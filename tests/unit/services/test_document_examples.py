"""The document's own examples of mail and notifications, word for word: they run, and do what they say."""

import pytest

from processors.errors import TaskFailed
from services.celery_service import celery_service
from services.wiring import parts

BASIC_USAGE = """\
from services.celery_service import celery_service

# Send an email
task_id = celery_service.send_email(
    to_email="user@example.com",
    subject="Test Email",
    body="Hello from Celery!"
)

# Process a file
task_id = celery_service.process_document(
    file_path="/path/to/document.pdf",
    extract_text=True,
    generate_summary=True
)

# Generate AI embedding
task_id = celery_service.generate_embedding(
    text="Sample text for embedding",
    model="text-embedding-ada-002"
)
"""

TASK_MONITORING = """\
# Get task status
status = celery_service.get_task_status(task_id)
print(f"Task status: {status['status']}")

# Wait for result
result = celery_service.get_task_result(task_id, timeout=60)
print(f"Task result: {result}")

# Cancel task
success = celery_service.cancel_task(task_id)
"""

EMAIL_TASKS = """\
# Send single email
task_id = celery_service.send_email(
    to_email="user@example.com",
    subject="Welcome",
    body="Welcome to our platform!",
    priority="high"
)

# Send bulk emails
emails = [
    {"to_email": "user1@example.com", "subject": "Newsletter", "body": "Content"},
    {"to_email": "user2@example.com", "subject": "Newsletter", "body": "Content"},
]
task_id = celery_service.send_bulk_emails(emails, batch_size=50)

# Send notification
task_id = celery_service.send_notification(
    user_id="12345",
    notification_type="welcome",
    title="Welcome!",
    message="Welcome to our platform!",
    channels=["email", "push"]
)
"""

MONITORING_FAILURES = """\
# Check task status
status = celery_service.get_task_status(task_id)
if status['status'] == 'FAILURE':
    print(f"Task failed: {status['traceback']}")

# Retry failed tasks
task_id = celery_service.retry_failed_tasks(
    max_retries=3,
    max_age_hours=24
)
"""


def run(block: str, **names: object) -> dict[str, object]:
    """Run a block of the document; returns its names."""
    known = {"celery_service": celery_service, **names}
    exec(compile(block, "celery-service.md", "exec"), known)
    return known


def mails(inline_service) -> str:
    return "".join(path.read_text() for path in sorted(inline_service.outbox.glob("*.eml")))


def test_the_basic_usage_sends_its_mail_and_gives_an_id_for_each_task(inline_service):
    known = run(BASIC_USAGE)
    assert celery_service.get_task_status(str(known["task_id"]))["name"] == "ai_processing.generate_embedding"
    sent = mails(inline_service)
    assert "To: user@example.com" in sent
    assert "Subject: Test Email" in sent
    assert "Hello from Celery!" in sent


def test_a_mail_is_watched_as_the_document_watches_a_task(inline_service, capsys):
    single = EMAIL_TASKS.partition("# Send bulk emails")[0]
    known = run(TASK_MONITORING, task_id=run(single)["task_id"])
    assert known["result"]["status"] == "sent"
    assert known["result"]["accepted"] == ["user@example.com"]
    assert known["success"] is False, "it had ended"
    said = capsys.readouterr().out
    assert "Task status: SUCCESS" in said
    assert "'status': 'sent'" in said


def test_the_email_tasks_send_one_mail_a_bulk_of_two_and_a_notification(inline_service):
    celery_service.set_contact("12345", email="ann@example.com")
    known = run(EMAIL_TASKS)
    told = celery_service.get_task_result(str(known["task_id"]))
    assert told["channels"]["email"]["accepted"] == ["ann@example.com"]
    assert told["channels"]["push"]["status"] == "skipped", "she has no browser that takes push"
    sent = mails(inline_service)
    for address in ("user@example.com", "user1@example.com", "user2@example.com", "ann@example.com"):
        assert sent.count(f"To: {address}\n") == 1
    assert sent.count("Subject: Newsletter") == 2
    assert sent.count("Welcome to our platform!") == 2


def test_a_mail_that_failed_is_told_and_retried_as_the_document_does(inline_service, tmp_path, capsys):
    file = tmp_path / "report.csv"
    failed = celery_service.send_email("user@example.com", "s", "b", attachments=[{"path": str(file)}])
    with pytest.raises(TaskFailed, match=r"report\.csv"):
        celery_service.get_task_result(failed)

    file.write_text("id,amount")
    known = run(MONITORING_FAILURES, task_id=failed)
    assert "Task failed: Traceback" in capsys.readouterr().out
    celery_service.get_task_result(str(known["task_id"]))
    retried = parts().tasks.read(failed).retried_as
    assert celery_service.get_task_result(retried)["status"] == "sent"
