"""What `csai chaos` does: an installation of its own, faults by seed, and a count of what came of every task."""
