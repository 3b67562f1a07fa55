"""What is done at a terminal is written down as done there."""

from collections.abc import Callable, Mapping
from typing import Any

from cli.output import say, tell
from processors.errors import WorkError
from services.access import at_terminal
from services.audit import record_act


def note(
    act: str,
    target: tuple[str, str] | None = None,
    *,
    count: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write an act of whoever types here into the audit; what was done stays done where that cannot be."""
    try:
        record_act(at_terminal(), act, target=target, count=count, details=details)
    except WorkError as error:  # of a database that has another schema, or none
        say(f"This was done, and is in no audit: {error}")


def change(
    act: str, target: tuple[str, str], do: Callable[[], bool], done: str, not_done: str, *, as_json: bool
) -> None:
    """Change something, write it down where something was changed, and say which it is.

    Args:
        act: as the audit calls it.
        target: what is changed.
        do: changes it; returns False where nothing was left to change.
        done: what is said where it was changed.
        not_done: and where it was not.
        as_json: whether to say it as JSON.
    """
    changed = do()
    if changed:
        note(act, target)
    tell({"changed": changed}, done if changed else not_done, as_json=as_json)
