"""One environment for each peer, because the peers do not resolve together: made once, from its lock, by pip."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).with_name("peers")


class Environment:
    """A virtual environment with exactly what one peer's lock names.

    Args:
        peer: the folder's name below `peers`.
        scratch: the folder in which environments are made.
    """

    def __init__(self, peer: str, scratch: Path) -> None:
        self._lock = PEERS / peer / "requirements.txt"
        self._folder = scratch / "environments" / peer
        self._stamp = self._folder / ".made-from"

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return self._folder / "bin"

    def make(self) -> None:
        """Make it, unless it was made from this lock already."""
        wanted = hashlib.sha256(self._lock.read_bytes() + sys.version.encode()).hexdigest()
        if self._stamp.exists() and self._stamp.read_text() == wanted:
            return
        print(f"Making {self._folder} from {self._lock.relative_to(PEERS.parents[1])}.")
        shutil.rmtree(self._folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(self._folder)], check=True)
        pip = [str(self.programs / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--require-hashes", "-r", str(self._lock)], check=True)
        self._stamp.write_text(wanted)
