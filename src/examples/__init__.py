"""Programs that show the service as a caller sees it."""
