"""A world from one seed: the production code on a simulated network, storage, clock and providers.

`oms simulate` runs it; `docs/simulation.md` tells how to read what it says.
"""
