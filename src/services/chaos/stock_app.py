"""Plain Celery on Kombu's own transport: what chaos shows beside ours."""

from services.chaos.plain_app import plain_app

app = plain_app()
