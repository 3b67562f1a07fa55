"""Flower's configuration, read by `celery -A services.celery_app:celery_app flower` from the project's root.

Options on the command line win over these; a login is asked for in any case, and on any address but this machine's own
Flower manages nothing (`services.flower_guard`).
"""

from broker.location import resolve
from config.settings import ensure_folders, settings
from services.access import flower_login
from services.celery_app import celery_app
from services.flower_guard import guard, masked, tls_of

ensure_folders(settings)
guard()
if tls := tls_of(resolve(settings).url):
    celery_app.conf.broker_use_ssl = tls

address = settings.flower_host
port = settings.flower_port
basic_auth = [flower_login(settings)]
max_tasks = 10_000
format_task = masked
natural_time = False
purge_offline_workers = 300
