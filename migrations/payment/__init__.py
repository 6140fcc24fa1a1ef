"""The history of schema `payment`."""
