"""How a command ends: what its exit code tells."""

from processors.errors import CountChanged, IdempotencyConflict, WorkError

FAILED = 1
BAD_ARGUMENT = 2
NOT_FOUND = 3
TIMED_OUT = 4

TOLD = (
    "Exit codes: 0 done; 1 the task or the act failed, or the service refused it; 2 bad arguments; 3 not found; "
    "4 timed out waiting; 130 ended by Ctrl-C."
)


def code_of(error: Exception) -> int:
    """Return the exit code that tells of this error."""
    if isinstance(error, WorkError) and isinstance(error, LookupError):
        return NOT_FOUND
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, ValueError) and not isinstance(error, CountChanged | IdempotencyConflict):
        return BAD_ARGUMENT
    return FAILED
