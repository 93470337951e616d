#!/bin/busybox sh
# shellcheck shell=dash
# PID 1 of the initramfs: covers a file system of this machine by a tmpfs and enters it. That is the
# whole machine's, or, for another architecture, a tree that is handed in as "root" beside it.
# The machine's stays reachable at /run/axon-guest/host until the guest's own script (named by
# axon_run= on the kernel's command line) has bound the directories that it needs.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
while read -r module; do
	insmod "/modules/$module.ko" || echo "axon-guest: cannot load $module"
done </modules/order
mount -t virtiofs host /lower || { echo "axon-guest: no file system"; exec reboot -f; }
lower=/lower
mount -t virtiofs root /tree 2>/dev/null && lower=/tree
mount -t tmpfs -o mode=755 tmpfs /writable
mkdir /writable/upper /writable/work
mount -t overlay -o lowerdir=$lower,upperdir=/writable/upper,workdir=/writable/work overlay /root ||
	{ echo "axon-guest: no overlay"; exec reboot -f; }
read -r words </proc/cmdline
run=${words##*axon_run=}
run=${run%% *}
mkdir -p /root/run /root/proc /root/sys /root/dev /root/tmp
mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p /root/run/axon-guest/host /root/run/axon-guest/bin
cp /bin/busybox /root/run/axon-guest/bin/busybox
mount --move /lower /root/run/axon-guest/host
mount --move /proc /root/proc
mount --move /sys /root/sys
exec switch_root /root /run/axon-guest/bin/busybox sh "/run/axon-guest/host$run/guest.sh"
