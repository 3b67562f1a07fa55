"""What is remembered: the only room that speaks SQLAlchemy. No Celery, no HTTP."""
