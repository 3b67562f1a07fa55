"""What is wrong with an installation: each check by itself, so that one fault does not hide another."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.embedded_redis import find_server
from config.email_urls import read_ways
from config.settings import PROJECT_ROOT, ensure_folders, settings
from processors.errors import ServiceUnavailable, TransportFault, WorkError
from records import schema
from records.database import Database
from services.monitoring import mail, probes
from services.on_first_use import on_first_use
from services.signing import signer_of
from services.supervisor import described_ports
from services.wiring import parts

if TYPE_CHECKING:
    from adapters import smtp_mailer
    from processors import email_templates
    from services import call_lines
else:
    smtp_mailer = on_first_use("adapters", "smtp_mailer")
    email_templates = on_first_use("processors", "email_templates")
    call_lines = on_first_use("services", "call_lines")

FAULTS_SHOWN = 10
"""Broken templates, a line each."""


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
        "ports": lambda: described_ports(settings),
        "schema": _schema,
        "dkim": _dkim,
        "mail templates": _mail_templates,
    }
    found = [_find(name, check) for name, check in checks.items()]
    if all(one.good for one in found if one.name in {"folders", "schema"}):
        found += [_find(name, probe) for name, probe in (probes(parts()) | {"mail": _mail}).items()]
        found += [_find("mail servers", _mail_servers), _find("unsubscribing", _unsubscribing)]
        found.append(_find("phone", call_lines.described))
    return found


def _find(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, good=True, detail=check())
    except (WorkError, ValueError, OSError, TypeError, LookupError) as error:  # the last two: of a URL's unknown part
        return Finding(name, good=False, detail=str(error))


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    return f"{version} in {sys.prefix}"


RESTING = {"": "all mail", "@": "who has no open connection"}
"""What rests, where that is no domain."""


def _folders() -> str:
    ensure_folders(settings)
    free = shutil.disk_usage(settings.data_dir).free // 1024**2
    return f"{os.path.relpath(settings.data_dir, PROJECT_ROOT)}, {free} MB free"


def _dkim() -> str:
    signer = signer_of(settings)
    return f"signs for {signer.domain}" if signer is not None else "not set: mails are not signed"


def _mail_templates() -> str:
    """Tell whether all templates in their folder can be compiled, and which cannot."""
    folder = settings.email_templates_dir
    if folder is None:
        return "not set: no mail is made of a template"
    number, faults = email_templates.checked(folder)
    more = [f"… and {len(faults) - FAULTS_SHOWN} more"] if len(faults) > FAULTS_SHOWN else []
    if faults:
        raise ServiceUnavailable("\n".join([*faults[:FAULTS_SHOWN], *more]))
    return f"{number} in {folder}"


def _mail() -> str:
    """Connect and log in as a mail does, and tell what is wrong; what leaves nothing is asked nothing."""
    faults: list[str] = []
    for url in read_ways(settings.email_url).urls:
        if url.startswith(("smtp://", "smtps://")):
            mailer = smtp_mailer.SmtpMailer(url, connections=1, deadline=settings.email_deadline_seconds)
            try:
                mailer.open().close()
            except TransportFault as fault:
                faults.append(str(fault))
    if faults:
        raise ServiceUnavailable(" ".join(faults))
    return mail()


def _unsubscribing() -> str:
    base = urlsplit(settings.webhook_base_url)
    shown = f"{base.scheme}://{base.hostname}"
    if parts().unsubscribing.one_click:
        return f"with one click at {shown}"
    return f"WEBHOOK_BASE_URL is at {shown}, not https: no List-Unsubscribe is made, and links serve this machine alone"


def _mail_servers() -> str:
    """Tell which rest, and what they said."""
    resting = [
        f"{RESTING.get(domain, domain)} by {transport.partition('#')[0]} rests for {rest.seconds:.0f} s: {rest.reason}"
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
