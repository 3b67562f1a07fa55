"""What a task's number says about it, where there are records: when it is due, and how it takes its effect."""

DELAYED_EVERY = 7
DELAY_STEP_SECONDS = 0.5
DELAY_STEPS = 6

EFFECT_EVERY = 4
LINGER_EVERY = 10
"""Half of those that take a while have an effect, and half of these can be looked up."""

KEY_PREFIX = "chaos:"


def delay_of(number: int) -> float:
    """Return after how many seconds a task is due, 0.5 to 3; 0 for at once."""
    if number % DELAYED_EVERY:
        return 0.0
    return DELAY_STEP_SECONDS * (1 + number // DELAYED_EVERY % DELAY_STEPS)


def has_effect(number: int) -> bool:
    """Tell whether a task does its work through `effect`."""
    return number % EFFECT_EVERY == 0


def can_be_looked_up(number: int) -> bool:
    """Tell whether the outside world can be asked whether this task's effect happened."""
    return has_effect(number) and number // EFFECT_EVERY % 2 == 0


def lingers(number: int) -> bool:
    """Tell whether a task takes a while, so that a kill finds something in hand."""
    return number % LINGER_EVERY == 0


def effect_key(number: int) -> str:
    """Return the key of a task's effect."""
    return f"{KEY_PREFIX}{number}"


def number_of(key: str) -> int | None:
    """Return whose effect a key names; None for a key that is none of a run's tasks."""
    digits = key.removeprefix(KEY_PREFIX)
    return int(digits) if key.startswith(KEY_PREFIX) and digits.isdecimal() else None
