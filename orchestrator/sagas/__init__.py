"""Saga definitions as data: one file a kind of saga."""
