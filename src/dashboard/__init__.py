"""Pages over records, for people with a browser. No Celery, no SQL, and nothing of the API."""
