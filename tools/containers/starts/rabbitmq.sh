#!/bin/sh
# In the place of the official image's entry point: the broker as its own user, logging to the container's output.
set -eu

[ "$1" = rabbitmq-server ] || exec "$@"
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq
export HOME=/var/lib/rabbitmq RABBITMQ_LOGS=-
exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server
