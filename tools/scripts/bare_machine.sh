#!/bin/sh
# Tries this checkout's last commit on a Debian that has nothing but git, make and Python with venv.
#
#   sh tools/scripts/bare_machine.sh FOLDER [root|user] [COMMAND]
#
# FOLDER becomes (or is) a Debian 12 made by debootstrap; COMMAND (default: make lint test demo) runs there in a
# fresh clone, as root below /root or as a plain user below /home. Needs root. The machine's settings for package sources
# and certificates are handed in; mounts end with the script.
set -eu

root=${1:?"usage: bare_machine.sh FOLDER [root|user] [COMMAND]"}
account=${2:-root}
command=${3:-make lint test demo}
here=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "bare_machine: $*" >&2
    exit 1
}

case $account in
    root) uid=0 home=/root ;;
    user) uid=1000 home=/home/user ;;
    *) fail "the account is root or user, not $account" ;;
esac
[ "$(id -u)" = 0 ] || fail "only root can make another root folder"
command -v debootstrap >/dev/null || fail "debootstrap was not found (Debian: apt-get install debootstrap)"

if [ ! -e "$root/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=git,make,python3,python3-venv,ca-certificates bookworm "$root"
fi
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || cp "$file" "$root$file"
done
grep -q '^user:' "$root/etc/passwd" || chroot "$root" useradd --create-home --uid 1000 --shell /bin/sh user
rm -rf "$root$home/oms"
git clone --quiet "$here" "$root$home/oms"
chown -R "$uid:$uid" "$root$home/oms"

export BARE_ROOT="$root" BARE_UID="$uid" BARE_HOME="$home" BARE_COMMAND="$command"
exec unshare --mount sh -eu -c '
    mount -t proc proc "$BARE_ROOT/proc"
    mount --rbind /dev "$BARE_ROOT/dev"
    cd "$BARE_ROOT"
    exec chroot "$BARE_ROOT" setpriv --reuid="$BARE_UID" --regid="$BARE_UID" --clear-groups \
        env HOME="$BARE_HOME" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        sh -c "cd \"$BARE_HOME/oms\" && $BARE_COMMAND"
'
