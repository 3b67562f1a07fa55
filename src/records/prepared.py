"""Statements that run often: built and compiled once, then given to the driver with nothing but their values.

SQLAlchemy writes the SQL of both databases; what it does at every call (building the statement, looking its text up)
costs more than the database does. What several callers write at once is one statement for all of them: their values go
as rows of one JSON text, which a database unpacks in less time than a driver needs for a second statement.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any, Protocol, cast

from sqlalchemy import BindParameter, ColumnElement, Connection, Float, String, Text, bindparam
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine, to_instance

from processors.errors import InvalidArgument
from processors.json_text import writing

Parameters = tuple[Any, ...] | dict[str, Any]
Row = tuple[Any, ...]
Convert = Callable[[Any], Any]

ROWS_AT_ONCE = 500
"""Rows that one statement takes."""

BYTES_AT_ONCE = 16_000_000
"""Bytes of their values, unless one row has more; PostgreSQL takes 256 MiB, and has to hold them several times."""

ROWS = "rows"
RENDER = {"render_postcompile": True}
ESCAPED_NUL = "\\u0000"
"""SQLite's JSON functions end a text at it, PostgreSQL's refuse it: then each row is a statement."""

_encode = writing(json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=datetime.isoformat))


class Given(Protocol):
    """Stands in a statement for a value that every call gives."""

    def __call__(self, name: str, kind: Any) -> ColumnElement[Any]:
        """Return the place of the value that the call names so, of this SQL type."""
        ...


def given(name: str, kind: Any) -> BindParameter[Any]:
    """Return the place of a value of the only row; `kind` turns the value into what the database takes."""
    return bindparam(name, None, kind)


class GivenRows:
    """Stands for the values of many rows, which the statement reads from one JSON text."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.source = _JsonRows(bindparam(ROWS, None, Text())).table_valued("value").alias("given")

    def __call__(self, name: str, kind: Any) -> ColumnElement[Any]:
        """Return the place of the value that the call names so, of this SQL type, in each row."""
        if name not in self.names:
            self.names.append(name)
        return _Member(self.source.c.value, self.names.index(name), kind)


class Prepared:
    """One statement, its values left open.

    Args:
        build: makes the statement of what stands for its values; the first column that it returns is the key.
        key: the value by which a returned row is known to be a caller's.
        build_for_rows: makes it for many rows, where that is another statement.
        kind: the only kind of database that it is for.
        in_key_order: whether rows are changed in the order of their keys, so that two groups cannot lock each other
            out; else in the order in which they came.
        at_once: rows that one statement takes.
    """

    def __init__(
        self,
        build: Callable[[Given], Any],
        key: str = "task_id",
        build_for_rows: Callable[[GivenRows], Any] | None = None,
        kind: str | None = None,
        *,
        in_key_order: bool = True,
        at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self.key = key
        self.at_once = at_once
        self.kind = kind
        self.in_key_order = in_key_order
        self._build = build
        self._build_for_rows = build_for_rows or build
        self._forms: dict[str, _Forms] = {}
        _all.append(self)

    def __call__(self, **values: Any) -> "Bound":
        """Return the statement with these values, to be given to `Database.write` or `Database.read`."""
        return Bound(self, (values,))

    def many(self, rows: Iterable[Mapping[str, Any]]) -> "Bound":
        """Return the statement for many rows, each with values and a key of its own."""
        return Bound(self, tuple(rows))

    def forms(self, dialect: Dialect) -> "_Forms":
        """Return the statement as this driver takes it: a caller's session may have another one than ours."""
        found = self._forms.get(dialect.driver)
        if found is None:
            found = self._forms[dialect.driver] = _Forms(self._build, self._build_for_rows, dialect)
        return found


_all: list[Prepared] = []


def compile_all(dialect: Dialect) -> None:
    """Compile every statement for this database now: forked children share what is there before the fork."""
    for prepared in _all:
        if prepared.kind in (None, dialect.name):
            prepared.forms(dialect)


class Bound:
    """A prepared statement with its values; as any other work it may be called with a connection."""

    __slots__ = ("_values", "forms", "keys", "prepared", "rows")

    def __init__(self, prepared: Prepared, values: tuple[Mapping[str, Any], ...]) -> None:
        self.prepared = prepared
        self.forms: _Forms | None = None
        self.keys: list[Any] = []
        self.rows: list[list[Any]] = []
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def pieces(self) -> list["Bound"]:
        """Return this as bound statements that one statement each can take."""
        values: Sequence[Mapping[str, Any]] = self._values
        if self.prepared.in_key_order and len(values) > ROWS_AT_ONCE:
            values = sorted(values, key=itemgetter(self.prepared.key))
        starts = range(0, len(values), ROWS_AT_ONCE)
        return [Bound(self.prepared, tuple(values[start : start + ROWS_AT_ONCE])) for start in starts]

    def bind(self, dialect: Dialect) -> None:
        """Turn the values into the driver's; a value that cannot be one is an error here."""
        forms = self.forms = self.prepared.forms(dialect)
        self.keys = [values.get(self.prepared.key) for values in self._values]
        self.rows = [forms.row(values) for values in self._values]

    def __call__(self, connection: Connection) -> list[Row]:
        """Run it on SQLAlchemy's connection; returns the rows as the driver reads them."""
        if self.forms is None:
            self.bind(connection.dialect)
        run: Run = connection.info.get(RUN, _run)
        return [row for statement in statements([self]) for row in run(connection, statement)]


Run = Callable[[Connection, "Statement"], Iterable[Row]]

RUN = "run"
"""Under this name a connection's `info` keeps what runs a statement on it, where that is not SQLAlchemy."""


def _run(connection: Connection, statement: "Statement") -> Iterable[Row]:
    result = connection.exec_driver_sql(statement.text, statement.parameters)
    return [tuple(row) for row in result.all()] if result.returns_rows else []


_KeyedRow = tuple[Any, Bound, list[Any]]


@dataclass(frozen=True, slots=True)
class Statement:
    """What goes to the driver in one go, for one or more callers."""

    bounds: Sequence[Bound]
    text: str
    parameters: Parameters

    def share(self, rows: Sequence[Row]) -> list[Sequence[Row]]:
        """Return the rows of each caller."""
        if len(self.bounds) == 1:
            return [rows]
        by_key = {row[0]: row for row in rows}
        return [[by_key[key] for key in bound.keys if key in by_key] for bound in self.bounds]


def statements(bounds: Iterable[Bound]) -> Iterator[Statement]:
    """Return as few statements as do what these bound ones say; equal keys never meet in one."""
    waiting: dict[Prepared, list[Bound]] = {}
    keys: dict[Prepared, set[Any]] = {}
    for bound in bounds:
        together, known = waiting.setdefault(bound.prepared, []), keys.setdefault(bound.prepared, set())
        if len(known) + len(bound) > bound.prepared.at_once or not known.isdisjoint(bound.keys):
            yield from _together(together)
            together.clear()
            known.clear()
        together.append(bound)
        known.update(bound.keys)
    for together in waiting.values():
        yield from _together(together)


def shared(bounds: Sequence[Bound], done: Sequence[Statement], rows: Sequence[Sequence[Row]]) -> list[list[Row]]:
    """Return the rows of each bound statement, out of what the statements that were run for all returned."""
    found: dict[int, list[Row]] = {id(bound): [] for bound in bounds}
    for statement, its_rows in zip(done, rows, strict=True):
        for bound, own in zip(statement.bounds, statement.share(its_rows), strict=True):
            found[id(bound)] += own
    return [found[id(bound)] for bound in bounds]


def _together(bounds: Sequence[Bound]) -> Iterator[Statement]:
    rows = [(key, bound, row) for bound in bounds for key, row in zip(bound.keys, bound.rows, strict=True)]
    if bounds and bounds[0].prepared.in_key_order:
        rows.sort(key=_key)
    size = bounds[0].prepared.at_once if bounds else ROWS_AT_ONCE
    for start in range(0, len(rows), size):
        yield from _statements_of(bounds, rows[start : start + size])


def _statements_of(bounds: Sequence[Bound], rows: Sequence[_KeyedRow]) -> Iterator[Statement]:
    """Return one statement for these rows, or several where they are too large together, or hold what JSON cannot."""
    forms = cast("_Forms", rows[0][1].forms)
    text = _text_of(rows) if len(rows) > 1 else ESCAPED_NUL
    if text is None:
        half = len(rows) // 2
        yield from _statements_of(bounds, rows[:half])
        yield from _statements_of(bounds, rows[half:])
    elif ESCAPED_NUL in text:
        yield from (Statement([bound], forms.one.text, forms.one.parameters(row)) for _, bound, row in rows)
    else:
        yield Statement(tuple(bounds), forms.for_rows.text, forms.for_rows.parameters([text]))


def _text_of(rows: Sequence[_KeyedRow]) -> str | None:
    """Return rows as one JSON text; None where they are too large together, which is seen before all are written."""
    texts: list[str] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        texts.append(_encode([row for _, _, row in rows[start : start + ROWS_AT_ONCE]]))
        if sum(map(len, texts)) > BYTES_AT_ONCE:
            return None
    return texts[0] if len(texts) == 1 else f"[{','.join(text[1:-1] for text in texts)}]"


def _key(row: _KeyedRow) -> Any:
    return row[0]


class _Forms:
    """A statement for one kind of database: for one row, and for many."""

    def __init__(self, build: Callable[[Given], Any], for_rows: Callable[[GivenRows], Any], dialect: Dialect) -> None:
        rows = GivenRows()
        many, one = for_rows(rows), build(given).compile(dialect=dialect, compile_kwargs=RENDER)
        self._places = [(name, _converter(one.binds[name].type, dialect)) for name in rows.names]
        self.one = _Compiled(one, rows.names, dialect)
        self.for_rows = _Compiled(many.compile(dialect=dialect, compile_kwargs=RENDER), [ROWS], dialect)

    def row(self, values: Mapping[str, Any]) -> list[Any]:
        """Return what a call gives, as the driver takes it."""
        return [
            value if convert is None or value is None else convert(value)
            for name, convert in self._places
            for value in (values[name],)
        ]


class _Compiled:
    """The text for one kind of database, and how what is given becomes its parameters, beside its constants."""

    def __init__(self, compiled: Any, names: Sequence[str], dialect: Dialect) -> None:
        self.text: str = compiled.string
        self._positional: bool = compiled.positional
        self._names: list[str] = list(compiled.positiontup if compiled.positional else compiled.params)
        places = {name: place for place, name in enumerate(names)}
        self._constants: list[Any] = []
        self._places: list[tuple[int, int]] = []
        for at, name in enumerate(self._names):
            bind, constant = compiled.binds.get(name), compiled.params[name]
            convert = None if bind is None or constant is None else _converter(bind.type, dialect)
            self._constants.append(constant if convert is None else convert(constant))
            if name in places:
                self._places.append((at, places[name]))

    def parameters(self, row: Sequence[Any]) -> Parameters:
        """Return the driver's parameters."""
        taken = self._constants.copy()
        for at, place in self._places:
            taken[at] = row[place]
        return tuple(taken) if self._positional else dict(zip(self._names, taken, strict=True))


def _converter(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """Return what turns a value of this type into the database's; what none takes is an error of its own caller."""
    if isinstance(kind, String):
        return _postgresql_text if dialect.name == "postgresql" else _text
    return _finite if isinstance(kind, Float) else kind.dialect_impl(dialect).bind_processor(dialect)


def _text(value: str) -> str:
    """Return the text; a lone surrogate is none."""
    if not value.isascii():
        value.encode()
    return value


def _postgresql_text(value: str) -> str:
    """Return the text; PostgreSQL knows no NUL in one."""
    if "\0" in value:
        raise InvalidArgument(f"{value[:40]!r} holds a NUL character, which PostgreSQL does not take; remove it.")
    return _text(value)


def _finite(value: float) -> float:
    """Return the number; JSON has none that is not finite."""
    if not math.isfinite(value):
        raise InvalidArgument(f"A record takes finite numbers only; got {value}.")
    return value


class _JsonRows(FunctionElement[Any]):
    """The members of a JSON array, as rows with a column `value`."""

    inherit_cache = True


@compiles(_JsonRows, "sqlite")
def _rows_on_sqlite(element: _JsonRows, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_JsonRows, "postgresql")
def _rows_on_postgresql(element: _JsonRows, compiler: SQLCompiler, **options: Any) -> str:
    """Return the rows with their number as a limit: else PostgreSQL reckons with a hundred and reads a whole table."""
    array = f"CAST({compiler.process(element.clauses, **options)} AS jsonb)"
    return f"(SELECT value FROM jsonb_array_elements({array}) LIMIT jsonb_array_length({array}))"  # noqa: S608 - of SQL text that is compiled already


class _Member(FunctionElement[Any]):
    """One member of a row that is a JSON array."""

    inherit_cache = False

    def __init__(self, row: ColumnElement[Any], place: int, kind: Any) -> None:
        super().__init__(row)
        self.place = place
        self.type = to_instance(kind)


@compiles(_Member, "sqlite")
def _member_on_sqlite(element: _Member, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_extract({compiler.process(element.clauses, **options)}, '$[{element.place}]')"


@compiles(_Member, "postgresql")
def _member_on_postgresql(element: _Member, compiler: SQLCompiler, **options: Any) -> str:
    text = f"({compiler.process(element.clauses, **options)} ->> {element.place})"
    kind = element.type.dialect_impl(compiler.dialect)
    if isinstance(kind.impl if isinstance(kind, TypeDecorator) else kind, String):
        return text  # a cast to the column's own type would cut off what is too long for it
    return f"CAST({text} AS {element.type.compile(compiler.dialect)})"
