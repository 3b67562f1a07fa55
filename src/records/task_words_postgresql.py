"""The words of tasks in PostgreSQL: an inverted index, which knows no order, beside the order of the numbers."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

from records.task_words import words_of

WINDOW = 5_000
"""So many of the newest are looked at by themselves: what is in many texts is in some of these."""

FEW = 5_000
"""So many finds are put in order after they were found."""

LONGEST_WORD = 500
KEEP = text(
    "INSERT INTO task_words (number, text, words) "
    "SELECT number, text, array_to_tsvector(string_to_array(words, ' ')) "
    "FROM unnest(CAST(:numbers AS bigint[]), CAST(:texts AS text[]), CAST(:words AS text[]))"
    " AS given (number, text, words) "
    "ON CONFLICT (number) DO UPDATE SET text = excluded.text, words = excluded.words"
)
REMOVE = text("DELETE FROM task_words WHERE number = ANY(:numbers)")
TEXTS = text("SELECT number, text FROM task_words WHERE number = ANY(:numbers)")
ALL_OF = "words @@ CAST(:wanted AS tsquery)"
ANYWHERE = text(f"SELECT number FROM task_words WHERE {ALL_OF} LIMIT :limit")  # noqa: S608 - constants
RANGE = "SELECT * FROM task_words WHERE number >= :least AND number < :below ORDER BY number DESC LIMIT :window"
SOME = f"SELECT number FROM ({RANGE}) AS window_rows"  # noqa: S608
IN_WINDOW = text(f"{SOME} WHERE {ALL_OF} ORDER BY number DESC LIMIT :limit")
LAST_OF_WINDOW = text(SOME.replace("SELECT number FROM", "SELECT min(number), count(*) FROM"))
HAVING = text(
    "SELECT number FROM task_words WHERE strpos(text, :part) > 0 AND number >= :least AND number < :below "
    "ORDER BY number DESC LIMIT :limit"
)


def keep(connection: Connection, texts: Mapping[int, str]) -> None:
    """Keep these texts by their numbers."""
    if texts:
        words = [" ".join(word[:LONGEST_WORD] for word in words_of(kept)) for kept in texts.values()]
        connection.execute(KEEP, {"numbers": list(texts), "texts": list(texts.values()), "words": words})


def remove(connection: Connection, numbers: Sequence[int]) -> None:
    """Forget these."""
    connection.execute(REMOVE, {"numbers": list(numbers)})


def with_words(connection: Connection, words: Sequence[str], least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of texts that have all these words, the greatest first.

    What is in many texts is found by reading the newest, what is in few by the index; the index alone would read all of
    what is in many before it knew the newest of them.
    """
    wanted = " & ".join(f"'{word[:LONGEST_WORD]}'" for word in words)  # words are letters and digits
    given = {"wanted": wanted, "least": least, "below": below, "limit": limit, "window": WINDOW}
    found = list(connection.execute(IN_WINDOW, given).scalars())
    if len(found) >= limit:
        return found
    anywhere = list(connection.execute(ANYWHERE, {"wanted": wanted, "limit": FEW + 1}).scalars())
    if len(anywhere) <= FEW:
        return sorted((number for number in anywhere if least <= number < below), reverse=True)[:limit]
    while len(found) < limit:
        last, count = connection.execute(LAST_OF_WINDOW, given).one()
        if count < given["window"]:
            break
        given |= {"below": last, "window": given["window"] * 2, "limit": limit - len(found)}
        found += connection.execute(IN_WINDOW, given).scalars()
    return found


def with_part(connection: Connection, part: str, least: int, below: int, limit: int) -> list[int]:
    """Return the numbers of texts that have this in them, the greatest first."""
    return list(connection.execute(HAVING, {"part": part, "least": least, "below": below, "limit": limit}).scalars())


def texts(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    """Return the texts of these numbers."""
    return {row.number: row.text for row in connection.execute(TEXTS, {"numbers": list(numbers)})}
