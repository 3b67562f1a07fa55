"""How the modules with tasks are found: ours by their folder, an adopter's by TASK_MODULES."""

import os
import sys
from contextlib import suppress
from typing import Any, cast

from celery.loaders.app import AppLoader

from config.settings import settings
from processors.errors import ConfigurationError


class TaskLoader(cast("Any", AppLoader)):
    """Celery's loader, which says in one line which of an adopter's modules cannot be imported, and why."""

    def init_worker(self) -> None:
        """Import all modules with tasks; a worker or beat ends with one line where one cannot be imported."""
        try:
            super().init_worker()  # pyright: ignore[reportUnknownMemberType] - untyped
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(1)

    def import_task_module(self, module: str) -> Any:
        """Import a module; one of TASK_MODULES is looked for in the current folder too.

        Raises:
            ConfigurationError: one of TASK_MODULES cannot be imported.
        """
        loader: Any = super()
        if module not in settings.task_modules:
            return loader.import_task_module(module)
        try:
            found = loader.import_task_module(module)
        except (Exception, SystemExit) as error:  # a program that is no module ends whoever imports it
            cause = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigurationError(
                f"TASK_MODULES names {module!r}, which cannot be imported ({cause}); correct the module or its name, "
                "or start where its file or package lies."
            ) from error
        _look_here_too()
        return found


def _look_here_too() -> None:
    """Let what such a module imports later, in a running task, be found where it was found itself."""
    with suppress(FileNotFoundError):  # the folder was removed
        here = os.getcwd()  # noqa: PTH109 - what Celery compares with
        if here not in sys.path:
            sys.path.append(here)
