"""The web process: `python -m api`."""

import gc
import os
import socket
import sys

import uvicorn

from api.app import create_app
from api.connections import Connection, room
from config.log_setup import configure
from config.settings import ensure_folders, settings
from processors.errors import ConfigurationError, WorkError
from processors.redaction import redact_shown
from services.wiring import parts

GRACE_SECONDS = 5
KEEP_ALIVE_SECONDS = 15


def main() -> None:
    """Serve until told to stop; what is wrong at the start is one line."""
    try:
        ensure_folders(settings)
        parts()
        app = create_app(settings)
        listener = listen(settings.host, settings.port)
    except (WorkError, ValueError, OSError) as error:
        sys.exit(str(error))
    gc.collect()
    gc.freeze()  # going through all that was loaded held requests up for tens of milliseconds, again and again
    configure("web", settings.log_level, redact=redact_shown, folder=settings.logs)
    config = uvicorn.Config(
        app,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        http=Connection,
        limit_concurrency=room(),
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        ConfigurationError: it is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        cause = os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"The web process cannot listen on {host} port {port}: {cause}; set HOST or PORT to another one."
        ) from error


if __name__ == "__main__":
    main()
