#!/bin/sh
# Install llamactor as a systemd service, or upgrade it: `sudo deploy/install.sh`. Running it again changes only what is new.
#
# Code goes to /opt/llamactor/releases/NAME, named by its content; the link /opt/llamactor/venv chooses one, so that the
# running parts never see a half-installed environment. The release before stays for a way back. Settings in
# /etc/llamactor and models in /var/lib/llamactor are left alone.
# LLAMACTOR_BUILD and CMAKE_ARGS choose llama.cpp's backend, as for `make setup`; PYTHON names the interpreter.
set -eu

prefix=/opt/llamactor
units=/usr/local/lib/systemd/system
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "Error: this needs root: sudo deploy/install.sh" >&2
    exit 1
fi
if ! command -v systemd-sysusers >/dev/null; then
    echo "Error: systemd is missing; without it run 'actorctl serve', or use deploy/Containerfile" >&2
    exit 1
fi

umask 022
PYTHON=${PYTHON:-/usr/bin/python3} # root's own PATH may lead to an interpreter that no other user can reach
XDG_CACHE_HOME=/var/cache
export PYTHON XDG_CACHE_HOME

# A wheel that `make setup` built for the user behind sudo is for this machine, too.
if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    theirs=$(getent passwd "$SUDO_USER" | cut -d: -f6)/.cache/llamactor/wheels
    if [ -d "$theirs" ]; then
        mkdir -p /var/cache/llamactor/wheels
        cp -Rn "$theirs/." /var/cache/llamactor/wheels/
    fi
fi

content=$({
    echo "${LLAMACTOR_BUILD:-cpu} ${LLAMACTOR_KERNELS:-on} ${CMAKE_ARGS:-} $("$PYTHON" --version 2>&1)"
    find actors gateway registry runners deploy/kernels deploy/systemd pyproject.toml constraints.txt -type f ! -path '*/__pycache__/*' |
        LC_ALL=C sort | xargs sha256sum
} | sha256sum | cut -c1-16)
release=$prefix/releases/$content
mkdir -p "$prefix/releases"
deploy/setup.sh --for-service --venv "$release"

systemd-sysusers "$PWD/deploy/systemd/llamactor.sysusers"
install -d -m 755 "$units/llamactor-.service.d" /etc/llamactor
install -m 644 deploy/systemd/*.service deploy/systemd/*.target "$units/"
install -m 644 deploy/systemd/llamactor-.service.d/*.conf "$units/llamactor-.service.d/"
[ -e /etc/llamactor/llamactor.env ] || install -m 644 deploy/systemd/llamactor.env /etc/llamactor/llamactor.env

previous=$(readlink "$prefix/venv" || true)
ln -sfn "$release" "$prefix/venv.new"
mv -T "$prefix/venv.new" "$prefix/venv"
ln -sf "$prefix/venv/bin/actorctl" /usr/local/bin/actorctl
if [ -n "$previous" ] && [ "$previous" != "$release" ]; then
    for old in "$prefix/releases"/*; do
        [ "$old" = "$release" ] || [ "$old" = "$previous" ] || rm -rf "$old"
    done
fi

parts="llamactor-scheduler.service llamactor-runner.service llamactor-gateway.service"
systemctl enable --quiet llamactor.target $parts
if [ ! -d /run/systemd/system ]; then
    echo "Installed. systemd is not running here; llamactor starts at the next boot."
    exit 0
fi
systemctl daemon-reload
if [ "$previous" = "$release" ]; then
    systemctl start llamactor.target $parts
else
    systemctl restart llamactor.target $parts # returns when all are ready
fi
echo "llamactor is running. Its state: systemctl status 'llamactor*'; its log: journalctl -u 'llamactor*'; settings: /etc/llamactor/llamactor.env"
