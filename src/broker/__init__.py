"""How messages travel: where the broker is, the embedded Redis server, what lies in a queue. No SQL, no work."""
