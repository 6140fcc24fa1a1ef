"""The low-water mark, handed out to every participant, and pruning of what has ended long ago (P7)."""
