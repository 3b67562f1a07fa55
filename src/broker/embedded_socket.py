"""Where the embedded Redis of a DATA_DIR is reached: all that those who only use it need to know of it."""

import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from config.settings import Settings

SOCKET_PATH_BYTES = 100


def embedded_url(settings: Settings) -> str | None:
    """Return the URL of this DATA_DIR's embedded server, or None where there has never been one."""
    password = settings.run_dir / "redis-password"
    try:
        secret = password.read_text().strip()
    except OSError:
        return None
    return f"redis+socket://:{secret}@{quote(str(socket_path(settings)))}?virtual_host=0"


def socket_path(settings: Settings) -> Path:
    """Return where the socket lies: in DATA_DIR/run, or in a folder of the owner's where that path is too long."""
    usual = settings.run_dir / "redis.sock"
    if len(os.fsencode(usual)) <= SOCKET_PATH_BYTES:
        return usual
    name = hashlib.sha256(os.fsencode(settings.data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"csai-{os.getuid()}-{name}" / "redis.sock"
