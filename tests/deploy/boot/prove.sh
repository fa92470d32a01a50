# Runs inside the booted system; each answer is a line `name: value` for the test to read.
parts="llamactor-gateway llamactor-scheduler llamactor-runner"
states() { systemctl is-active $parts | tr '\n' ' '; }
joke() { actorctl run tiny --think=false "Tell me a joke." </dev/null | head -1; }
main_pid() { systemctl show --property=MainPID --value "$1"; }

echo "booted: $(states)"
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

# A stop in the middle of an answer lets it end.
count() { actorctl run tiny "Count to 30." </dev/null; }
whole=$(count)
count >/tmp/count &
until [ -s /tmp/count ]; do sleep 0.01; done
systemctl stop $parts
wait $! && [ "$(cat /tmp/count)" = "$whole" ] && echo "drained: ${#whole} characters"
echo "stopped: $(states)"
echo "results: $(systemctl show --property=Result --value $parts | tr '\n' ' ')"
echo "left: $(pgrep --list-full llamactor; cd /run && ls -d llamactor* 2>/dev/null)"
