"""Plain Celery on our transport: messages without a record."""

from broker.redis_transport import register
from services.chaos.plain_app import plain_app

register()
app = plain_app()
