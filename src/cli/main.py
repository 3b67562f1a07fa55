"""The `csai` command: one module per command in `cli.commands`, found by listing the folder."""

import pkgutil
import sys
from importlib import import_module

import typer

from cli import commands
from cli.exit_codes import TOLD, code_of
from cli.output import say
from processors.errors import WorkError


def new_root() -> typer.Typer:
    """Return the command without its parts; its help is plain text, which a pipe and 80 columns hold."""
    return typer.Typer(
        name="csai",
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The background service, from a terminal.",
        epilog=TOLD,
    )


root = new_root()


def run() -> None:
    """Run the command line; an error of ours is one line and an exit code."""
    for module in pkgutil.iter_modules(commands.__path__):
        import_module(f"cli.commands.{module.name}").register(root)
    try:
        root(prog_name="csai")
    except (WorkError, ValueError) as error:
        say(str(error))
        sys.exit(code_of(error))


if __name__ == "__main__":
    run()
