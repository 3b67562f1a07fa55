"""Packages that are not there on every machine: cryptography has no build for Macs with Intel."""

from importlib import import_module
from typing import Any

from processors.errors import ConfigurationError


def load(module: str, needed_by: str, cure: str) -> Any:
    """Return a module that is, or needs, such a package.

    Args:
        module: its full name.
        needed_by: what cannot be done without it: the first word of a sentence.
        cure: what to do instead of installing it.

    Raises:
        ConfigurationError: the package is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise ConfigurationError(
            f"{needed_by} needs the package {package}, which is not installed (for Macs with Intel none is built): "
            f"compile it by `pip install {package}`, or {cure}."
        ) from error
