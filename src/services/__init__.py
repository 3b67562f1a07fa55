"""The Celery side: app, tasks, facade, leader, processes and their wiring. Not a room for services in general."""
