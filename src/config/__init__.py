"""Settings in, nothing out: the only reader of the environment, and how logs are written. Imports no other room."""
