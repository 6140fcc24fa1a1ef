"""The history of schema `sandbox`."""
