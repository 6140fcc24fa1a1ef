"""Worlds of random courses: sagas made from a seed, with stand-ins for whoever they name."""
