"""What AI calls took: which part of it is asked for."""

from typing import Annotated, Literal

from pydantic import Field

from processors.results import Request

Part = Literal["day", "provider", "model", "kind", "tenant"]
PARTS: tuple[Part, ...] = ("day", "provider", "model", "kind", "tenant")
OF_TASK: tuple[Part, ...] = ("provider", "model", "kind")
"""What the report of one task is by."""

MOST_DAYS = 36_600
COST_DIGITS = 9
"""Behind the point of a cost, as it is told; what lies behind them is of the adding."""


class ReadUsage(Request):
    """Read what AI calls took in the last days of UTC, today's among them, a line for each of these parts."""

    days: int = Field(default=1, ge=1, le=MOST_DAYS)
    by: Annotated[list[Part], Field(strict=False, min_length=1)] = ["day", "provider", "model"]
