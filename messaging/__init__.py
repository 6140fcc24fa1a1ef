"""Moves messages in batches: transport, topology, outbox, retries, dead-lettering. Knows no saga."""
