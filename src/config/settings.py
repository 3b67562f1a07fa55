"""The settings: the only reader of the environment.

Each field is read from the environment variable of the same name in capitals, or from `.env` in the project's root.
A bad value stops the start with one line that names the variable, what it was and what is accepted.
"""

import os
import re
import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from config.ai_providers import (
    AiProvider,
    checked_address,
    checked_key,
    read_name_lists,
    read_names,
    read_providers,
)
from config.chat_services import CHAT_SERVICES
from config.email_urls import read_ways

PROJECT_ROOT = Path(__file__).resolve().parents[2]
ENV_FILE = PROJECT_ROOT / ".env"

SECRET_FIELDS = (
    "redis_sentinel_password",
    "twilio_auth_token",
    "twilio_former_auth_tokens",
    "openai_api_key",
    "s3_secret_access_key",
    "ai_providers",
    "email_unsubscribe_key",
    "email_mailgun_signing_key",
    "email_postmark_secret",
    "contact_directory_token",
)
DKIM_FIELDS = ("email_dkim_domain", "email_dkim_selector", "email_dkim_key_file")
BROKER_SCHEMES = ("redis", "rediss", "redis+socket", "sentinel", "amqp", "amqps", "pyamqp")
DATABASE_SCHEMES = ("sqlite", "postgres", "postgresql", "postgresql+psycopg")
WEB_SCHEMES = ("http", "https")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LIMIT_PATTERN = re.compile(r"none|([1-9]\d{0,5}|1000000)/[smh]")
ADDRESS_PATTERN = re.compile(r"[!-;=?A-~]+@[^@\s<>.,]+(\.[^@\s<>.,]+)*")
SENDER_PATTERN = re.compile(r"([^<>\x00-\x1f]*<)?[!-;=?A-~]+@[^@\s<>.,]+(\.[^@\s<>.,]+)+(?(1)>)")
HOST_PATTERN = re.compile(r"[A-Za-z0-9.:_%-]+")
NAME_PATTERN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")
STORAGE_PATTERN = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?|file:///[^?#]+")
SUBJECT_PATTERN = re.compile(r"mailto:[^\s@]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
TOPIC_PATTERN = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
E164_PATTERN = r"^\+[1-9][0-9]{6,14}$"
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
IN_PASSWORDS = "in a password / @ : ; # ? are written as %2F %40 %3A %3B %23 %3F"
MASK = "***"


def _port(value: int) -> int:
    if not 1 <= value <= 65535:  # noqa: PLR2004 - RFC 9293: a port is 16 bits; 0 would be any
        raise ValueError("must be a port from 1 to 65535")
    return value


Port = Annotated[int, AfterValidator(_port)]
Positive = Annotated[int, Field(gt=0)]
MailSize = Annotated[int, Field(gt=0, le=1000)]
Room = Annotated[int, Field(gt=0, le=500)]
Threads = Annotated[int, Field(gt=0, le=64)]
DAYS_OF_A_WEEK = 7
Days = Annotated[int, Field(gt=0, le=36_600)]
UploadHours = Annotated[int, Field(gt=0, le=878_400)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Folders = Annotated[list[Path], NoDecode]
Modules = Annotated[list[str], NoDecode]
Names = Annotated[list[str], NoDecode]
Types = Annotated[list[str], NoDecode]
AiProviders = Annotated[
    dict[str, AiProvider], NoDecode, BeforeValidator(lambda value: read_providers(value, PROJECT_ROOT))
]
Topics = Annotated[list[str], NoDecode]
Secret = Annotated[str, Field(min_length=16, max_length=1_000)]
NamesByName = Annotated[dict[str, str], NoDecode, BeforeValidator(read_names)]
NameListsByName = Annotated[dict[str, list[str]], NoDecode, BeforeValidator(read_name_lists)]


class SettingsError(ValueError):
    """A setting is not acceptable; one line for each bad variable."""


class Settings(BaseSettings):
    """Every setting, with its default."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    # Celery
    celery_broker_url: str = Field(
        default="redis://localhost:6379/0", repr=False, description="The broker; unset: the embedded Redis."
    )
    celery_result_backend: str = Field(
        default="redis://localhost:6379/0",
        repr=False,
        description="Accepted for compatibility; results are kept in the records.",
    )
    celery_worker_concurrency: Positive = Field(default=4, description="Processes of one worker.")
    celery_worker_max_tasks_per_child: Positive = Field(default=1000, description="Tasks before a process is replaced.")
    celery_worker_max_memory_per_child: Positive = Field(
        default=1_000_000, description="KiB before a process is replaced."
    )
    celery_task_time_limit: Positive = Field(default=1800, description="Seconds after which a task is killed.")
    celery_task_soft_time_limit: Positive = Field(
        default=1500, description="Seconds after which a task is told to end."
    )
    ai_task_time_limit: Positive = Field(default=600, description="Seconds after which an AI task is killed.")
    ai_task_soft_time_limit: Positive = Field(default=540, description="Seconds after which an AI task is told to end.")
    celery_task_max_retries: int = Field(default=3, ge=0, description="Retries of a task that failed for now.")
    celery_task_retry_backoff: bool = Field(default=True, description="Whether each retry waits twice as long.")
    celery_task_retry_max_delay: Seconds = Field(
        default=600, description="The longest wait before a retry, in seconds."
    )
    celery_task_retry_jitter: bool = Field(default=True, description="Whether a retry's wait is drawn by chance.")
    celery_send_events: bool = Field(default=True, description="Whether workers send task events (Flower shows them).")
    io_concurrency: Positive = Field(default=20, description="Slots of the input/output worker that `all` starts.")
    soft_shutdown_timeout: Seconds = Field(default=25, description="Seconds that a stopping worker gives its tasks.")
    publish_timeout: Seconds = Field(
        default=2, description="Seconds a submit waits for the broker before the relay takes over."
    )
    redis_key_prefix: str = Field(
        default="csai:", pattern=r"^[A-Za-z0-9:_.-]{0,64}$", description="Prefix of every Redis key."
    )
    redis_sentinel_master: str = Field(
        default="mymaster", min_length=1, description="What Sentinel calls the Redis of a sentinel:// broker."
    )
    redis_sentinel_password: str | None = Field(
        default=None, repr=False, description="Sentinel's own password; that of its Redis is in the URL."
    )

    # An adopter's own
    task_modules: Modules = Field(default=[], description="Modules, comma-separated, with tasks of your own.")

    # Limits: starts per second (s), minute (m) or hour (h); none lifts one
    limit_default: str = Field(default="100/m", description="Starts per category.")
    limit_high_priority: str = Field(default="200/m", description="Starts from the queue high_priority.")
    limit_ai_processing: str = Field(default="10/m", description="Starts of AI tasks.")
    limit_file_processing: str = Field(default="50/m", description="Starts of file tasks.")
    tenant_room: Room = Field(
        default=50,
        description="Tasks of tenants that lie in one queue ahead of the workers; the others wait for turns.",
    )

    # Data
    data_dir: Path = Field(
        default=Path("var"), description="Everything the service keeps; relative to the project's root."
    )
    log_dir: Path | None = Field(default=None, description="Log files; unset: logs below DATA_DIR.")
    database_url: str | None = Field(
        default=None, repr=False, description="The record database; unset: SQLite in DATA_DIR."
    )
    storage_url: str | None = Field(
        default=None,
        repr=False,
        description="Where artefacts are kept: s3://bucket/prefix, or file:///folder; unset: DATA_DIR/storage.",
    )
    file_roots: Folders = Field(
        default=[], description="Folders, comma-separated, that paths given over HTTP must lie under."
    )
    cleanup_roots: Folders = Field(
        default=[], description="More folders, comma-separated, below which old files may be removed."
    )
    keep_records_days: Days = Field(default=30, description="Days that records of ended tasks are kept.")
    keep_logs_days: Days = Field(default=14, description="Days that logs are kept.")

    # Schedule
    schedule_process_pending_tasks: bool = Field(default=True, description="Publish what waits, every minute.")
    schedule_worker_heartbeats: bool = Field(default=True, description="Look after workers' rows, every minute.")
    schedule_health_check: bool = Field(default=True, description="Check the service, every 5 minutes.")
    schedule_cleanup_old_tasks: bool = Field(default=True, description="Remove old records, every hour.")
    schedule_cleanup_old_files: bool = Field(
        default=True, description="Remove old files in DATA_DIR/tmp, every 6 hours."
    )
    schedule_cleanup_old_logs: bool = Field(default=True, description="Remove old logs, every 6 hours.")

    # Files
    max_file_mb: Positive = Field(default=500, description="The largest file that is processed.")
    keep_uploads_hours: UploadHours = Field(
        default=24, description="Hours that an upload is kept that no task has; a task keeps it as long as itself."
    )
    max_pages: Positive = Field(default=2000, description="Pages of a document or a TIFF that are read.")
    max_characters: Positive = Field(default=10_000_000, description="Characters of a document that are kept.")
    max_page_images: Positive = Field(
        default=10, description="Pages of a PDF, from the first one on, of which pictures are kept."
    )
    max_pixels: Positive = Field(default=80_000_000, description="Pixels of a picture that is decoded.")
    object_model: str | None = Field(
        default=None,
        description="What finds objects: a model's name such as yolox-s, or an ONNX file; unset: OpenCV, roughly.",
    )
    inline_text_kb: Positive = Field(
        default=256, description="Text up to this size is part of the result, longer is an artefact."
    )
    max_archive_members: Positive = Field(
        default=1000, description="Members of an archive that are listed and processed, with those of archives inside."
    )
    max_archive_mb: Positive = Field(default=512, description="What an archive may unpack to, with archives inside.")
    file_memory_limit_mb: Positive = Field(default=2048, description="Memory of the child that opens files.")
    file_cpu_limit_seconds: Positive = Field(default=300, description="Processor time for one file.")
    file_time_limit_seconds: Positive = Field(default=600, description="Wall time for one file.")
    file_output_limit_mb: Positive = Field(default=64, description="The largest result for one file.")
    file_engine_threads: Threads = Field(default=1, description="Threads of one engine in the child that opens files.")
    ocr_processes: Threads | None = Field(
        default=None,
        description="Children in which one task reads pages as pictures; unset: CPUs / CELERY_WORKER_CONCURRENCY, 1-4.",
    )
    max_media_seconds: Positive = Field(default=14_400, description="Seconds of sound or film that are read.")
    speech_engine: Literal["auto", "whisper", "endpoint", "pocketsphinx"] = Field(
        default="auto",
        description="Speech to text: auto is Whisper's folder, a set endpoint, or, without SPEECH_MODEL, pocketsphinx.",
    )
    speech_model: str | None = Field(
        default=None, description="Whisper's folder (unset: whisper in MODELS_DIR), or the endpoint's model."
    )
    speech_url: str | None = Field(
        default=None, repr=False, description="An endpoint like OpenAI's for speech alone; unset: OPENAI_BASE_URL."
    )
    allow_unsandboxed: bool = Field(default=False, description="Open files without a sandbox where there is none.")
    file_hosts: Names = Field(
        default=[], description="The only hosts, comma-separated, that https:// files are read from; unset: any."
    )
    s3_endpoint_url: str | None = Field(default=None, repr=False, description="An S3 service that is not Amazon's.")
    s3_access_key_id: str | None = Field(default=None, description="The key for S3; unset: boto3 looks for one.")
    s3_secret_access_key: str | None = Field(default=None, repr=False, description="Its secret.")
    s3_region: str | None = Field(default=None, description="The region of the buckets; unset: boto3 looks for one.")
    cache_results: bool = Field(
        default=False, description="Answer a file that was read before, in the same way, by what was found then."
    )
    models_dir: Path = Field(default=Path("models"), description="Model files; relative to DATA_DIR.")
    allow_model_downloads: bool = Field(default=False, description="Let `csai models fetch` download model files.")

    libreoffice: Path | None = Field(
        default=None, description="soffice, which reads DOC, XLS and PPT; unset: the one on PATH, if any."
    )

    # Mail
    email_url: str = Field(
        default="outbox://",
        repr=False,
        description="outbox://, smtp(s)://user:password@host:port, null://, or failover(…), roundrobin(…) of several.",
    )
    email_connections: int = Field(
        default=8, ge=1, le=64, description="Connections to each mail server, in one process at most."
    )
    email_deadline_seconds: float = Field(
        default=120, ge=5, le=120, description="What one mail may take in all; lower it only while no worker runs."
    )
    email_max_per_minute: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Mails to each server in a minute, of all workers; unset: any."
    )
    email_only_to: str = Field(
        default="", description="For staging: patterns such as *@example.com, comma-separated; nobody else gets mail."
    )
    email_redirect_all_to: str | None = Field(
        default=None, description="For staging: the one address that gets all mail instead of its recipients."
    )
    email_from: str = Field(default="noreply@localhost.localdomain", description="The sender where a mail names none.")
    email_on_doubt: Literal["hold", "resend"] = Field(
        default="hold", description="A mail that may have arrived: hold sends it never again, resend perhaps twice."
    )
    email_unsubscribe_key: Secret | None = Field(
        default=None, repr=False, description="Signs unsubscribe addresses; unset: a key of this DATA_DIR's own."
    )
    email_ses_topics: Topics = Field(
        default=[], description="ARNs of SNS topics, comma-separated, that SES tells its events to."
    )
    email_sendgrid_public_key: str | None = Field(
        default=None, description="The verification key of SendGrid's signed event webhook."
    )
    email_mailgun_signing_key: Secret | None = Field(
        default=None, repr=False, description="Mailgun's HTTP webhook signing key."
    )
    email_postmark_secret: Secret | None = Field(
        default=None, repr=False, description="What Postmark's webhooks bring: a password, or X-Postmark-Secret."
    )

    email_max_mb: MailSize = Field(default=25, description="The largest mail that is sent, with all its files.")
    email_templates_dir: Path | None = Field(
        default=None, description="The folder of mail templates; relative to the project's root; unset: no templates."
    )
    email_dkim_domain: str | None = Field(default=None, description="The domain that signs mails (DKIM); unset: none.")
    email_dkim_selector: str | None = Field(
        default=None, description="Where its public key is: SELECTOR._domainkey.DOMAIN in the DNS."
    )
    email_dkim_key_file: Path | None = Field(
        default=None, description="Its private key: a PEM file that only its owner can read; RSA or Ed25519."
    )

    # Notifications
    contact_directory_url: str | None = Field(
        default=None,
        repr=False,
        description="What is asked for contacts: https://host/users/{user_id}; unset: what was set here is all.",
    )
    contact_directory_token: str | None = Field(
        default=None, repr=False, description="What it is given as Authorization: Bearer."
    )
    notification_critical_types: Types = Field(
        default=[],
        description="Types, comma-separated, that are told whatever preferences, quiet hours and digests say.",
    )
    keep_inbox_days: Days = Field(default=90, description="Days that notifications are kept in the inbox.")

    # Phone
    twilio_account_sid: str | None = Field(default=None, description="Twilio's account.")
    twilio_auth_token: str | None = Field(default=None, repr=False, description="Twilio's token.")
    twilio_phone_number: str | None = Field(default=None, description="The number that calls.")
    twilio_base_url: str = Field(
        default="https://api.twilio.com",
        pattern=r"^https?://[^/?#@]+$",
        description="Where Twilio is; the phone simulator is at http://127.0.0.1:4010.",
    )
    twilio_former_auth_tokens: str = Field(
        default="", repr=False, description="Tokens, comma-separated, whose signatures are taken while one is changed."
    )
    twilio_calls_per_second: float = Field(
        default=1.0, gt=0, le=100, allow_inf_nan=False, description="Calls a second, over all workers, of the account."
    )
    twilio_max_live_calls: int | None = Field(
        default=None, ge=1, description="Live calls at any moment, over all campaigns; unset: no bound."
    )
    call_number_check: Literal["shape", "plan"] = Field(
        default="shape", description="Which numbers are called: all of E.164's shape, or those of known plans only."
    )
    call_greeting: str = Field(
        default="Hello. This is an automated call.",
        min_length=1,
        max_length=1_000,
        description="What is said to who calls, and in calls that have no message.",
    )
    call_inbound: Literal["greeting", "voicemail", "forward"] = Field(
        default="greeting", description="What is done for who calls our number."
    )
    call_forward_to: str | None = Field(
        default=None, pattern=E164_PATTERN, description="Where CALL_INBOUND=forward puts them through to."
    )
    call_hours: str | None = Field(
        default=None,
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="When campaigns call, by the clocks of who is called: 09:00-20:00; unset: at any time.",
    )
    call_hours_timezone: str | None = Field(
        default=None, description="The zone of numbers that do not say theirs; unset: CALL_HOURS leaves those out."
    )
    call_max_per_day: int | None = Field(
        default=None, ge=1, description="Calls to one number in 24 hours, over all campaigns; unset: no bound."
    )
    call_max_per_week: int | None = Field(default=None, ge=1, description="The same in seven days.")
    call_caller_identity: str | None = Field(
        default=None, min_length=1, max_length=500, description="Who calls: said first in campaigns; unset: nothing."
    )
    call_opt_out_prompt: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Said in campaigns; who presses 9 is called no more; unset: nothing.",
    )
    keep_call_days: Days = Field(default=120, description="Days that calls and what was told of them are kept.")
    webhook_base_url: str = Field(
        default="http://localhost:8001",
        repr=False,
        description="Where others reach this service: Twilio, mail providers, who unsubscribes; PORT here unless set.",
    )

    # Notifications
    twilio_messaging_service_sid: str | None = Field(
        default=None,
        pattern=r"^MG[0-9a-fA-F]{32}$",
        description="Twilio's messaging service that sends texts; unset: TWILIO_PHONE_NUMBER sends them.",
    )
    vapid_private_key_file: Path | None = Field(
        default=None, description="The key of web push, a PEM file of its owner's: see docs/notifications.md."
    )
    vapid_subject: str | None = Field(
        default=None, description="Whom push services may write to: mailto:… or https://…."
    )
    notification_chat_services: Annotated[list[str] | None, NoDecode] = Field(
        default=None,
        description="Chat services, comma-separated, that may be notified, or none; unset: see the same page.",
    )

    # AI
    openai_api_key: str | None = Field(
        default=None, repr=False, description="The key of the OpenAI-compatible endpoint."
    )
    openai_base_url: str | None = Field(default=None, repr=False, description="The endpoint; unset: OpenAI's own.")
    openai_model: str | None = Field(default=None, description="The model where a caller names none.")
    openai_embedding_model: str | None = Field(
        default=None, description="The same for embeddings; unset: OPENAI_MODEL, or text-embedding-ada-002."
    )
    ai_providers: AiProviders = Field(
        default={},
        repr=False,
        description="More endpoints, with keys, models, limits and prices: see docs/ai.md.",
    )
    ai_aliases: NamesByName = Field(default={}, description="Other names for models: fast=gpt-4o-mini,smart=gpt-4.")
    ai_fallbacks: NameListsByName = Field(
        default={}, description="Models that are asked where one does not answer: gpt-4=gpt-4o|llama3."
    )
    ai_cache_seconds: int = Field(
        default=0, ge=0, description="So long an answer also answers equal requests of later tasks; 0: not at all."
    )
    ai_patience_seconds: Seconds = Field(
        default=2, description="So long a task waits for a provider's limit in its slot; for longer it gives it back."
    )
    keep_ai_usage_days: Days = Field(default=400, description="Days that the usage and cost of AI calls are kept.")

    # Web
    host: str = Field(default="127.0.0.1", description="The address that the API and the dashboard listen on.")
    port: Port = Field(default=8001, description="Their port.")
    api_max_body_mb: Positive = Field(default=64, description="The largest body of a request; uploads: MAX_FILE_MB.")
    api_limit: str = Field(default="1000/s", description="Requests with one key, in each web process.")
    api_limit_failed_keys: str = Field(default="20/m", description="The same with keys that are none, of one address.")
    keep_audit_days: Days = Field(default=400, description="Days that it is kept who changed what.")
    flower_host: str = Field(default="127.0.0.1", description="The address that Flower listens on.")
    flower_port: Port = Field(default=5555, description="Flower's port.")
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    task_log_level: str = Field(
        default="INFO", description="From which level on what a task logs is kept with its record."
    )

    @field_validator("file_roots", "cleanup_roots", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [_from_root(Path(part.strip())) for part in value.split(",") if part.strip()]

    @field_validator("task_modules", mode="before")
    @classmethod
    def _modules(cls, value: Any) -> Any:
        names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not all(word.isidentifier() for name in names for word in name.split(".")):
            raise ValueError("must be names of modules, comma-separated, such as shop.tasks,invoices")
        return names

    @field_validator("file_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        names = [part.strip().lower() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not all(NAME_PATTERN.fullmatch(name) for name in names):
            raise ValueError("must be names of hosts, comma-separated, such as files.example.com,media.example.com")
        return names

    @field_validator("email_ses_topics", mode="before")
    @classmethod
    def _topics(cls, value: Any) -> Any:
        names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not all(TOPIC_PATTERN.fullmatch(name) for name in names):
            raise ValueError("must be ARNs, comma-separated, such as arn:aws:sns:eu-west-1:123456789012:mail")
        return names

    @field_validator("notification_chat_services", mode="before")
    @classmethod
    def _chats(cls, value: Any) -> Any:
        if value is None:
            return None
        names = [part.strip().lower() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not set(names) <= {*CHAT_SERVICES, "none"} or ("none" in names and len(names) > 1):
            raise ValueError(f"must be none, or some of {', '.join(CHAT_SERVICES)}, comma-separated")
        return [] if names == ["none"] else names

    @field_validator("vapid_subject")
    @classmethod
    def _subject(cls, value: str | None) -> str | None:
        if value is not None and not SUBJECT_PATTERN.fullmatch(value):
            raise ValueError(
                "must be mailto: and a mail address, or an https:// address, such as mailto:ops@example.com"
            )
        return value

    @field_validator("notification_critical_types", mode="before")
    @classmethod
    def _types(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("contact_directory_url")
    @classmethod
    def _directory(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(_with_scheme(value, WEB_SCHEMES))
        local = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
        if not parts.hostname or not (local or parts.scheme == "https") or parts.username is not None or parts.fragment:
            raise ValueError("must be an https:// URL (http:// on this machine alone) without a user and a #")
        if value.count("{user_id}") != 1 or "{user_id}" in parts.netloc or "{" in value.replace("{user_id}", ""):
            raise ValueError("must have {user_id} once, after the host, such as https://example.com/users/{user_id}")
        return value

    @field_validator("contact_directory_token")
    @classmethod
    def _directory_token(cls, value: str | None) -> str | None:
        return value and checked_key(value)

    @field_validator(
        "data_dir", "log_dir", "libreoffice", "vapid_private_key_file", "email_dkim_key_file", "email_templates_dir"
    )
    @classmethod
    def _resolve(cls, value: Path | None) -> Path | None:
        return None if value is None else _from_root(value)

    @field_validator("models_dir")
    @classmethod
    def _models(cls, value: Path, info: ValidationInfo) -> Path:
        return _from(info.data.get("data_dir", PROJECT_ROOT), value)  # without it where DATA_DIR is no folder's name

    @field_validator("log_level", "task_log_level", mode="before")
    @classmethod
    def _level(cls, value: str) -> str:
        if str(value).upper() not in LOG_LEVELS:
            raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
        return str(value).upper()

    @field_validator("celery_broker_url", "celery_result_backend")
    @classmethod
    def _broker(cls, value: str) -> str:
        return _with_scheme(value, BROKER_SCHEMES)

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.startswith("sqlite:") and not re.fullmatch(r"sqlite:///(?!:memory:).+", value):
            raise ValueError("must name a file such as sqlite:///var/records.db, which all processes share")
        return _with_scheme(value, DATABASE_SCHEMES)

    @field_validator("email_url")
    @classmethod
    def _email(cls, value: str) -> str:
        read_ways(value)
        return value

    @field_validator("email_redirect_all_to")
    @classmethod
    def _redirect(cls, value: str | None) -> str | None:
        if value is not None and not ADDRESS_PATTERN.fullmatch(value):
            raise ValueError("must be one mail address such as staging@example.com")
        return value

    @field_validator("email_only_to")
    @classmethod
    def _only_to(cls, value: str) -> str:
        bad = [one for one in value.replace(",", " ").split() if one.count("@") != 1]
        if bad:
            raise ValueError("must be addresses or patterns such as *@example.com, comma-separated")
        return value

    @field_validator("email_from")
    @classmethod
    def _sender(cls, value: str) -> str:
        if not SENDER_PATTERN.fullmatch(value):
            raise ValueError("must be one mail address such as noreply@example.com or Service <noreply@example.com>")
        return value

    @field_validator("email_dkim_domain", "email_dkim_selector")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        if value is not None and not NAME_PATTERN.fullmatch(value):
            raise ValueError("must be small letters, digits and -, with . between parts, such as example.com")
        return value

    @field_validator("host", "flower_host")
    @classmethod
    def _address(cls, value: str) -> str:
        if not HOST_PATTERN.fullmatch(value):
            raise ValueError("must be an address or a name of this machine such as 127.0.0.1, ::1 or localhost")
        return value

    @field_validator("webhook_base_url", "openai_base_url", "s3_endpoint_url", "speech_url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not urlsplit(_with_scheme(value, WEB_SCHEMES)).hostname:
            raise ValueError("must name a host such as https://example.com")
        return value

    @field_validator("twilio_base_url")
    @classmethod
    def _twilio(cls, value: str) -> str:
        parts = urlsplit(_with_scheme(value, WEB_SCHEMES))
        local = parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
        if not HOST_PATTERN.fullmatch(parts.hostname or "") or not (local or parts.scheme == "https"):
            raise ValueError("must be https:// and a host, or http:// and this machine such as http://127.0.0.1:4010")
        return value

    @field_validator("openai_base_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        return value and checked_address(value)

    @field_validator("openai_api_key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        return value and checked_key(value)

    @field_validator("storage_url")
    @classmethod
    def _storage(cls, value: str | None) -> str | None:
        if value is not None and not STORAGE_PATTERN.fullmatch(value):
            raise ValueError("must be s3://bucket, s3://bucket/prefix or file:///folder")
        return value

    @field_validator("call_greeting", "call_caller_identity", "call_opt_out_prompt")
    @classmethod
    def _said(cls, value: str | None) -> str | None:
        if value is not None and not any(unicodedata.category(one)[0] not in "CZ" for one in value):
            raise ValueError("must have something to say, not white space only")
        return value

    @field_validator("call_hours")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None and len(set(value.split("-"))) == 1:
            raise ValueError("must begin and end at different times; unset it to call at any time")
        return value

    @field_validator("call_hours_timezone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (OSError, ValueError, ZoneInfoNotFoundError):  # OSError: the name of a folder
                raise ValueError("must be the IANA name of a time zone, such as Europe/Berlin") from None
        return value

    @field_validator(
        "limit_default",
        "limit_high_priority",
        "limit_ai_processing",
        "limit_file_processing",
        "api_limit",
        "api_limit_failed_keys",
    )
    @classmethod
    def _limit(cls, value: str) -> str:
        if not LIMIT_PATTERN.fullmatch(value):
            raise ValueError("must be a figure per s, m or h such as 100/m, at most 1000000, or none")
        return value

    @model_validator(mode="after")
    def _reached_at_its_port(self) -> Self:
        if "webhook_base_url" not in self.model_fields_set:
            self.webhook_base_url = f"http://localhost:{self.port}"
        return self

    @model_validator(mode="after")
    def _soft_before_hard(self) -> Self:
        for kind in ("celery_task", "ai_task"):
            soft, hard = getattr(self, f"{kind}_soft_time_limit"), getattr(self, f"{kind}_time_limit")
            if soft >= hard:
                name = kind.upper()
                raise ValueError(f"{name}_SOFT_TIME_LIMIT is '{soft}': must be less than {name}_TIME_LIMIT ('{hard}')")
        return self

    @model_validator(mode="after")
    def _whole_dkim(self) -> Self:
        given = {name: getattr(self, name) for name in DKIM_FIELDS}
        missing = [name.upper() for name, value in given.items() if value is None]
        if missing and len(missing) < len(given):
            raise ValueError(f"{' and '.join(missing)} must be set too: {', '.join(map(str.upper, given))} go together")
        return self

    @model_validator(mode="after")
    def _whole_forward(self) -> Self:
        if self.call_inbound == "forward" and self.call_forward_to is None:
            raise ValueError("CALL_FORWARD_TO must be set too: CALL_INBOUND is 'forward'")
        return self

    @model_validator(mode="after")
    def _whole_week(self) -> Self:
        if self.call_max_per_week is not None and self.keep_call_days < DAYS_OF_A_WEEK:
            raise ValueError(
                f"KEEP_CALL_DAYS is '{self.keep_call_days}': must be at least {DAYS_OF_A_WEEK}, as long as "
                "CALL_MAX_PER_WEEK counts calls"
            )
        return self

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.log_dir or self.data_dir / "logs"

    @property
    def broker_given(self) -> bool:
        """Whether somebody named a broker."""
        return "celery_broker_url" in self.model_fields_set

    @property
    def sqlalchemy_url(self) -> str:
        """The record database's URL as SQLAlchemy takes it."""
        if self.database_url is None:
            return _sqlite_url(self.data_dir / "records.db")
        scheme, rest = self.database_url.split("://", 1)
        if scheme == "sqlite":
            path, mark, options = rest.removeprefix("/").partition("?")
            return _sqlite_url(_from_root(Path(unquote(path)))) + mark + options
        return f"postgresql+psycopg://{rest}"

    @property
    def run_dir(self) -> Path:
        """Sockets, passwords, keys and pids; for the owner's eyes only."""
        return self.data_dir / "run"

    @property
    def redis_dir(self) -> Path:
        """What the embedded Redis keeps."""
        return self.data_dir / "redis"

    @property
    def storage_dir(self) -> Path:
        """Artefacts, where a disk keeps them."""
        if self.storage_url and self.storage_url.startswith("file:"):
            return Path(unquote(urlsplit(self.storage_url).path))
        return self.data_dir / "storage"

    @property
    def outbox_dir(self) -> Path:
        """Mail that was written instead of sent."""
        return self.data_dir / "outbox"

    @property
    def tmp_dir(self) -> Path:
        """Files that may go at any time."""
        return self.data_dir / "tmp"

    @property
    def whisper_folder(self) -> Path:
        """Where Whisper's model lies, or is to lie: what SPEECH_MODEL names, in the project's root or in MODELS_DIR."""
        if self.speech_model is None:
            return self.models_dir / "whisper"
        named = _from_root(Path(self.speech_model))
        return named if named.is_dir() else self.models_dir / self.speech_model


def load_settings() -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: one line for each bad variable: its name, what it was (secrets masked), what is accepted.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_line(dict(problem)) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE} cannot be read: {error}; it must be a UTF-8 text of this user's.") from None


def environment_of_another(**given: str) -> dict[str, str]:
    """Return the environment for processes of another installation: this one's variables are left out.

    Args:
        given: the other one's variables, in capitals; `.env` still speaks for those that are not given.
    """
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in ours} | given


def ensure_folders(settings: Settings) -> None:
    """Make DATA_DIR and its folders, readable by the owner alone; `run` is kept so, whoever made it.

    Raises:
        SettingsError: a folder cannot be made or written.
    """
    folders = (settings.data_dir, settings.run_dir, settings.redis_dir, settings.storage_dir, settings.outbox_dir)
    for folder in (*folders, settings.tmp_dir, settings.models_dir, settings.logs):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder == settings.run_dir:
                folder.chmod(0o700)
            writable = os.access(folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise SettingsError(_unwritable(settings, folder, error.strerror or str(error))) from error
        if not writable and folder != settings.models_dir:  # which may be mounted for reading alone
            raise SettingsError(_unwritable(settings, folder, "permission denied"))


def explain(settings: Settings) -> list[tuple[str, str, str]]:
    """Return (variable, value as it may be shown, source) for every setting."""
    sources = {
        "environment": EnvSettingsSource(Settings).env_vars,
        ".env": DotEnvSettingsSource(Settings).env_vars,
        "default": Settings.model_fields,
    }
    return [
        (
            name.upper(),
            shown(name, getattr(settings, name)),
            next(key for key, names in sources.items() if name in names),
        )
        for name in Settings.model_fields
    ]


def shown(name: str, value: object) -> str:
    """Return a setting's value with its secrets masked."""
    if name in SECRET_FIELDS and value:
        return MASK
    text = str(value)
    if not name.endswith("_url"):
        return text
    # up to the last @, so that a password that nobody percent-encoded is hidden whole
    text = re.sub(r":(?!//).*@", f":{MASK}@", text, flags=re.DOTALL)
    return re.sub(r"(?i)([?&;][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", rf"\1{MASK}", text)


def _from_root(path: Path) -> Path:
    return _from(PROJECT_ROOT, path)


def _from(folder: Path, path: Path) -> Path:
    try:
        return folder / path.expanduser()
    except RuntimeError:
        raise ValueError("must not begin with the ~ of a user that does not exist") from None


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"  # a folder's % and ? are no part of the URL's own syntax


def _with_scheme(value: str, schemes: tuple[str, ...]) -> str:
    """Check a URL, or several with ; between them (Sentinel, a RabbitMQ cluster)."""
    for part in value.split(";"):
        if not part.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}")
        try:
            port = urlsplit(part).port
        except ValueError:
            raise ValueError(f"must have a port from 1 to 65535; {IN_PASSWORDS}") from None
        if port == 0:
            raise ValueError("must have a port from 1 to 65535")
    return value


def _line(problem: dict[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    if not problem["loc"]:
        return message + "."
    name = str(problem["loc"][0])
    return f"{name.upper()} is {shown(name, problem['input'])!r}: {message}."


def _unwritable(settings: Settings, folder: Path, cause: str) -> str:
    named = {
        settings.log_dir: "LOG_DIR",
        settings.storage_dir if settings.storage_url else None: "STORAGE_URL",
        settings.models_dir: "MODELS_DIR",
    }
    variable = named.get(folder, "DATA_DIR")
    return f"The folder {folder} cannot be written: {cause}; set {variable} to a folder that this user may write."


try:
    settings = load_settings()
except SettingsError as problem:
    sys.stderr.write(f"{problem}\n")
    raise SystemExit(2) from None
