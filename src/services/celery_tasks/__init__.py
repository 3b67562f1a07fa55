"""One module per category; a task is a doorway of a few lines. Reached through the facade only."""
