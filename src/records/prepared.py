"""Statements that run often: built and compiled once, then given to the driver with nothing but their values.

SQLAlchemy writes the SQL of both databases; what it does at every call (building the statement, looking its text up)
costs more than the database does.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam
from sqlalchemy.engine import Dialect

Parameters = tuple[Any, ...] | dict[str, Any]
Row = tuple[Any, ...]
Convert = Callable[[Any], Any]


def given(name: str, kind: Any) -> BindParameter[Any]:
    """Return the place of a value that every call gives.

    Args:
        name: how the call names it.
        kind: its SQL type, which turns the value into what the database takes.
    """
    return bindparam(name, None, kind)


class Prepared:
    """One statement, its values left open.

    Args:
        statement: an SQLAlchemy statement whose open values are `given(...)`.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, **values: Any) -> "Bound":
        """Return the statement with these values, to be given to `Database.write` or `Database.read`."""
        return Bound(self, values)

    def many(self, dialect: Dialect, rows: Iterable[Mapping[str, Any]]) -> Callable[[Connection], None]:
        """Return what runs it once for each of these values inside a caller's transaction."""
        compiled = self.compiled(dialect)
        parameters = [compiled.parameters(values) for values in rows]

        def run(connection: Connection) -> None:
            if parameters:
                connection.exec_driver_sql(compiled.text, parameters)

        return run

    def compiled(self, dialect: Dialect) -> "_Compiled":
        """Return the statement as this database takes it."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = _Compiled(self._statement, dialect)
        return found


class Bound:
    """A prepared statement with its values; as any other work it may be called with a connection."""

    __slots__ = ("_values", "parameters", "prepared", "text")

    def __init__(self, prepared: Prepared, values: Mapping[str, Any]) -> None:
        self.prepared = prepared
        self.text = ""
        self.parameters: Parameters = ()
        self._values = values

    def bind(self, dialect: Dialect) -> None:
        """Turn the values into the driver's; a value that cannot be one is an error here."""
        compiled = self.prepared.compiled(dialect)
        self.text, self.parameters = compiled.text, compiled.parameters(self._values)

    def __call__(self, connection: Connection) -> list[Row]:
        """Run it through SQLAlchemy's connection; returns the rows as the driver reads them."""
        self.bind(connection.dialect)
        result = connection.exec_driver_sql(self.text, self.parameters)
        return [tuple(row) for row in result.all()] if result.returns_rows else []


class _Compiled:
    """The text for one kind of database, and how values become its parameters."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self.text: str = compiled.string
        self._positional: bool = compiled.positional
        self._places: list[tuple[str, Convert | None, Any]] = []
        self._names: list[str] = list(compiled.positiontup if compiled.positional else compiled.params)
        for name in self._names:
            convert, constant = _converter(compiled.binds.get(name), dialect), compiled.params[name]
            if convert and constant is not None:
                convert, constant = None, convert(constant)
            self._places.append((name, convert, constant))

    def parameters(self, values: Mapping[str, Any]) -> Parameters:
        """Return the driver's parameters: what a call gives, and the constants of the statement."""
        taken = [
            value if convert is None or value is None else convert(value)
            for name, convert, constant in self._places
            for value in (values.get(name, constant),)
        ]
        return tuple(taken) if self._positional else dict(zip(self._names, taken, strict=True))


def _converter(bind: BindParameter[Any] | None, dialect: Dialect) -> Convert | None:
    """Return what turns a value of this type into the database's; a member of a list of constants has no bind."""
    return None if bind is None else bind.type.dialect_impl(dialect).bind_processor(dialect)
