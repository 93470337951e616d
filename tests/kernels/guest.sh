# shellcheck shell=sh disable=SC2154
# PID 1 in the guest's root: completes a host-like environment, runs the command, reports, ends.
# RUN, MODULES, SHARES, COVERED, CGROUP and SYSCTLS are set by the lines that precede this text.
set -u
own=/run/axon-guest
host=$own/host
$own/bin/busybox --install -s $own/bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$own/bin

covers=0
for dir in $COVERED; do
	covers=$((covers + 1))
	cover=$own/cover/$covers
	mkdir -p "$dir" "$cover/upper" "$cover/work"
	mount -t overlay -o "lowerdir=$host$dir,upperdir=$cover/upper,workdir=$cover/work" overlay "$dir"
done
for dir in $SHARES "$RUN"; do
	mkdir -p "$dir" && mount --bind "$host$dir" "$dir"
done
mount -t devtmpfs -o mode=755 devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
release=$(uname -r)
mkdir -p "/lib/modules/$release" && mount --bind "$host$MODULES" "/lib/modules/$release"
while read -r _ node device; do # what opening them loads the modules of, such as /dev/net/tun
	numbers=${device#?}
	mkdir -p "/dev/$(dirname "$node")"
	mknod "/dev/$node" "${device%"$numbers"}" "${numbers%:*}" "${numbers#*:}"
done <<-END
	$(grep -v '^#' "/lib/modules/$release/modules.devname")
END
mkdir -p /run/lock
umount -l "$host"

mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
v1_hierarchies() {
	for controller in cpu cpuacct memory devices freezer pids net_cls; do
		mkdir "/sys/fs/cgroup/$controller"
		mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" 2>/dev/null ||
			rmdir "/sys/fs/cgroup/$controller"
	done
	mkdir /sys/fs/cgroup/systemd
	mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
}
case $CGROUP in
v2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
v1)
	mount -t tmpfs tmpfs /sys/fs/cgroup
	v1_hierarchies
	;;
hybrid)
	mount -t tmpfs tmpfs /sys/fs/cgroup
	v1_hierarchies
	mkdir /sys/fs/cgroup/unified
	mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
	;;
esac

echo axon-guest >/proc/sys/kernel/hostname
ip link set lo up
refused=
for setting in $SYSCTLS; do
	echo "${setting#*=}" >"/proc/sys/$(echo "${setting%%=*}" | tr . /)" || refused="$refused $setting"
done

for port in /sys/class/virtio-ports/*; do
	[ "$(cat "$port/name")" = axon.output ] && output=/dev/$(basename "$port")
done
echo started >"$RUN/started"
sync
if [ -z "$refused" ]; then
	setsid /bin/sh "$RUN/command.sh" </dev/null >"$output" 2>&1
	status=$?
else
	echo "the kernel refused to set$refused" >"$output"
	status=125
fi
echo $status >"$RUN/status.part"
mv "$RUN/status.part" "$RUN/status"
sync
exec $own/bin/busybox reboot -f
