"""Settings in, nothing out: the only reader of the environment; logs, secret files, child processes. No other room."""
