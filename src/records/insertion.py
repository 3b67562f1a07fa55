"""INSERT as each database has it: SQLAlchemy's general one cannot say what becomes of a row that is there already."""

from importlib import import_module
from typing import Any

from sqlalchemy import Table


def insert_into(table: Table, kind: str) -> Any:
    """Return the INSERT of one kind of database, `sqlite` or `postgresql`; what belongs to the other is not loaded."""
    return import_module(f"sqlalchemy.dialects.{kind}").insert(table)
