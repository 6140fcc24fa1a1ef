"""The history of schema `shipping`."""
