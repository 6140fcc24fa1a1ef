#!/bin/sh
# A broker user for each service, with the rights of permissions.json and no others. Run it where rabbitmqctl reaches the
# node, as often as one likes. PASSWORDS names a folder with one file a user (oms_setup, oms_orchestrator, ...), whose
# first line is the password. permissions.json is for the virtual host /: change it there for another one.
set -eu
here=$(dirname "$0")
: "${PASSWORDS:?must name a folder with one file a user, each with its password}"

for user in oms_setup oms_orchestrator oms_inventory oms_payment oms_shipping; do
    [ -s "$PASSWORDS/$user" ] || { echo "users.sh: $PASSWORDS/$user is missing or empty" >&2; exit 1; }
    if rabbitmqctl --quiet list_users | cut -f1 | grep -qx "$user"; then
        head -n 1 "$PASSWORDS/$user" | rabbitmqctl --quiet change_password "$user"
    else
        head -n 1 "$PASSWORDS/$user" | rabbitmqctl --quiet add_user "$user"
    fi
done
rabbitmqctl --quiet import_definitions "$here/permissions.json"
