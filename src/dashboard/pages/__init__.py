"""One file per noun of the dashboard."""
