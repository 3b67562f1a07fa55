"""Column types and the clock that every table shares."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, DateTime, MetaData, Text, literal, select
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from processors.json_text import JsonText, writing

metadata = MetaData()

SECONDS_PER_DAY = 86_400

_to_json = writing(json.JSONEncoder(separators=(",", ":"), allow_nan=False))


class Instant(TypeDecorator[datetime]):
    """A moment: `timestamptz` on PostgreSQL, sortable UTC text on SQLite, an aware datetime in Python."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type in this database."""
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware datetime into what the database stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A moment needs an offset, got {value!r}; use datetime.now(UTC).")
        moment = value.astimezone(UTC)  # fails here where it could never be read again
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None).isoformat(" ", "microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn what the database stores into an aware datetime."""
        if value is None or isinstance(value, datetime):
            return value and value.astimezone(UTC)
        return datetime.fromisoformat(value).replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """A JSON value as ASCII text: what `jsonb` refuses (NUL, lone surrogates) is kept as it was given."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 - any JSON
        """Write the value, unless it is."""
        if value is None:
            return None
        return str(value) if type(value) is JsonText else _to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002 - any JSON
        """Read the value."""
        return None if value is None else json.loads(value)


class PlainText(TypeDecorator[str]):
    """Text for people: what a database refuses in it (NUL, lone surrogates) is written as its escape."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - any text
        """Write the text."""
        return value and value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


class Now(FunctionElement[datetime]):
    """The database's clock, moved by some seconds: the only clock that decides over records."""

    inherit_cache = True
    type = Instant()

    def __init__(self, seconds: float | ColumnElement[float] = 0) -> None:
        super().__init__(literal(float(seconds)) if isinstance(seconds, (int, float)) else seconds)


@compiles(Now, "sqlite")
def _now_on_sqlite(element: Now, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(Now, "postgresql")
def _now_on_postgresql(element: Now, compiler: SQLCompiler, **options: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


def now_once(seconds: float = 0) -> ColumnElement[datetime]:
    """The database's clock, asked once a statement: PostgreSQL searches an index by it, and by a bare `Now` none."""
    return select(Now(seconds)).scalar_subquery()


def instant(value: Any) -> datetime:
    """Return a moment as the driver reads it from a column that is never empty, as an aware datetime."""
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)
