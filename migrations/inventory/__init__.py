"""The history of schema `inventory`."""
