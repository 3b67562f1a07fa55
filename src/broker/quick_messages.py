"""Celery that publishes plain tasks without needless work; everything else goes Celery's own way."""

import itertools
import os
import threading
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from celery import Celery, signals
from celery.app.routes import MapRoute
from celery.utils import uuid
from celery.utils.nodenames import anon_nodename
from kombu import Connection, Producer, Queue
from kombu.exceptions import EncodeError, OperationalError

from broker.away import AWAY_ERRORS
from broker.claim_channel import ClaimChannel
from broker.message_template import MessageTemplate, shown

PLAIN = frozenset({"queue", "priority", "time_limit", "soft_time_limit", "ignore_result", "serializer"})
"""Options that a plain message can have; with another one it is Celery that publishes."""

EVERY_MESSAGE = ("task_send_sent_event", "task_always_eager", "task_compression", "task_inherit_parent_priority")
"""Settings by which each message needs more than its template."""

PROTOCOL = 2
HIGHEST_NUMBER = 9
MOST_CONNECTIONS = 10_000
SEND_AT_ONCE = 500
WAYS_KEPT = 1_000
"""Tasks with their options; more, such as a queue of its own for each reply, are found anew."""

NOT_IN_MESSAGE = frozenset({"task_id", "task_type", "result_cls", "producer", "add_to_parent"})


@dataclass(frozen=True, slots=True)
class Way:
    """What is the same for all messages of one task with the same options."""

    template: MessageTemplate
    queue: str
    priority: int
    ignore_result: bool


class QuickPublishing:
    """Publishes plain messages of one application over one connection of its own.

    A message is plain when its task is named, its arguments are JSON, and it has nothing but `PLAIN` options: no due
    time, no callbacks, no headers; and when nobody listens to Celery's publish signals or wants an event.

    Args:
        app: the application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._ways: dict[Hashable, Way | None] = {}
        self._lock = threading.Lock()
        self._attempts: dict[int, Future[None]] = {}
        self._connection: Connection | None = None
        self._opened: tuple[int, ClaimChannel | None] = (0, None)
        """The process that connected, and what it publishes on; one value, as any thread may `forget` at any time."""
        self.producer: Producer | None = None

    def way(self, name: str, options: Mapping[str, Any], task: Any) -> Way | None:
        """Return how to publish a task with these options, or None where Celery must."""
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers:
            return None
        given = {key: value for key, value in options.items() if value is not None}
        if not given.keys() <= PLAIN:
            return None
        key = (name, *given.items())
        try:
            return self._ways[key]
        except KeyError:
            found = self._found(name, given, task)
            if len(self._ways) >= WAYS_KEPT:
                self._ways.clear()
            self._ways[key] = found
            return found
        except TypeError:  # a value that cannot be hashed
            return None

    def _found(self, name: str, given: dict[str, Any], task: Any) -> Way | None:
        conf = self._app.conf
        amqp = self._app.amqp
        by_function = any(not isinstance(route, MapRoute) for route in amqp.routes)
        if by_function or any(conf[name] for name in EVERY_MESSAGE):
            return None
        if given.get("serializer", conf.task_serializer) != "json":
            return None
        routed = amqp.router.route(dict(given), name, (), {}, task)
        queue: Queue | None = routed.get("queue")
        priority = routed.get("priority") or 0
        if type(priority) is not int or not 0 <= priority <= HIGHEST_NUMBER or conf.task_protocol != PROTOCOL:
            return None
        if not isinstance(queue, Queue) or queue.exchange.type != "direct" or not routed.keys() <= PLAIN:
            return None
        channel = self.channel()
        if channel is None:
            return None
        queue(channel).declare()
        headers: dict[str, Any] = {
            **dict.fromkeys(("shadow", "eta", "expires", "group", "group_index", "stamped_headers")),
            "lang": "py",
            "task": name,
            "retries": 0,
            "timelimit": [given.get("time_limit"), given.get("soft_time_limit")],
            "origin": anon_nodename(),
            "ignore_result": given.get("ignore_result"),
            "replaced_task_nesting": 0,
            "stamps": {},
        }
        template = MessageTemplate(headers, queue.name, priority)
        return Way(template, queue.name, priority, bool(given.get("ignore_result")))

    def channel(self) -> ClaimChannel | None:
        """Return this process's channel to publish on, or None where the broker is no Redis."""
        while True:
            process, channel = self._opened
            if process == os.getpid():
                return channel
            self._connect_together()

    def _connect_together(self) -> None:
        """Connect; who comes while another thread connects waits for that one, and gets the same error."""
        process = os.getpid()
        with self._lock:
            if self._opened[0] == process:
                return
            under_way = self._attempts.get(process)  # a fork does not wait for a thread that it does not have
            attempt = self._attempts[process] = under_way or Future[None]()
        if under_way is None:
            try:
                self._connect()
            except Exception as error:  # noqa: BLE001 - it is raised below, in every thread that waits for it
                attempt.set_exception(error)
            finally:
                with self._lock:
                    del self._attempts[process]
                if not attempt.done():
                    attempt.set_result(None)
        attempt.result()

    def _connect(self) -> None:
        # Each thread that publishes needs a connection; Kombu's limit of ten is an error to the eleventh.
        options = {"max_connections": MOST_CONNECTIONS, **self._app.conf.broker_transport_options}
        connection = self._app.connection_for_write(transport_options=options)
        try:
            channel = connection.default_channel
        except BaseException:
            connection.collect()
            raise
        with self._lock:
            self._ways.clear()
            self._connection = connection
            self.producer = Producer(channel, auto_declare=False)
            self._opened = os.getpid(), channel if isinstance(channel, ClaimChannel) else None

    def put(self, way: Way, text: str) -> bool:
        """Put a message into its queue; False where Celery is to send it, perhaps once more.

        Raises:
            OperationalError: it may have been put, and is not to be sent again.
        """
        try:
            with self.errors_of_celery():
                channel = self.channel()
                if channel is None:
                    return False
                channel.push(way.queue, way.priority, [text])
        except OperationalError:
            if not self._sends_again:
                raise
            return False
        return True

    @property
    def _sends_again(self) -> bool:
        conf = self._app.conf
        return bool(conf.task_publish_retry) and conf.task_publish_retry_policy.get("max_retries") != 0

    def forget(self) -> None:
        """Connect anew for the next message; what other threads are publishing over is closed when they are done."""
        with self._lock:
            connection, (_, channel) = self._connection, self._opened
            self._connection, self._opened = None, (0, None)
        if channel is not None:
            channel.close_idle()
        elif connection is not None:
            connection.collect()

    def close(self) -> None:
        """Close the connection; for who knows that no other thread publishes."""
        connection = self._connection
        self.forget()
        if connection is not None:
            connection.collect()

    @contextmanager
    def errors_of_celery(self) -> Generator[None]:
        """Raise what Celery raises where the broker cannot be reached, or refuses; the next message connects anew."""
        try:
            yield
        except AWAY_ERRORS as error:
            self.forget()
            if isinstance(error, OperationalError):
                raise
            raise OperationalError(str(error)) from error


class QuickCelery(Celery):
    """Celery, quicker at publishing what is plain, and at acknowledging.

    A message whose answer was lost may be in its queue. As with Celery, `task_publish_retry` decides: where it is on
    (the default) the message is sent again, so that it may be there twice, under one id; where it is off
    `OperationalError` is raised. `send_many` never sends again.
    """

    amqp_cls = "broker.prompt_connection:PromptAMQP"
    events_cls = "broker.one_try_events:OneTryEvents"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.add_defaults(
            lambda: {
                "worker_consumer": "broker.quick_consumer:QuickConsumer",
                # Celery's hundred tries took three quarters of an hour with its pauses; with ours they take minutes.
                "broker_connection_max_retries": None,
            }
        )
        self._quick = QuickPublishing(self)

    def send_task(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Send a task by name; arguments as Celery's."""
        options["task_id"] = task_id = options.get("task_id") or uuid()
        own = {key: value for key, value in options.items() if key not in NOT_IN_MESSAGE}
        if options.get("task_type") is None:
            own = self._tasks_options(name) | own
        args, kwargs = _both(arguments, own)
        way, text = None, None
        try:
            if args is not None and not options.get("producer"):
                way = self._quick.way(name, own, options.get("task_type"))
            if way is not None:
                text = self._ready(way, task_id, args, kwargs)
        except AWAY_ERRORS:
            self._quick.forget()  # Celery connects anew, by its own policy, or says what is wrong
        if way is not None and text is not None and self._quick.put(way, text):
            return self._result(task_id, way, options)
        return super().send_task(name, *arguments, **options)

    def send_many(
        self, name: str, arguments: Iterable[tuple[Sequence[Any], Mapping[str, Any]]], **options: Any
    ) -> list[str]:
        """Send many tasks of one name, in as few round trips as can be.

        Args:
            name: the task's name.
            arguments: positional and named arguments of each.
            options: what all of them have, as for `send_task`.

        Returns:
            Their ids, in the order of the arguments.

        Raises:
            EncodeError: an argument is no JSON value; some may have been sent.
            OperationalError: the broker cannot be reached; some may have been sent.
        """
        with self._quick.errors_of_celery():
            return self._send_many(name, arguments, options)

    def _send_many(self, name: str, arguments: Iterable[Any], options: dict[str, Any]) -> list[str]:
        way = self._quick.way(name, self._tasks_options(name) | options, self._registered(name))
        channel = self._quick.channel()
        sent: list[str] = []
        for some in _chunks(arguments):
            ids = [uuid() for _ in some]
            if way is None or channel is None or not way.ignore_result:
                for task_id, (args, kwargs) in zip(ids, some, strict=True):
                    super().send_task(name, args, kwargs, task_id=task_id, **options)
            else:
                try:
                    texts = [self._text(way, *one) for one in zip(ids, some, strict=True)]
                except (TypeError, ValueError) as error:
                    raise EncodeError(f"An argument of {name} is no JSON value: {error}.") from error
                channel.push(way.queue, way.priority, texts)
            sent += ids
        return sent

    def forget_quick_connection(self) -> None:
        """Close the connection that plain messages go over; the next one opens another."""
        self._quick.close()

    def _registered(self, name: str) -> Any:
        return cast("Any", self)._tasks.get(name)  # noqa: SLF001 - `tasks` would load every module that the application includes

    def _tasks_options(self, name: str) -> dict[str, Any]:
        """Return what a task known here says of its own messages: its queue, its limits and the like."""
        task = self._registered(name)
        options: dict[str, Any] = task._get_exec_options() if task else {}  # noqa: SLF001 - as Celery's own `send_task`
        return {key: value for key, value in options.items() if value is not None}

    def _ready(self, way: Way, task_id: str, args: Any, kwargs: Any) -> str | None:
        """Return a message that may be put; None where Celery has to say what is wrong with an argument."""
        try:
            text = self._text(way, task_id, (args, kwargs))
        except (TypeError, ValueError):
            return None
        if not way.ignore_result and self._quick.channel() is not None:
            self.backend.on_task_call(self._quick.producer, task_id)
        return text

    def _text(self, way: Way, task_id: str, arguments: tuple[Sequence[Any], Mapping[str, Any]]) -> str:
        parent, (args, kwargs) = self.current_worker_task, arguments
        request = parent.request if parent else None
        headers = {
            "root_id": (request.root_id or request.id) if request else task_id,
            "parent_id": request.id if request else None,
            "argsrepr": shown(args),
            "kwargsrepr": shown(kwargs),
        }
        return way.template.text(task_id, args, kwargs, headers, reply_to=self.thread_oid)

    def _result(self, task_id: str, way: Way, options: Mapping[str, Any]) -> Any:
        result = (options.get("result_cls") or self.AsyncResult)(task_id)
        result.ignored = way.ignore_result
        parent = self.current_worker_task
        if parent and options.get("add_to_parent", True):
            parent.add_trail(result)
        return result


def _both(arguments: tuple[Any, ...], own: dict[str, Any]) -> tuple[Any, Any]:
    """Return positional and named arguments of a task, or None twice where Celery must look at them."""
    args: Any = own.pop("args", None) if not arguments else arguments[0]
    kwargs: Any = own.pop("kwargs", None) if len(arguments) < 2 else arguments[1]  # noqa: PLR2004 - args, kwargs
    usual = isinstance(args or (), (list, tuple)) and isinstance(kwargs or {}, dict)
    return (args or (), kwargs or {}) if usual and len(arguments) <= 2 else (None, None)  # noqa: PLR2004 - args, kwargs


def _chunks(arguments: Iterable[tuple[Sequence[Any], Mapping[str, Any]]]) -> Iterator[list[Any]]:
    every = iter(arguments)
    while some := list(itertools.islice(every, SEND_AT_ONCE)):
        yield some
