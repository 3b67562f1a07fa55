"""The errors that mean that the broker does not answer."""

from amqp.exceptions import AMQPError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

AWAY_ERRORS = (OSError, OperationalError, RedisError, AMQPError)
