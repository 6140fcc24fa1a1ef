"""The floor: the least code that moves the messages and rows of a saga, in batches.

It decides nothing, checks nothing, repeats nothing and recovers from nothing. What it does share with the
project is all that is durable: quorum queues, persistent and confirmed messages, one process a service, an
outbox row for each message (written with its cause, deleted after the confirm), a history entry and a ledger
row for each step. So it is what the same promises cost at least on this machine.

Where the project must commit an intent before it calls a provider, and the answer after it, the floor writes
both in one transaction: the rows are the same, the commits are fewer.
"""
