#!/bin/busybox sh
# shellcheck shell=dash
# PID 1 of the initramfs: mounts the host's file system read-only beneath a tmpfs and enters it.
# The host's tree stays reachable at /run/axon-guest/host until the guest's own script (named by
# axon_run= on the kernel's command line) has bound the directories that are to be written through.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
while read -r module; do
	insmod "/modules/$module.ko" || echo "axon-guest: cannot load $module"
done </modules/order
mount -t virtiofs host /lower || { echo "axon-guest: no root file system"; exec reboot -f; }
mount -t tmpfs -o mode=755 tmpfs /writable
mkdir /writable/upper /writable/work
mount -t overlay -o lowerdir=/lower,upperdir=/writable/upper,workdir=/writable/work overlay /root ||
	{ echo "axon-guest: no overlay"; exec reboot -f; }
read -r words </proc/cmdline
run=${words##*axon_run=}
run=${run%% *}
mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p /root/run/axon-guest/host
cp /bin/busybox /root/run/axon-guest/busybox
mount --move /lower /root/run/axon-guest/host
mount --move /proc /root/proc
mount --move /sys /root/sys
exec switch_root /root /bin/sh "/run/axon-guest/host$run/guest.sh"
