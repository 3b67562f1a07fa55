"""The work itself. Pure: no Celery, SQL, HTTP, vendor SDK or environment; what it needs from outside is an argument."""
