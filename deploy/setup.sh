#!/bin/sh
# Find a Python that is new enough for deploy.setup, and run it. In sh, because an old Python could not even parse it.
set -eu
cd "$(dirname "$0")/.."

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        exec "$candidate" -m deploy.setup "$@"
    fi
done

found=$("${PYTHON:-python3}" --version 2>&1) || found="no ${PYTHON:-python3}"
echo "Error: llamactor needs Python 3.11 or newer, and this machine has $found." >&2
echo "On Debian 12, Ubuntu 24.04 or newer: sudo apt install python3 python3-venv" >&2
echo "Or name another interpreter: make setup PYTHON=/path/to/python3.12" >&2
exit 1
