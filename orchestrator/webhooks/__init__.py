"""Webhooks: the feed of all events, sent to whoever does not ask for it (S30)."""
