"""The `csai` command: one module per command in `cli.commands`, found by listing the folder."""

import pkgutil
import sys
from importlib import import_module

import typer

from cli import commands
from processors.errors import WorkError

root = typer.Typer(
    name="csai", no_args_is_help=True, add_completion=False, help="The background service, from a terminal."
)


def run() -> None:
    """Run the command line; an error of ours is one line and exit code 1."""
    for module in pkgutil.iter_modules(commands.__path__):
        import_module(f"cli.commands.{module.name}").register(root)
    try:
        root()
    except (WorkError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError) else 1)


if __name__ == "__main__":
    run()
