#!/bin/sh
# Runs once inside the namespaces of a new node and makes the mounts of a machine. They
# are not visible outside.
#   $1 name of the node   $2 its state folder   $3 the cluster's folder
set -eu
mount --make-rprivate /
echo "$1" >/proc/sys/kernel/hostname
mount -t proc proc /proc

# All state is in memory. It ends with the node, and overlayfs works on it even if the
# machine itself runs on an overlayfs, as a container does.
mount -t tmpfs -o mode=0755 state "$2"
mkdir "$2/cluster" "$2/cgroup" "$2/upper" "$2/work" "$2/sysctl"

# A sysfs shows the interfaces of its network namespace; the cgroups come back.
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
umount -l "$2/cgroup"

# Sockets, Pods' volumes and logs go to places that cannot all be configured: a
# /run and a copy-on-write /var of the node's own. The cluster's folder stays what it
# is, should it be in one of these.
mount --rbind "$3" "$2/cluster"
mount -t tmpfs -o mode=0755 run /run
mount -t overlay -o "lowerdir=/var,upperdir=$2/upper,workdir=$2/work" var /var
case $3 in
/run/* | /var/*) mkdir -p "$3" && mount --rbind "$2/cluster" "$3" ;;
esac

echo 1 >/proc/sys/net/ipv4/ip_forward
# The kubelet would set these for the whole machine. It is shown files instead.
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
	file=$2/sysctl/$(echo "${setting%%=*}" | tr / _)
	echo "${setting##*=}" >"$file"
	mount --bind "$file" "/proc/sys/${setting%%=*}"
done
