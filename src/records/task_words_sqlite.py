"""The words of tasks in SQLite: an FTS5 table, whose rows are read in the order of their numbers."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

MATCHING = "SELECT rowid FROM task_words WHERE task_words MATCH ? AND rowid >= ? AND rowid < ?"
HAVING = "SELECT rowid FROM task_words WHERE instr(text, ?) > 0 AND rowid >= ? AND rowid < ?"
NEWEST = " ORDER BY rowid DESC LIMIT ?"


def keep(connection: Connection, texts: Mapping[int, str]) -> None:
    """Keep these texts by their numbers."""
    connection.exec_driver_sql("INSERT OR REPLACE INTO task_words (rowid, text) VALUES (?, ?)", list(texts.items()))


def remove(connection: Connection, numbers: Sequence[int]) -> None:
    """Forget these."""
    connection.exec_driver_sql("DELETE FROM task_words WHERE rowid = ?", [(number,) for number in numbers])


def with_words(connection: Connection, words: Sequence[str], least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of texts that have all these words, the greatest first."""
    wanted = " AND ".join(f'"{word}"' for word in words)  # words are letters and digits
    found = connection.exec_driver_sql(MATCHING + NEWEST, (wanted, least, below, limit))
    return list(found.scalars())


def with_part(connection: Connection, part: str, least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of texts that have this in them, the greatest first."""
    return list(connection.exec_driver_sql(HAVING + NEWEST, (part, least, below, limit)).scalars())


def texts(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """Return the texts of these numbers."""
    places = ", ".join("?" * len(numbers))
    query = f"SELECT rowid, text FROM task_words WHERE rowid IN ({places})"  # noqa: S608 - question marks
    return {row[0]: row[1] for row in connection.exec_driver_sql(query, tuple(numbers))}
