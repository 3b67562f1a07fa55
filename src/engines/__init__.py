"""Models that run here, one file per engine behind an interface, loaded on first use. No Celery, no SQL, no network."""
