"""HTTP in, under /api/v1: checks the key, calls the facade, reads records. No Celery, no SQL."""
