#!/bin/sh
# Builds the image, runs the services of compose.yaml from it and tests them (tests/containers). ARGS go to pytest.
# With --can alone: only whether this machine lets an engine run at all; ends with 1 and says why where it does not.
#
# Needs root and Debian's packages below, which are installed where they are missing. Everything runs in namespaces of
# its own for processes, mounts and (the services) the network: rules of the packet filter, forwarding, mounts and
# processes go with them, however this ends. Images and containers are below .oms/containers/work, which is removed.
set -eu
cd "$(dirname "$0")/../.."

needed="podman runc netavark aardvark-dns conmon catatonit iptables mmdebstrap iproute2"
work=$PWD/.oms/containers/work
groups=oms-containers

fail() {
    echo "containers: $*" >&2
    exit 1
}

clean() {
    rm -rf "$work"
    find /sys/fs/cgroup -depth -type d -path "*/$groups*" -exec rmdir {} + 2>/dev/null || true
}

lacking() {
    for package in $needed; do
        dpkg-query --show --showformat '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

# In namespaces of its own; /run is where engine and network keep what outlives them.
inside() {
    resolver=$(cat /etc/resolv.conf)
    mount -t tmpfs run /run
    mkdir -p /var/lib/containers
    mount -t tmpfs containers /var/lib/containers
    if ! [ -e /etc/resolv.conf ]; then # it was a link into /run
        place=$(readlink -m /etc/resolv.conf)
        mkdir -p "$(dirname "$place")"
        echo "$resolver" > "$place"
    fi
    if [ "${1:-}" = --can ]; then
        alone -m tools.containers --can
    fi
    .venv/bin/python -m tools.containers
    alone -m pytest -m containers tests/containers "$@"
}

# Python in a network of its own, from here on.
alone() {
    exec unshare --net sh -euc 'ip link set lo up; exec .venv/bin/python "$@"' sh "$@"
}

if [ "${1:-}" = --inside ]; then
    shift
    inside "$@"
fi

[ "$(id -u)" = 0 ] || fail "needs root, for a container engine and namespaces of its own"
command -v dpkg-query apt-get >/dev/null || fail "needs Debian: the images that are stood in for are made of its packages"
missing=$(lacking | tr '\n' ' ')
if [ -n "$missing" ]; then
    echo "containers: installing Debian's packages $missing"
    # shellcheck disable=SC2086
    { apt-get update --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing; } \
        >/dev/null || fail "could not install $missing"
fi

clean
mkdir -p "$work"
trap clean EXIT
setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    sh tools/scripts/containers.sh --inside "$@" &
running=$!
trap 'kill -KILL $running; wait $running || true; exit 143' INT TERM HUP
wait $running
