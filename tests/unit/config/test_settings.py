"""Settings: every variable is read, a bad one stops the start with one line, a secret is never shown."""

import os
import re
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from config import settings as module
from config.settings import PROJECT_ROOT, Settings, SettingsError, ensure_folders, explain, load_settings, shown

EXAMPLE = PROJECT_ROOT / ".env.example"


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No .env of this machine, and no variable of the run."""
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CELERY_BROKER_URL", "http://x", "must begin with one of redis://"),
        ("CELERY_BROKER_URL", "redis://h:99999/0", "must have a port from 1 to 65535"),
        ("CELERY_RESULT_BACKEND", "mongo://x", "must begin with one of"),
        ("CELERY_WORKER_CONCURRENCY", "0", "greater than 0"),
        ("CELERY_WORKER_CONCURRENCY", "many", "valid integer"),
        ("CELERY_TASK_MAX_RETRIES", "-1", "greater than or equal to 0"),
        ("CELERY_TASK_RETRY_BACKOFF", "perhaps", "valid boolean"),
        ("CELERY_TASK_RETRY_MAX_DELAY", "nan", "must be a finite number"),
        ("PUBLISH_TIMEOUT", "0", "greater than 0"),
        ("TASK_MODULES", "shop tasks", "must be names of modules, comma-separated, such as shop.tasks,invoices"),
        ("TASK_MODULES", "shop/tasks.py", "must be names of modules"),
        ("REDIS_KEY_PREFIX", "a b", "pattern"),
        ("LIMIT_DEFAULT", "100/d", "must be a figure per s, m or h such as 100/m, at most 1000000, or none"),
        ("PORT", "0", "must be a port from 1 to 65535"),
        ("FLOWER_PORT", "65536", "must be a port from 1 to 65535"),
        ("KEEP_RECORDS_DAYS", "40000", "less than or equal to 36600"),
        ("LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO"),
        ("DATABASE_URL", "mysql://x", "must begin with one of sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("EMAIL_URL", "http://x", "must begin with one of outbox://"),
        ("EMAIL_URL", "smtp://", "must name a host"),
        ("EMAIL_URL", "smtp://a;smtp://b", "must name a host"),
        ("EMAIL_URL", "smtp://h?tls=sometimes", "tls=required, tls=opportunistic or tls=none"),
        ("EMAIL_URL", "smtp://h?tsl=none", "tls=required, tls=opportunistic or tls=none"),
        ("EMAIL_FROM", "nobody", "must be one mail address"),
        ("EMAIL_FROM", "a@b.example, c@d.example", "must be one mail address"),
        ("EMAIL_FROM", "Ann <a@b.example", "must be one mail address"),
        ("EMAIL_FROM", "jürgen@b.example", "must be one mail address"),
        ("TWILIO_MESSAGING_SERVICE_SID", "AC00", "pattern"),
        ("VAPID_SUBJECT", "ops@example.com", "must be mailto: and a mail address, or an https:// address"),
        ("VAPID_SUBJECT", "http://example.com", "must be mailto: and a mail address"),
        ("NOTIFICATION_CHAT_SERVICES", "slack,dbus", "must be none, or some of slack, discord"),
        ("NOTIFICATION_CHAT_SERVICES", "none,slack", "must be none, or some of slack, discord"),
        ("EMAIL_MAX_MB", "0", "greater than 0"),
        ("EMAIL_DKIM_DOMAIN", "exa mple.com", "must be small letters, digits and -"),
        ("EMAIL_DKIM_SELECTOR", "s1;x", "must be small letters, digits and -"),
        ("CONTACT_DIRECTORY_URL", "http://example.com/{user_id}", "must be an https:// URL"),
        ("CONTACT_DIRECTORY_URL", "https://user:planted@example.com/{user_id}", "must be an https:// URL"),
        ("CONTACT_DIRECTORY_URL", "https://{user_id}.example.com/", "must have {user_id} once, after the host"),
        ("CONTACT_DIRECTORY_URL", "https://example.com/users", "must have {user_id} once"),
        ("CONTACT_DIRECTORY_URL", "https://example.com/{user}/{user_id}", "must have {user_id} once"),
        ("HOST", "a b", "must be an address or a name"),
        ("FLOWER_HOST", "http://localhost", "must be an address or a name"),
        ("WEBHOOK_BASE_URL", "http://", "must name a host"),
        ("STORAGE_URL", "s3://", "must be s3://bucket, s3://bucket/prefix or file:///folder"),
        ("STORAGE_URL", "s3://key:planted@bucket", "must be s3://bucket"),
        ("STORAGE_URL", "s3://bucket?endpoint=x", "must be s3://bucket"),
        ("STORAGE_URL", "file://relative/folder", "must be s3://bucket"),
        ("STORAGE_URL", "/folder", "must be s3://bucket"),
        ("FILE_HOSTS", "https://files.example.com", "must be names of hosts"),
        ("S3_ENDPOINT_URL", "minio:9000", "must begin with one of http://"),
        ("WEBHOOK_BASE_URL", "ftp://x", "must begin with one of http://"),
        ("TWILIO_BASE_URL", "http://user:planted@127.0.0.1:4010", "pattern"),
        ("TWILIO_BASE_URL", "api.twilio.com", "pattern"),
        ("TWILIO_BASE_URL", "https://api.twilio.com/2010-04-01", "pattern"),
        ("TWILIO_BASE_URL", "https://api.twilio.com:x", "must have a port from 1 to 65535"),
        ("TWILIO_BASE_URL", "https://api twilio.com", "must be https:// and a host"),
        ("TWILIO_BASE_URL", "https://:443", "must be https:// and a host"),
        ("TWILIO_BASE_URL", "http://api.twilio.com", "must be https:// and a host, or http:// and this machine"),
        ("TWILIO_CALLS_PER_SECOND", "0", "greater than 0"),
        ("TWILIO_MAX_LIVE_CALLS", "0", "greater than or equal to 1"),
        ("CALL_GREETING", " ", "must have something to say"),
        ("CALL_CALLER_IDENTITY", "\t\u200b", "must have something to say"),
        ("CALL_OPT_OUT_PROMPT", "  ", "must have something to say"),
        ("CALL_HOURS", "9-20", "pattern"),
        ("CALL_HOURS", "09:00-09:00", "must begin and end at different times"),
        ("CALL_HOURS_TIMEZONE", "Berlin", "must be the IANA name of a time zone"),
        ("CALL_HOURS_TIMEZONE", "../etc/passwd", "must be the IANA name"),
        ("CALL_HOURS_TIMEZONE", "Europe", "must be the IANA name"),
        ("CALL_FORWARD_TO", "0170 1234567", "pattern"),
        ("DATA_DIR", "~nobody-of-this-name/x", "must not begin with the ~ of a user"),
    ],
)
def test_a_bad_value_is_one_line_that_names_variable_value_and_what_is_accepted(monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{variable} is '")
    assert words in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EMAIL_FROM", "Jürgen Müller <j.mueller@bücher.example>"),
        ("EMAIL_FROM", "a+b@mail.example.com"),
        ("EMAIL_URL", "smtps://me:p%40ss@mail.example.com:465?tls=required"),
        ("EMAIL_URL", "outbox://"),
        ("HOST", "::1"),
        ("FLOWER_HOST", "0.0.0.0"),
        ("WEBHOOK_BASE_URL", "https://example.com/base"),
        ("STORAGE_URL", "s3://bucket.of-ours/some/prefix"),
        ("CALL_HOURS", "22:00-06:00"),
        ("CALL_HOURS_TIMEZONE", "America/New_York"),
        ("TWILIO_BASE_URL", "http://127.0.0.1:4010"),
        ("TWILIO_BASE_URL", "http://[::1]:4010"),
        ("TWILIO_BASE_URL", "https://api.dublin.ie1.twilio.com"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:9000"),
    ],
)
def test_a_good_value_is_taken_as_it_is(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    assert getattr(load_settings(), variable.lower()) == value


def test_each_of_two_bad_values_has_its_line(monkeypatch):
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "y")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert [line.split(" ")[0] for line in str(error.value).splitlines()] == ["PORT", "LOG_LEVEL"]


def test_calls_are_kept_for_as_long_as_they_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KEEP_CALL_DAYS", "6")
    load_settings()
    monkeypatch.setenv("CALL_MAX_PER_WEEK", "3")
    with pytest.raises(SettingsError, match="KEEP_CALL_DAYS is '6': must be at least 7"):
        load_settings()
    monkeypatch.setenv("KEEP_CALL_DAYS", "7")
    load_settings()


def test_others_reach_the_service_at_its_own_port_unless_another_address_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "8018")
    assert Settings().webhook_base_url == "http://localhost:8018"
    monkeypatch.setenv("WEBHOOK_BASE_URL", "http://localhost:9000")
    assert Settings().webhook_base_url == "http://localhost:9000"


def test_calls_are_forwarded_only_where_somebody_said_to_whom(monkeypatch):
    monkeypatch.setenv("CALL_INBOUND", "forward")
    with pytest.raises(SettingsError, match="CALL_FORWARD_TO must be set too"):
        load_settings()
    monkeypatch.setenv("CALL_FORWARD_TO", "+15555550100")
    assert load_settings().call_inbound == "forward"


def test_a_soft_limit_that_is_no_softer_than_the_hard_one_is_refused(monkeypatch):
    monkeypatch.setenv("CELERY_TASK_SOFT_TIME_LIMIT", "2000")
    with pytest.raises(SettingsError, match=r"CELERY_TASK_SOFT_TIME_LIMIT is '2000': must be less than"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CELERY_BROKER_URL", "redis://user:planted@host:x/0"),
        ("DATABASE_URL", "mysql://user:planted@host/db"),
        ("EMAIL_URL", "http://user:pla@planted@host"),
        ("TWILIO_AUTH_TOKEN", "planted"),
        ("S3_SECRET_ACCESS_KEY", "planted"),
    ],
)
def test_a_secret_is_shown_neither_in_an_error_nor_in_the_explanation(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    try:
        said = str(explain(load_settings())) + repr(load_settings())
    except SettingsError as error:
        said = str(error)
    assert "planted" not in said
    assert module.MASK in said


def test_a_variable_set_to_nothing_counts_as_unset(monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "")
    assert not load_settings().broker_given
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://h/1")
    assert load_settings().broker_given


def test_the_file_is_read_the_environment_wins_and_each_is_named_as_source(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PORT=9001\nFLOWER_PORT=9002\n")
    monkeypatch.setenv("FLOWER_PORT", "9003")
    loaded = load_settings()
    assert (loaded.port, loaded.flower_port) == (9001, 9003)
    sources = {name: source for name, _, source in explain(loaded)}
    assert (sources["PORT"], sources["FLOWER_PORT"], sources["HOST"]) == (".env", "environment", "default")


def test_a_file_that_is_no_text_is_one_line(tmp_path):
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings()


def test_hosts_are_split_and_artefacts_lie_where_a_file_url_says(monkeypatch):
    monkeypatch.setenv("FILE_HOSTS", "Files.example.com, media.example.com,")
    monkeypatch.setenv("STORAGE_URL", "file:///srv/some%20where")
    loaded = load_settings()
    assert loaded.file_hosts == ["files.example.com", "media.example.com"]
    assert loaded.storage_dir == Path("/srv/some where")


def test_folders_are_relative_to_the_project_and_lists_are_split(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    monkeypatch.setenv("CLEANUP_ROOTS", f"{tmp_path}, more ,")
    loaded = load_settings()
    assert loaded.data_dir == PROJECT_ROOT / "elsewhere"
    assert loaded.logs == PROJECT_ROOT / "elsewhere" / "logs"
    assert loaded.cleanup_roots == [tmp_path, PROJECT_ROOT / "more"]
    assert loaded.sqlalchemy_url == f"sqlite:///{PROJECT_ROOT}/elsewhere/records.db"


def test_models_lie_in_the_data_dir_unless_another_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    assert load_settings().models_dir == PROJECT_ROOT / "elsewhere" / "models"
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert load_settings().models_dir == tmp_path


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("sqlite:////abs/records.db", "sqlite:////abs/records.db"),
        ("sqlite:///rel.db", f"sqlite:///{PROJECT_ROOT}/rel.db"),
        ("sqlite:///a%3Fb.db?mode=rwc", f"sqlite:///{PROJECT_ROOT}/a%3Fb.db?mode=rwc"),
    ],
)
def test_database_urls_are_taken_as_hosts_print_them(monkeypatch, given, used):
    monkeypatch.setenv("DATABASE_URL", given)
    assert load_settings().sqlalchemy_url == used


@pytest.mark.parametrize("name", ["what?x", "50%41", "a#b", "sp ace", 'quo"te', "ünï"])
def test_the_database_lies_in_its_folder_whatever_the_folder_is_called(monkeypatch, name):
    monkeypatch.setenv("DATA_DIR", f"/data/{name}")
    assert make_url(load_settings().sqlalchemy_url).database == f"/data/{name}/records.db"


@pytest.mark.parametrize("missing", ["EMAIL_DKIM_DOMAIN", "EMAIL_DKIM_SELECTOR", "EMAIL_DKIM_KEY_FILE"])
def test_signing_needs_all_its_settings_and_names_the_missing_one(monkeypatch, missing):
    given = {"EMAIL_DKIM_DOMAIN": "example.com", "EMAIL_DKIM_SELECTOR": "s1", "EMAIL_DKIM_KEY_FILE": "dkim.pem"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load_settings().email_dkim_key_file == PROJECT_ROOT / "dkim.pem"
    monkeypatch.delenv(missing)
    with pytest.raises(SettingsError, match=f"^{missing} must be set too"):
        load_settings()


def test_folders_are_the_owners_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    loaded = load_settings()
    ensure_folders(loaded)
    assert {path.stat().st_mode & 0o777 for path in (loaded.data_dir, loaded.run_dir, loaded.storage_dir)} == {0o700}


def test_a_data_dir_that_cannot_be_made_is_one_line_with_the_cure(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(SettingsError, match="set DATA_DIR to a folder that this user may write"):
        ensure_folders(load_settings())


def test_a_folder_for_artefacts_that_cannot_be_made_is_one_line_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("STORAGE_URL", f"file://{tmp_path}/file/storage")
    with pytest.raises(SettingsError, match="set STORAGE_URL to a folder that this user may write"):
        ensure_folders(load_settings())


def test_a_data_dir_that_cannot_be_written_is_one_line_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(SettingsError, match=r"cannot be written: permission denied; set DATA_DIR"):
        ensure_folders(load_settings())


def test_a_models_dir_may_be_mounted_for_reading_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)
    ensure_folders(load_settings())


def test_the_example_lists_every_setting_once_commented_out_with_its_default():
    text = EXAMPLE.read_text()
    assert all(not line or line.startswith("#") for line in text.splitlines())
    listed = re.findall(r"^# ([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    assert [name for name, _ in listed] == [name.upper() for name in Settings.model_fields]
    for name, value in listed:
        default = Settings.model_fields[name.lower()].default
        expected = (
            ""
            if default is None or default in ([], {})
            else str(default).lower()
            if isinstance(default, bool)
            else str(default)
        )
        assert value == expected, name


def test_a_masked_url_keeps_what_is_no_secret():
    assert (
        shown("database_url", "postgresql://u:p@h:5/d?sslpassword=x&a=b")
        == "postgresql://u:***@h:5/d?sslpassword=***&a=b"
    )
    assert shown("port", 5) == "5"


def test_task_modules_are_names_between_commas(monkeypatch):
    assert load_settings().task_modules == []
    monkeypatch.setenv("TASK_MODULES", " shop.tasks, invoices,")
    assert load_settings().task_modules == ["shop.tasks", "invoices"]


def test_the_chat_services_are_those_named_none_or_left_to_the_default(monkeypatch):
    assert load_settings().notification_chat_services is None
    monkeypatch.setenv("NOTIFICATION_CHAT_SERVICES", "Slack, mmosts")
    assert load_settings().notification_chat_services == ["slack", "mmosts"]
    monkeypatch.setenv("NOTIFICATION_CHAT_SERVICES", "none")
    assert load_settings().notification_chat_services == []


def test_a_directory_of_contacts_may_be_on_this_machine_and_its_token_is_shown_to_nobody(monkeypatch):
    monkeypatch.setenv("CONTACT_DIRECTORY_URL", "http://127.0.0.1:8000/people?id={user_id}")
    monkeypatch.setenv("CONTACT_DIRECTORY_TOKEN", "planted-token")
    monkeypatch.setenv("NOTIFICATION_CRITICAL_TYPES", "password_reset, alarm")
    settings = load_settings()
    assert settings.contact_directory_url == "http://127.0.0.1:8000/people?id={user_id}"
    assert settings.notification_critical_types == ["password_reset", "alarm"]
    assert "planted" not in f"{settings!r} {explain(settings)}"
