"""Takes one safety rule away at a time and requires the simulation to notice.

Run it with ``make mutations``. Each mutant is the production code with a few functions
exchanged while it runs. Guards that back each other up are taken away together. Where re-sends would heal the
damage, they are switched off, for the mutant and for a control run of the unharmed code, which must not
complain.
"""
