"""Lists and searches that have caught up with the records, whatever the clock says."""

from records.database import Database
from records.task_following import TaskFollowing
from services.own_tasks import shown_arguments

AT_ONCE = 500


def catch_up(database: Database) -> None:
    """Do what the follower does until nothing is left; how long a turn of its own took tells nothing about that."""
    follows = TaskFollowing(database)
    while (
        follows.created(AT_ONCE)
        + follows.ended(AT_ONCE)
        + follows.fill(AT_ONCE)
        + follows.words(AT_ONCE, shown_arguments)
    ):
        pass
