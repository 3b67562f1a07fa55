"""What lists of bulks and of campaigns are asked with."""

from typing import Any

from pydantic import BaseModel, Field

from records.task_records import TaskState
from services.batches import MOST
from services.cursors import LONGEST
from services.task_filters import LONGEST_NAME, MOST_TAGS

LONGEST_MOMENT = 40


class BulksQuery(BaseModel):
    """Which bulks: all that is given must hold."""

    state: list[TaskState] | None = Field(None, max_length=len(TaskState), description="In one of these.")
    tag: list[str] | None = Field(None, max_length=MOST_TAGS, description="Submitted with all of these.")
    tenant: str | None = Field(None, min_length=1, max_length=LONGEST_NAME, description="On this one's behalf.")
    created_from: str | None = Field(None, max_length=LONGEST_MOMENT, description="ISO 8601 with an offset.")
    created_before: str | None = Field(None, max_length=LONGEST_MOMENT, description="ISO 8601 with an offset.")
    cursor: str | None = Field(None, max_length=LONGEST, description="`next_cursor` of the page before.")
    limit: int = Field(50, ge=1, le=MOST, description="At most so many.")

    def filters(self) -> dict[str, Any]:
        """Return what is looked for, by the names that lists of tasks have for it."""
        return self.model_dump(exclude={"cursor", "limit"})
