"""Celery as we make it quicker, on our transports: messages without a record."""

from broker import rabbitmq_transport, redis_transport
from broker.quick_messages import QuickCelery
from services.chaos.plain_app import plain_app

redis_transport.register()
rabbitmq_transport.register()
app = plain_app(QuickCelery)
