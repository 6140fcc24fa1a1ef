"""The pure core: every decision about a saga, with no I/O, no clock, no randomness and no async.

Read `machine` first: the transition table stands at its top.
"""
