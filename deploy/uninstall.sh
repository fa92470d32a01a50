#!/bin/sh
# Remove what deploy/install.sh installed. Models and settings stay, unless --purge is given.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    echo "Error: this needs root: sudo deploy/uninstall.sh [--purge]" >&2
    exit 1
fi
case "${1:-}" in
'' | --purge) ;;
*)
    echo "Error: unknown argument $1: use deploy/uninstall.sh [--purge]" >&2
    exit 1
    ;;
esac

if [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now llamactor.target llamactor-gateway.service llamactor-scheduler.service \
        llamactor-runner.service 2>/dev/null || true
    systemctl stop llamactor.slice 2>/dev/null || true
fi
units=/usr/local/lib/systemd/system
rm -f "$units"/llamactor.target "$units"/llamactor-gateway.service "$units"/llamactor-scheduler.service \
    "$units"/llamactor-runner.service
rm -rf "$units/llamactor-.service.d" /opt/llamactor /var/cache/llamactor
rm -f /usr/local/bin/actorctl
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi

if [ "${1:-}" = --purge ]; then
    rm -rf /var/lib/llamactor /etc/llamactor
    if getent passwd llamactor >/dev/null; then
        userdel llamactor
    fi
    echo "llamactor is removed, with its models and settings."
else
    echo "llamactor is removed. Its models stay in /var/lib/llamactor and its settings in /etc/llamactor; --purge removes both."
fi
