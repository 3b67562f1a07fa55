"""What of the manifest lies in MODELS_DIR; looks at files alone, so that the sandboxed child can ask as well."""

from pathlib import Path
from typing import Literal

from processors.errors import ConfigurationError, FileError
from processors.model_manifest import OWN_MANIFEST, Model, ModelFile, manifest_with, model_missing

State = Literal["present", "missing", "damaged"]
WORST_FIRST: tuple[State, ...] = ("damaged", "missing", "present")


def read_manifest(folder: Path) -> dict[str, Model]:
    """Return the manifest, by name, with the user's own in MODELS_DIR.

    Raises:
        ConfigurationError: the user's own cannot be read, or is not acceptable.
    """
    path = folder / OWN_MANIFEST
    try:
        return manifest_with(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return manifest_with("")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}; it must be a UTF-8 text of this user's.") from error


def state_by_size(path: Path, file: ModelFile) -> State:
    """Return the state of one file: one of another size is damaged."""
    if not path.exists():
        return "missing"
    return "present" if path.is_file() and path.stat().st_size == file.bytes else "damaged"


def worst(states: list[State]) -> State:
    """Return the state of a model whose files are in these."""
    return min(states, key=WORST_FIRST.index)


def resolved(folder: Path, name_or_path: str) -> Path:
    """Return where a model lies: a file, or the folder of a model with several.

    Args:
        folder: MODELS_DIR.
        name_or_path: a name of the manifest, or a path, which is relative to MODELS_DIR.

    Raises:
        FileError: it is not there, or its size is another one, or the user's own manifest is not acceptable
            (`model_missing`).
    """
    try:
        model = read_manifest(folder).get(name_or_path)
    except ConfigurationError as error:
        raise FileError(f"The model {name_or_path} is not looked for: {error}", "model_missing") from error
    if model is None:
        path = folder / name_or_path
        if not path.exists():
            raise model_missing(name_or_path, str(path), None)
        return path
    path = folder / model.place
    state = worst([state_by_size(folder / model.place_of(file), file) for file in model.files])
    if state != "present":
        raise model_missing(name_or_path, str(path), model, damaged=state == "damaged")
    return path
