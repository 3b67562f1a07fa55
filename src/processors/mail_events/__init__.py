"""What mail providers tell of a mail after they took it: one file per provider, one kind of event for all."""
