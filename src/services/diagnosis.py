"""What is wrong with an installation: each check by itself, so that one fault does not hide another."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from broker.embedded_redis import find_server
from config.settings import PROJECT_ROOT, ensure_folders, settings
from processors.errors import ServiceUnavailable, WorkError
from records import schema
from records.database import Database
from services.monitoring import probes
from services.signing import signer_of
from services.wiring import parts


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its name, whether all is well, and what was found with the cure."""

    name: str
    good: bool
    detail: str


def diagnose() -> list[Finding]:
    """Run every check; a fault of one is its finding."""
    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "folders": _folders,
        "redis server": find_server if not settings.broker_given else lambda: "not needed: CELERY_BROKER_URL names one",
        "schema": _schema,
        "dkim": _dkim,
    }
    found = [_find(name, check) for name, check in checks.items()]
    if all(one.good for one in found if one.name in {"folders", "schema"}):
        found += [_find(name, probe) for name, probe in probes(parts()).items()]
        found.append(_find("mail servers", _mail_servers))
    return found


def _find(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, good=True, detail=check())
    except (WorkError, ValueError, OSError) as error:
        return Finding(name, good=False, detail=str(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{version} in {sys.prefix}"


def _folders() -> str:
    ensure_folders(settings)
    free = shutil.disk_usage(settings.data_dir).free // 1024**2
    return f"{os.path.relpath(settings.data_dir, PROJECT_ROOT)}, {free} MB free"


def _dkim() -> str:
    signer = signer_of(settings)
    return f"signs for {signer.domain}" if signer is not None else "not set: mails are not signed"


def _mail_servers() -> str:
    """Tell which rest, and what they said."""
    resting = [
        f"{domain or 'all mail'} by {transport.partition('#')[0]} rests for {rest.seconds:.0f} s: {rest.reason}"
        for transport, domains in parts().mail_rests.all().items()
        for domain, rest in domains.items()
    ]
    if resting:
        raise ServiceUnavailable("; ".join(resting))
    return "none rests"


def _schema() -> str:
    database = Database(settings.sqlalchemy_url)
    try:
        found = schema.version(database)
    finally:
        database.close()
    if found is not None and found != schema.VERSION:
        raise ServiceUnavailable(schema.mismatch(database, found))
    return f"{database.shown}, version {found or 'none yet'}"
