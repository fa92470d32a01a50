#!/bin/sh
# Become systemd, in namespaces made by `unshare`, over a throw-away overlay of this machine: boot.sh FOLDER
#
# FOLDER is seen as /mnt inside; prove.sh in it runs once the system is up, and its end ends the machine. Nothing
# outside is written: the root is an overlay in memory, /sys and /proc/sys are read-only, the network is one of our own.
set -eu
folder=$1
root=$folder/root

mount --make-rprivate /
mkdir "$root"
mount -t tmpfs boot "$root"
mkdir "$root/upper" "$root/work" "$root/merged"
mount -t overlay boot -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/merged"
new=$root/merged

# A machine on which nothing of ours is installed, but the llama.cpp that `make setup` has built.
rm -rf "$new/opt/llamactor" "$new/var/lib/llamactor" "$new/etc/llamactor" "$new/var/cache/llamactor"
rm -rf "$new/usr/local/bin/actorctl" "$new"/usr/local/lib/systemd/system/llamactor*
mkdir -p "$new/usr/local/lib/systemd/system" "$new/var/cache/llamactor"
cp -R "$folder/built" "$new/var/cache/llamactor/wheels"
cp "$folder/prove.service" "$folder/prove.target" "$new/usr/local/lib/systemd/system/"
: >"$new/etc/machine-id"
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-random-seed.service; do
    ln -sf /dev/null "$new/etc/systemd/system/$unit"
done

mount -t proc proc "$new/proc"
mount --bind "$new/proc/sys" "$new/proc/sys"
mount -o remount,bind,ro "$new/proc/sys"
mount -t sysfs -o ro sysfs "$new/sys"
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$new/run"
mount -t tmpfs tmp "$new/tmp"
mount -t tmpfs -o mode=755 dev "$new/dev"
for device in null zero full random urandom tty; do
    : >"$new/dev/$device"
    mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir "$new/dev/shm" "$new/dev/pts"
mount -t tmpfs shm "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
mount --bind "$folder" "$new/mnt"

cd "$new"
mkdir old
pivot_root . old
cd /
umount -l /old
exec env -i container=test PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=prove.target --show-status=no --log-target=console
