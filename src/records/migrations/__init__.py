"""The schema, step by step: Alembic revisions, each able to run on SQLite and PostgreSQL."""
