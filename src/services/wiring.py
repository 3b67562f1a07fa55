"""Settings in; records, adapters and engines out. Made on first use in each process, never at import."""

from __future__ import annotations  # what only some tasks need is imported by the part that makes it

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.canvas import Signature
from kombu import Connection

from broker.bulk_publish import Message
from broker.claim_channel import ClaimChannel
from config.email_urls import read_ways
from config.secret_files import secret
from config.settings import PROJECT_ROOT, ensure_folders, settings
from processors.limits import DefaultLimits, rate_of, webhooks_at_once
from records import schema
from records.ai_answers import AiAnswers
from records.cached_results import CachedResults
from records.chords import Chords
from records.database import Database
from records.deliveries import DeliveryRecords
from records.digests import Digests
from records.effects import EffectRecords
from records.holds import Holds
from records.identity import database_id
from records.incidents import Incidents
from records.leadership import Leadership
from records.limits import Limits
from records.members import MemberRecords
from records.parents import Parents
from records.submit_keys import SubmitKeys
from records.task_logs import TaskLogs
from records.task_moves import TaskMoves
from records.task_pauses import TaskPauses
from records.task_records import TaskRecords
from records.workers import Workers
from services.celery_app import celery_app
from services.publisher import Publisher

if TYPE_CHECKING:
    from processors.ai_gateway import Gateway
    from processors.ai_interfaces import EmbeddingEngine, SentimentEngine
    from processors.call_interfaces import VoiceProvider
    from processors.carriers import Carrier
    from processors.contacts import ContactDirectory
    from processors.interfaces import (
        FileCleaner,
        FileSandbox,
        FileSource,
        Mailer,
        ObjectStorage,
        OfficeConverter,
        SideBySide,
    )
    from processors.mail_events.interfaces import Sns
    from processors.mail_interfaces import MailTemplates, Signer
    from processors.order_pace import OrderPace
    from processors.unsubscribing import Unsubscribing
    from processors.webhooks import WebhookDoor
    from records.ai_calls import AiCalls
    from records.api_keys import ApiKeys
    from records.audit import Audit
    from records.call_events import CallEvents
    from records.call_gates import CallGates
    from records.call_moves import WhatNext
    from records.call_records import CallRecords
    from records.contacts import ContactRecords
    from records.email_events import EmailEvents
    from records.inbox import InboxRecords
    from records.mail_rests import MailRestRecords
    from records.opt_outs import OptOuts
    from records.people import PeopleRecords
    from records.saved_views import SavedViews
    from records.schedules import Schedules
    from records.suppressions import SuppressionRecords
    from records.task_marks import TaskMarks
    from records.task_minutes import TaskMinutes
    from records.uploads import Uploads
    from records.users import Users
    from records.webhook_bodies import WebhookBodies
    from records.webhook_endpoints import WebhookEndpoints

CODE = ("src", "scripts", ".env", "alembic.ini", "flowerconfig.py", "pyproject.toml")
MOST_OCR_PROCESSES = 4
EMBEDDING_THREADS = 1
"""Of one task: the worker's processes share the machine's processors."""

LOGGING_PARTS = ("worker", "beat", "leader", "web")


class Parts:
    """What every process of the service uses, over one database.

    Adapters, engines and what only some tasks need are imported on first use: a program that only submits loads no
    vendor library and no model, and an idle worker holds little.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tasks = TaskRecords(database)
        self.default_limits = default_limits()
        self.moves = TaskMoves(database, self.default_limits)
        self.limits = Limits(database, self.default_limits)
        self.holds = Holds(database, self.default_limits, settings.tenant_room)
        self.parents = Parents(database)
        self.task_pauses = TaskPauses(database)
        self.submit_keys = SubmitKeys(database)
        self.members = MemberRecords(database)
        self.deliveries = DeliveryRecords(database)
        self.effects = EffectRecords(database)
        self.workers = Workers(database)
        self.incidents = Incidents(database)
        self.task_logs = TaskLogs(database)
        self.chords = Chords(database)
        self.leadership = Leadership(database)
        self.cached_results = CachedResults(database)
        self.digests = Digests(database)
        self.ai_answers = AiAnswers(database)

    @cached_property
    def task_marks(self) -> TaskMarks:
        """What differs whenever a task's status does."""
        return _records("task_marks", "TaskMarks")(self.database)

    @cached_property
    def schedules(self) -> Schedules:
        """What is to be submitted when."""
        return _records("schedules", "Schedules")(self.database)

    @cached_property
    def mail_rests(self) -> MailRestRecords:
        """The mail servers that were asked to be left alone."""
        return _records("mail_rests", "MailRestRecords")(self.database)

    @cached_property
    def suppressions(self) -> SuppressionRecords:
        """Who is not mailed."""
        return _records("suppressions", "SuppressionRecords")(self.database)

    @cached_property
    def email_events(self) -> EmailEvents:
        """What was told of mails after they had gone out."""
        return _records("email_events", "EmailEvents")(self.database)

    @cached_property
    def contacts(self) -> ContactRecords:
        """How people are reached."""
        return _records("contacts", "ContactRecords")(self.database)

    @cached_property
    def inbox(self) -> InboxRecords:
        """People's inboxes."""
        return _records("inbox", "InboxRecords")(self.database)

    @cached_property
    def calls(self) -> CallRecords:
        """Phone calls and their attempts."""
        return _records("call_records", "CallRecords")(self.database, _what_next())

    @cached_property
    def call_events(self) -> CallEvents:
        """What was told of phone calls."""
        return _records("call_events", "CallEvents")(self.database, _what_next())

    @cached_property
    def call_gates(self) -> CallGates:
        """The one door to an order for a call."""
        return _records("call_gates", "CallGates")(self.database)

    @cached_property
    def order_pace(self) -> OrderPace:
        """Keeps orders for calls apart that leave this process."""
        made = import_module("processors.order_pace").OrderPace()
        return self.__dict__.setdefault("order_pace", made)  # one for all threads that come first at once

    @cached_property
    def opt_outs(self) -> OptOuts:
        """Numbers that are not called."""
        return _records("opt_outs", "OptOuts")(self.database)

    @cached_property
    def voice(self) -> VoiceProvider:
        """What makes phone calls.

        Raises:
            ConfigurationError: Twilio's account or token is not set.
        """
        return import_module("services.call_lines").provider_of(settings)

    @cached_property
    def uploads(self) -> Uploads:
        """Files that came over HTTP."""
        return _records("uploads", "Uploads")(self.database)

    @cached_property
    def people(self) -> PeopleRecords:
        """Who is known by face."""
        return _records("people", "PeopleRecords")(self.database)

    @cached_property
    def ai_calls(self) -> AiCalls:
        """What AI calls took, and what providers allow."""
        return _records("ai_calls", "AiCalls")(self.database)

    @cached_property
    def api_keys(self) -> ApiKeys:
        """Keys of the API."""
        return _records("api_keys", "ApiKeys")(self.database)

    @cached_property
    def webhook_endpoints(self) -> WebhookEndpoints:
        """Who is told of ends by webhooks."""
        return _records("webhook_endpoints", "WebhookEndpoints")(self.database)

    @cached_property
    def webhook_bodies(self) -> WebhookBodies:
        """What they are told again."""
        return _records("webhook_bodies", "WebhookBodies")(self.database)

    @cached_property
    def webhook_door(self) -> WebhookDoor:
        """The way to them."""
        return _adapter("webhook_sender", "WebhookSender")()

    @cached_property
    def audit(self) -> Audit:
        """Who did what."""
        return _records("audit", "Audit")(self.database)

    @cached_property
    def minutes(self) -> TaskMinutes:
        """What came and ended in each minute."""
        return _records("task_minutes", "TaskMinutes")(self.database)

    @cached_property
    def users(self) -> Users:
        """People who use the dashboard."""
        return _records("users", "Users")(self.database)

    @cached_property
    def views(self) -> SavedViews:
        """Views of the task list that they have saved."""
        return _records("saved_views", "SavedViews")(self.database)

    @cached_property
    def database_id(self) -> str:
        """The record database's own id."""
        return database_id(self.database)

    @cached_property
    def publisher(self) -> Publisher:
        """Publishes records."""
        return Publisher(self.database_id)

    @cached_property
    def mailer(self) -> Mailer:
        """What EMAIL_URL names, within what EMAIL_ONLY_TO and EMAIL_REDIRECT_ALL_TO allow."""
        ways = read_ways(settings.email_url)
        mailers = [self._mailer(url) for url in ways.urls]
        mailer = mailers[0]
        if ways.order != "single":
            mailer = _adapter("several_mailers", "SeveralMailers")(mailers, ways.order)
        only_to = settings.email_only_to.replace(",", " ").split()
        if only_to or settings.email_redirect_all_to:
            return _adapter("staging_mailer", "StagingMailer")(mailer, only_to, settings.email_redirect_all_to)
        return mailer

    def _mailer(self, url: str) -> Mailer:
        scheme = url.partition(":")[0]
        if scheme == "outbox":
            return _adapter("outbox_mailer", "OutboxMailer")(settings.outbox_dir)
        if scheme == "null":
            return _adapter("null_mailer", "NullMailer")()
        mailer = _adapter("smtp_mailer", "SmtpMailer")(
            url, connections=settings.email_connections, deadline=settings.email_deadline_seconds
        )
        return _adapter("resting_mailer", "RestingMailer")(
            mailer, mailer.account.key, self.mail_rests, settings.email_max_per_minute
        )

    @property
    def email_from(self) -> str:
        """The author of mails that name none."""
        return settings.email_from

    @cached_property
    def carriers(self) -> Mapping[str, Carrier]:
        """What carries notifications, for the channels that are configured: `push`, `sms`, `chat`."""
        return import_module("services.channels").Carriers(settings)

    def missing_carrier(self, channel: str) -> str | None:
        """Return a sentence that says which settings a channel needs, or None where it has a carrier."""
        return import_module("services.channels").missing_carrier(channel, settings)

    @cached_property
    def signer(self) -> Signer | None:
        """What signs mails by the EMAIL_DKIM_ settings, whose key is read once; None where they are unset.

        Raises:
            ConfigurationError: the key file cannot be read or used, or what signs is not installed.
        """
        if settings.email_dkim_domain is None:
            return None  # nothing of it is loaded
        return import_module("services.signing").signer_of(settings)

    @cached_property
    def templates(self) -> MailTemplates | None:
        """What makes mails of the templates in EMAIL_TEMPLATES_DIR; None where that is unset."""
        folder = settings.email_templates_dir
        return None if folder is None else import_module("processors.email_templates").Templates(folder)

    @cached_property
    def unsubscribing(self) -> Unsubscribing:
        """Makes and reads the addresses where somebody unsubscribes."""
        key = settings.email_unsubscribe_key or secret(settings.run_dir / "unsubscribe-key")
        return import_module("processors.unsubscribing").Unsubscribing(key, settings.webhook_base_url)

    @cached_property
    def sns(self) -> Sns:
        """What brings the certificates of SES's events."""
        return _adapter("amazon_sns", "AmazonSns")()

    @cached_property
    def contact_directory(self) -> ContactDirectory | None:
        """What CONTACT_DIRECTORY_URL names."""
        if settings.contact_directory_url is None:
            return None
        return _adapter("contact_directory", "HttpContactDirectory")(
            settings.contact_directory_url, settings.contact_directory_token
        )

    @cached_property
    def storage(self) -> ObjectStorage:
        """Where artefacts are kept: what STORAGE_URL names."""
        if settings.storage_url and settings.storage_url.startswith("s3:"):
            bucket, _, prefix = settings.storage_url.removeprefix("s3://").partition("/")
            return _adapter("s3_storage", "S3Storage")(_s3_client(), bucket, prefix.rstrip("/"))
        return _adapter("disk_storage", "DiskStorage")(settings.storage_dir)

    def file_source(self, scheme: str) -> FileSource:
        """Return what brings files from the addresses of one scheme: `https`, `s3` or `store`."""
        bounds = _adapter("pouring", "Bounds")(settings.max_file_mb, settings.file_time_limit_seconds)
        if scheme == "s3":
            return _adapter("s3_files", "S3Files")(_s3_client(), bounds)
        if scheme == "store":
            return _adapter("stored_files", "StoredFiles")(self.storage, bounds)
        return _adapter("web_files", "WebFiles")(bounds, settings.file_hosts)

    @cached_property
    def cleaner(self) -> FileCleaner:
        """Removes old files below the roots that may be cleaned."""
        return _adapter("disk_cleaner", "DiskCleaner")(cleanup_roots(), protected_paths(), PROJECT_ROOT)

    @cached_property
    def sandbox(self) -> FileSandbox:
        """The child in which untrusted files are opened."""
        return _adapter("file_sandbox", "ChildSandbox")(
            memory_mb=settings.file_memory_limit_mb,
            cpu_seconds=settings.file_cpu_limit_seconds,
            wall_seconds=settings.file_time_limit_seconds,
            output_mb=settings.file_output_limit_mb,
            max_file_mb=settings.max_file_mb,
            allow_unsandboxed=settings.allow_unsandboxed,
            loading=_loading(),
        )

    @cached_property
    def side_by_side(self) -> SideBySide:
        """What reads groups of pages as pictures: OCR_PROCESSES, else this worker process's share of the processors."""
        share = (os.cpu_count() or 1) // settings.celery_worker_concurrency
        at_once = settings.ocr_processes or max(1, min(share, MOST_OCR_PROCESSES))
        if at_once == 1:
            return import_module("processors.document_pictures").OneByOne()
        return _adapter("side_by_side", "SideBySideThreads")(at_once)

    @cached_property
    def converter(self) -> OfficeConverter | None:
        """Converts documents of the Office before 2007; None where LIBREOFFICE is not set and none is on PATH."""
        program = settings.libreoffice or shutil.which("soffice") or shutil.which("libreoffice")
        if program is None:
            return None
        return _adapter("libreoffice_converter", "LibreOfficeConverter")(
            Path(program),
            settings.tmp_dir,
            memory_mb=settings.file_memory_limit_mb,
            cpu_seconds=settings.file_cpu_limit_seconds,
            wall_seconds=settings.file_time_limit_seconds,
            max_file_mb=settings.max_file_mb,
        )

    @cached_property
    def ai_gateway(self) -> Gateway:
        """The way to the providers that OPENAI_API_KEY, OPENAI_BASE_URL and AI_PROVIDERS name."""
        return import_module("processors.ai_gateway").Gateway(
            import_module("services.ai_tools").routes_of(settings),
            self.ai_calls,
            self.ai_answers,
            cache_seconds=settings.ai_cache_seconds,
            patience=settings.ai_patience_seconds,
        )

    @cached_property
    def sentiment(self) -> SentimentEngine:
        """Tells how sentences sound."""
        return _engine("vader_sentiment", "VaderSentiment")()

    @cached_property
    def embedding_engine(self) -> EmbeddingEngine:
        """Turns texts into vectors on this machine.

        Raises:
            FileError: its packages are not installed.
        """
        return _engine("minilm_embedder", "MiniLmEmbedder")(EMBEDDING_THREADS)

    @cached_property
    def host(self) -> Any:
        """The figures of this machine."""
        return _adapter("host", "Host")(settings.data_dir)


def _what_next() -> WhatNext:
    return import_module("processors.call_outcomes").what_next


def _loading() -> dict[str, Any]:
    """Return what the children that open files are told: the models, and the folders that they are read from."""
    folders = [settings.models_dir, settings.whisper_folder]
    if settings.object_model and (folder := (settings.models_dir / settings.object_model).parent).is_dir():
        folders.append(folder)
    return {
        "readable": list(map(str, folders)),
        "threads": settings.file_engine_threads,
        "models_dir": str(settings.models_dir),
        "object_model": settings.object_model,
    }


def parts() -> Parts:
    """Return this process's parts; the first call makes the folders and, where there is none, the schema.

    Raises:
        ConfigurationError: the schema is of another version, or a folder cannot be written.
        ServiceUnavailable: the database does not answer.
    """
    if _others:
        return _others[-1]
    if _own_parts.cache_info().currsize:
        return _own_parts()
    with _making:
        return _own_parts()


@contextmanager
def parts_replaced(others: Parts) -> Generator[None]:
    """Let this process work with other parts meanwhile, in all its threads."""
    _others.append(others)
    try:
        yield
    finally:
        _others.remove(others)


_others: list[Parts] = []
_making = threading.RLock()  # else each of the threads that come first at once makes parts, with a database of its own


@lru_cache(maxsize=1)
def _own_parts() -> Parts:
    ensure_folders(settings)
    database = Database(settings.sqlalchemy_url)
    schema.prepare(database)
    return Parts(database)


def default_limits() -> DefaultLimits:
    """Return the limits that settings give."""
    return DefaultLimits(
        usual=rate_of(settings.limit_default),
        high_priority=rate_of(settings.limit_high_priority),
        categories={
            "ai_processing": rate_of(settings.limit_ai_processing),
            "file_processing": rate_of(settings.limit_file_processing),
        },
        at_once=webhooks_at_once(settings.celery_worker_concurrency),
    )


def cleanup_roots() -> list[Path]:
    """Return the folders below which old files may be removed."""
    own = [settings.tmp_dir, settings.logs, Path("/tmp"), Path(tempfile.gettempdir())]  # noqa: S108 - a root to clean
    return list(dict.fromkeys([*own, *settings.cleanup_roots]))


def protected_paths() -> list[Path]:
    """Return what a clean-up must never touch, wherever the roots lie."""
    kept = [settings.run_dir, settings.storage_dir, settings.outbox_dir, settings.models_dir, settings.redis_dir]
    url = (
        Path(Database(settings.sqlalchemy_url).url.database or "").resolve()
        if settings.sqlalchemy_url.startswith("sqlite")
        else None
    )
    return [
        *kept,
        *([url, *(url.with_name(url.name + ending) for ending in ("-wal", "-shm"))] if url else []),
        *(settings.logs / f"{part}{ending}" for part in LOGGING_PARTS for ending in (".log", ".lock")),
        *(PROJECT_ROOT / name for name in CODE),
        *([settings.email_dkim_key_file] if settings.email_dkim_key_file else []),
        *([settings.email_templates_dir] if settings.email_templates_dir else []),
        Path(sys.prefix),
    ]


def _s3_client() -> Any:
    """Return the client for the S3 service of the settings."""
    access = _adapter("s3_bucket", "S3Access")(
        endpoint_url=settings.s3_endpoint_url,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        region=settings.s3_region,
    )
    return _adapter("s3_bucket", "client_of")(access)


def _records(module: str, name: str) -> Any:
    return getattr(import_module(f"records.{module}"), name)


def _adapter(module: str, name: str) -> Any:
    return getattr(import_module(f"adapters.{module}"), name)


def _engine(module: str, name: str) -> Any:
    return getattr(import_module(f"engines.{module}"), name)


def _fresh_after_fork() -> None:
    """Let a forked child make its own mailer, storage, model, templates and pace; the database looks after itself."""
    _renew_locks()
    if _own_parts.cache_info().currsize:
        for name in ("mailer", "storage", "embedding_engine", "templates", "order_pace"):
            _own_parts().__dict__.pop(name, None)


def _renew_locks() -> None:
    """Let a forked child wait for no thread of its parent: one that was making a part, or a message, held its lock."""
    global _making  # noqa: PLW0603 - the parts are the process's as well
    _making = threading.RLock()
    of_celery = (Signature, *type(celery_app).__mro__, *type(vars(celery_app).get("amqp")).__mro__)
    of_kombu = (Connection, *ClaimChannel.__mro__)  # which hold theirs whenever they are looked at
    for one in (Parts, Database, SubmitKeys, Message, *of_celery, *of_kombu):
        for part in vars(one).values():
            if isinstance(part, cached_property):
                vars(part)["lock"] = threading.RLock()  # of Python 3.11 and kombu


os.register_at_fork(after_in_child=_fresh_after_fork)
