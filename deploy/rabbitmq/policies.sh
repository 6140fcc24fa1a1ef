#!/bin/sh
# Limits that an operator may want to turn. Correctness does not depend on them: a queue that is full refuses
# (overflow reject-publish is declared with the queue), the refused message stays in the sender's outbox, and
# the relay offers it again. Run it where rabbitmqctl reaches the node; VHOST defaults to /.
set -eu
VHOST="${VHOST:-/}"

# Messages that may wait in a command or outcome queue.
rabbitmqctl set_policy --vhost "$VHOST" --apply-to queues oms-length \
    '^(inventory|payment|shipping)\.commands$|^orchestrator\.outcomes$' \
    '{"max-length": 1000000}'

# Dead letters that may wait until the orchestrator collects them.
rabbitmqctl set_policy --vhost "$VHOST" --apply-to queues oms-dead-letters '\.dlq$' '{"max-length": 1000000}'
