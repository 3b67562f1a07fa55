"""Pages over records. No Celery, no SQL."""
