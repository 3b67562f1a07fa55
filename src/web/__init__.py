"""What the API and the dashboard share as parts of one web process: streams of events, what is watched, buckets."""
