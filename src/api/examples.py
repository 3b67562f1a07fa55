"""An example of each submit, as the OpenAPI document shows them."""

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "send_email": {
        "to_email": "user@example.com",
        "subject": "Welcome!",
        "body": "Welcome to our platform!",
        "priority": "high",
        "idempotency_key": "welcome-17",
    },
    "send_bulk_emails": {
        "emails": [
            {"to_email": "user1@example.com", "subject": "Hello", "body": "Message 1"},
            {"to_email": "user2@example.com", "subject": "Hello", "body": "Message 2"},
        ],
        "batch_size": 50,
        "delay_between_batches": 2.0,
    },
    "send_notification": {
        "user_id": "user123",
        "notification_type": "welcome",
        "title": "Welcome!",
        "message": "Thank you for joining!",
        "channels": ["email", "inbox"],
    },
    "queue_outbound_call": {
        "to_number": "+1234567890",
        "call_metadata": {"message": "Hello from the service.", "custom_data": {"order": 17}},
        "delay_seconds": 60,
    },
    "schedule_call": {
        "to_number": "+1234567890",
        "schedule_time": "2030-01-15T10:00:00",
        "timezone": "Europe/Berlin",
        "call_metadata": {"message": "This is your reminder."},
    },
    "retry_failed_call": {"original_task_id": "failed_task_123", "to_number": "+1234567890", "retry_delay": 300},
    "queue_bulk_calls": {
        "phone_numbers": ["+1234567890", "+1987654321"],
        "delay_between_calls": 5,
        "max_concurrent_calls": 10,
        "call_metadata": {"message": "We open again on Monday."},
    },
    "end_call": {"call_sid": "CA1234567890abcdef"},
    "get_call_status": {"call_sid": "CA1234567890abcdef"},
    "cleanup_stale_calls": {"max_age_hours": 24},
    "process_file": {
        "file_path": "https://example.com/document.pdf",
        "file_type": "document",
        "processing_options": {"extract_text": True},
    },
    "process_document": {
        "file_path": "https://example.com/document.pdf",
        "generate_summary": True,
        "ocr_enabled": True,
    },
    "process_image": {"file_path": "https://example.com/image.jpg", "detect_objects": True, "face_recognition": False},
    "process_audio": {"file_path": "https://example.com/audio.mp3", "transcribe": True, "language": "en"},
    "process_video": {"file_path": "https://example.com/video.mp4", "extract_frames": True, "detect_scenes": True},
    "enroll_person": {
        "name": "Ada",
        "file_path": "https://example.com/ada.jpg",
        "consent": "signed on 2026-03-01, form 12",
    },
    "process_ai_request": {"request_type": "chat", "input_data": {"message": "What is a task?"}},
    "generate_embedding": {"text": "A sentence to be found again."},
    "generate_embeddings": {"texts": ["The first text.", "The second one."]},
    "process_chat": {
        "message": "And in one word?",
        "context": [
            {"role": "user", "content": "What is a task?"},
            {"role": "assistant", "content": "One unit of work with an id."},
        ],
        "model": "gpt-4",
    },
    "analyze_sentiment": {"text": "I love this product!", "detailed": True},
    "extract_text": {"content": "<p>Hello</p>", "content_type": "html", "language": "en"},
    "health_check": {},
    "get_system_stats": {},
    "get_queue_stats": {},
    "cleanup_old_tasks": {"max_age_hours": 24},
    "cleanup_old_files": {"directory": "/tmp/reports", "max_age_hours": 168, "dry_run": True},  # noqa: S108 - an example
    "cleanup_old_logs": {"log_directory": "logs", "max_age_hours": 168},
    "process_pending_tasks": {"max_tasks": 100},
    "retry_failed_tasks": {"max_retries": 3, "max_age_hours": 24, "task_types": ["email"]},
    "submit": {"name": "reports.build", "arguments": {"month": "2026-02"}, "queue": "default", "tags": ["monthly"]},
    "submit_many": {"name": "reports.build", "many": [{"month": "2026-01"}, {"month": "2026-02"}], "tags": ["monthly"]},
}
