"""Where the broker is: asked at every connect, so that nothing is bound to where it was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from amqp.exceptions import AccessRefused, NotAllowed
from kombu import Connection
from redis.exceptions import AuthenticationError, ResponseError

from broker import rabbitmq
from broker.away import AWAY_ERRORS
from broker.embedded_socket import embedded_url
from config.settings import Settings, shown
from processors.errors import ConfigurationError

DEFAULT_URL = "redis://localhost:6379/0"
OLDEST_REDIS = (6, 2)
SAFE_POLICY = "noeviction"
SERVERS = "`apt install redis-server`, `brew install redis` or `docker run -p 6379:6379 redis:7`"
HELP = f"start one with `make run` (it brings its own), {SERVERS}, or set CELERY_BROKER_URL"
HELP_WITH_RABBITMQ = "start it, or remove CELERY_BROKER_URL: then `make run` brings its own Redis"
HELP_WITH_NAMED = f"start it ({SERVERS}), or remove CELERY_BROKER_URL: then `make run` brings its own"
NAMED = "CELERY_BROKER_URL"


@dataclass(frozen=True, slots=True)
class BrokerLocation:
    """A broker: its URL, why it is this one, what else its transport is to know, and the URL as it may be shown."""

    url: str = field(repr=False)
    source: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def shown(self) -> str:
        """The URL with its password masked."""
        return shown("celery_broker_url", self.url)


def resolve(settings: Settings) -> BrokerLocation:
    """Return the broker: the one that was named, else this DATA_DIR's embedded one, else Redis on this machine."""
    if settings.broker_given:
        return BrokerLocation(settings.celery_broker_url, NAMED, _sentinel_options(settings))
    embedded = embedded_url(settings)
    if embedded is not None:
        return BrokerLocation(embedded, "the embedded Redis of DATA_DIR")
    return BrokerLocation(DEFAULT_URL, "the default")


def _sentinel_options(settings: Settings) -> dict[str, Any]:
    if not settings.celery_broker_url.startswith("sentinel://"):
        return {}
    own = (
        {"sentinel_kwargs": {"password": settings.redis_sentinel_password}} if settings.redis_sentinel_password else {}
    )
    return {"master_name": settings.redis_sentinel_master, **own}


def check_reachable(location: BrokerLocation, timeout: float) -> None:
    """Connect once.

    Args:
        location: the broker.
        timeout: seconds to wait for it.

    Raises:
        ConfigurationError: its URL has a part that nobody knows, or it does not answer, refuses the password, is a
            replica, is too old, or evicts keys under memory pressure.
    """
    options: dict[str, Any] = {
        **location.options,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "max_retries": 0,
        "answer_timeout": timeout,
    }
    try:
        version, policy = _found(location, options, timeout)
    except AWAY_ERRORS as error:
        raise ConfigurationError(_unreachable(location, error)) from error
    except (TypeError, ValueError, LookupError) as error:  # what Kombu and redis-py raise over a part of the URL
        raise ConfigurationError(
            f"The broker {location.shown} ({location.source}) cannot be used as it is written: {error}; "
            "correct CELERY_BROKER_URL."
        ) from error
    if version is not None and _numbers(version) < OLDEST_REDIS:
        raise ConfigurationError(f"The broker {location.shown} is Redis {version}; install Redis 6.2 or later.")
    if policy not in (SAFE_POLICY, None):
        raise ConfigurationError(
            f"The broker {location.shown} may lose tasks: set its maxmemory-policy from {policy} to {SAFE_POLICY}."
        )


def _found(location: BrokerLocation, options: dict[str, Any], timeout: float) -> tuple[str | None, str | None]:
    """Connect; returns the version of a Redis, and what it does when its memory is full."""
    with Connection(location.url, connect_timeout=timeout, transport_options=options) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=int(timeout))
        if rabbitmq.serves(location.url):
            rabbitmq.version(connection)
            return None, None
        client = getattr(cast("Any", connection.default_channel), "client", None)
        if client is None:
            return None, None
        if client.info("replication")["role"] == "slave":  # one may write into some replicas; all of that is lost
            raise ConfigurationError(f"The broker {location.shown} is a replica; name its master in CELERY_BROKER_URL.")
        return client.info("server")["redis_version"], _eviction(client)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _eviction(client: Any) -> str | None:
    """Return what the broker does when its memory is full; None where it does not tell, as most hosted ones do."""
    try:
        return client.config_get("maxmemory-policy").get("maxmemory-policy")
    except ResponseError:
        return None


def _unreachable(location: BrokerLocation, error: BaseException) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, AuthenticationError):
        return f"The broker {location.shown} refuses the password: {cause}; correct CELERY_BROKER_URL."
    if isinstance(cause, AccessRefused):
        return f"The broker {location.shown} refuses the user or the password; correct CELERY_BROKER_URL."
    if isinstance(cause, ResponseError):  # it answers; a database out of range, a right that is missing
        return (
            f"The broker {location.shown} ({location.source}) refuses to be used: {str(cause).rstrip('.')}; "
            "correct CELERY_BROKER_URL, or give its user the rights named in docs/redis.md."
        )
    if isinstance(cause, NotAllowed):
        return (
            f"The broker {location.shown} does not let this user into the virtual host ({cause.reply_text}); "
            "make it with `rabbitmqctl add_vhost` and `set_permissions`, or correct CELERY_BROKER_URL."
        )
    named = HELP_WITH_RABBITMQ if rabbitmq.serves(location.url) else HELP_WITH_NAMED
    cure = named if location.source == NAMED else HELP
    return f"The broker {location.shown} ({location.source}) does not answer: {str(cause).rstrip('.')}; {cure}."
