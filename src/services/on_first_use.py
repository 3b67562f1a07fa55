"""Modules that are imported when something of them is first used: an idle worker holds nothing that only tasks need.

Type checkers see the ordinary import, under TYPE_CHECKING; while running, its name stands for the module.
"""

from importlib import import_module
from typing import Any


class OnFirstUse:
    """Stands for a module until something of it is used.

    Args:
        module: its full name.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        """Return what the module has by this name."""
        return getattr(import_module(self._module), name)


def on_first_use(room: str, *modules: str) -> Any:
    """Return what stands for one module of a room, or for each of several, in their order.

    Args:
        room: the package that they are in, such as `processors`.
        modules: their names there.
    """
    standing = [OnFirstUse(f"{room}.{module}") for module in modules]
    return standing[0] if len(standing) == 1 else standing
