#!/bin/sh
# Limits that an operator may want to turn. Correctness does not depend on them: a queue that is full refuses,
# the refused message stays in the sender's outbox, and the relay offers it again until it is taken.
#
# "overflow" must stand here as it does: without it a queue drops its oldest messages to make room, unless it was
# declared to refuse; with another value it drops them however it was declared. Of the policies that match a queue
# only the one of highest priority counts, so give every policy of your own for these queues the same. Never set
# message-ttl, expires or delivery-limit for them: docs/production.md says what each would lose.
# Run it where rabbitmqctl reaches the node; VHOST defaults to /.
set -eu
VHOST="${VHOST:-/}"

# Messages that may wait in a command or outcome queue.
rabbitmqctl set_policy --vhost "$VHOST" --apply-to queues oms-length \
    '^(inventory|payment|shipping)\.commands$|^orchestrator\.outcomes$' \
    '{"max-length": 1000000, "overflow": "reject-publish"}'

# Dead letters that may wait until the orchestrator collects them.
rabbitmqctl set_policy --vhost "$VHOST" --apply-to queues oms-dead-letters \
    '^((inventory|payment|shipping)\.commands|orchestrator\.outcomes)\.dlq$' \
    '{"max-length": 1000000, "overflow": "reject-publish"}'
