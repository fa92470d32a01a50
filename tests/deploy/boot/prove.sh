# Runs inside the booted system, as root; each answer is a line `name: value` for the test to read.
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/mnt/wheels OLLAMA_NOHISTORY=1
checkout=/mnt/checkout
parts="llamactor-gateway llamactor-scheduler llamactor-runner"
states() { systemctl is-active $parts | tr '\n' ' '; }
joke() { actorctl run tiny --think=false "Tell me a joke." </dev/null | head -1; }
count() { actorctl run tiny "Count to 30." </dev/null; }
main_pid() { systemctl show --property=MainPID --value "$1"; }
version() { actorctl --version; }

"$checkout/deploy/install.sh" >&2
echo "installed: $? $(states)"
echo "users: $(ps -o user= -p "$(main_pid llamactor-gateway),$(main_pid llamactor-scheduler),$(main_pid llamactor-runner)" | sort -u | tr '\n' ' ')"
printf 'FROM /mnt/tiny.gguf\nPARAMETER temperature 0\n' >/tmp/Modelfile
actorctl create tiny -f /tmp/Modelfile
echo "answer: $(joke)"
echo "folders: $(cd /run && echo llamactor-*)"

systemctl kill --signal=KILL --kill-who=main llamactor-scheduler
while [ "$(main_pid llamactor-scheduler)" = 0 ]; do sleep 0.1; done
echo "answer with a new scheduler: $(joke)"
echo "restarts: $(systemctl show --property=NRestarts --value $parts | tr '\n' ' ')"

# The store belongs to the units' user, the rest of the system to nobody in them.
gateway=$(main_pid llamactor-gateway)
echo "capabilities: $(grep CapEff "/proc/$gateway/status" | cut -f2)"
echo "no new privileges: $(grep NoNewPrivs "/proc/$gateway/status" | cut -f2)"

# Installing the same again disturbs nothing.
"$checkout/deploy/install.sh" >&2
echo "again: $? $([ "$(main_pid llamactor-gateway)" = "$gateway" ] && echo "the same processes")"

# An upgrade to other code, while one client after the other asks: what is answered is whole, what is not was refused.
whole=$(count)
while [ ! -e /tmp/upgraded ]; do
    if answer=$(count 2>/tmp/refusal); then
        [ "$answer" = "$whole" ] && echo whole || echo "cut: $answer"
    else
        grep -qE "could not connect|503 " /tmp/refusal && echo refused || cat /tmp/refusal
        sleep 0.2
    fi
done >/tmp/asked &
sed -i 's/^version = .*/version = "99.0"/' "$checkout/pyproject.toml"
"$checkout/deploy/install.sh" >&2
echo "upgraded: $? $(states)"
touch /tmp/upgraded
wait $!
echo "asked meanwhile: $(sort /tmp/asked | uniq | tr '\n' ' ')"
echo "new version: $(version)"
echo "new answer: $(joke)"
echo "releases: $(ls /opt/llamactor/releases | wc -l)"

# The way back, as the README has it.
new=$(readlink /opt/llamactor/venv)
for release in /opt/llamactor/releases/*; do
    [ "$release" = "$new" ] || ln -sfn "$release" /opt/llamactor/venv
done
systemctl restart llamactor.target $parts
echo "old version: $(version)"
echo "old answer: $(joke)"

# A stop in the middle of an answer lets it end.
count >/tmp/count &
until [ -s /tmp/count ]; do sleep 0.01; done
systemctl stop $parts
wait $! && [ "$(cat /tmp/count)" = "$whole" ] && echo "drained: ${#whole} characters"
echo "stopped: $(states)"
echo "results: $(systemctl show --property=Result --value $parts | tr '\n' ' ')"
echo "left: $(pgrep --list-full llamactor; cd /run && ls -d llamactor* 2>/dev/null)"

systemctl start llamactor.target $parts
"$checkout/deploy/uninstall.sh" >&2
echo "uninstalled: $? $(ls -d /opt/llamactor /usr/local/bin/actorctl /var/cache/llamactor /usr/local/lib/systemd/system/llamactor* 2>/dev/null)"
echo "kept: $(cd / && ls -d var/lib/llamactor/models etc/llamactor/llamactor.env | tr '\n' ' ')"
"$checkout/deploy/uninstall.sh" --purge >&2
echo "purged: $? $(ls -d /var/lib/llamactor /etc/llamactor 2>/dev/null) $(getent passwd llamactor)"
echo "left at last: $(pgrep --list-full llamactor; cd /run && ls -d llamactor* 2>/dev/null; systemctl list-units --all --no-legend 'llamactor*')"
