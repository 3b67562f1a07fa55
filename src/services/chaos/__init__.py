"""What `csai chaos` lets workers do: tasks whose effects are counted. Nothing else loads this.

`recorded_tasks` is the service's own application with two tasks more; `stock_app` and `transport_app` are plain Celery
applications on Kombu's transport and on ours.
"""
