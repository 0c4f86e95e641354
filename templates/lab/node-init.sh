#!/bin/sh
# Second stage of a lab node: pid 1 of its new namespaces, still on the machine's root. Builds the node's file system and
# network, then becomes systemd. Nothing done here is visible outside the node but one veth end in the lab's bridge.
set -eu
cd "$HCL_NODE"
# /proc is still the machine's: our pid and start time as the machine counts them (the shell opens the file itself, no fork)
read -r stat </proc/self/stat
# shellcheck disable=SC2086
set -- $stat
outer_pid=$1 started=${22}

# The veth pair is made from the machine's side (fd 9); a leftover of a killed start would be in the way. Its other end goes to
# pid 1 of our own pid namespace: this shell.
outside() { nsenter --net=/proc/self/fd/9 "$@"; }
outside ip link del "$HCL_VETH" 2>/dev/null || true
outside ip link add "$HCL_VETH" mtu 1500 type veth peer name eth0 address "$HCL_MAC" netns 1
outside ip link set "$HCL_VETH" master "$HCL_BRIDGE" up
exec 9<&-

hostname "$HCL_NAME"
# relative names: commas and colons in the workspace's path would be read as options
mount -t overlay "$HCL_NAME" -o "lowerdir=$HCL_ROOT,upperdir=upper,workdir=work" root
cd root
mkdir -p disks .old
mount --bind ../disks disks
mount --bind "$HCL_HOSTS" etc/hosts

mount -t proc proc proc
# Kernel settings that are not per namespace are the MACHINE's (systemd-sysctl and zfs-fuse would change them): read-only,
# but for the node's own network.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t proc proc .old
mount --bind .old/sys/net proc/sys/net
umount -l .old
# zfs rollback writes to drop_caches and fails if it cannot; the real one would empty the machine's cache
: >"$HCL_RUN/drop_caches"
mount --bind "$HCL_RUN/drop_caches" proc/sys/vm/drop_caches
if [ -e proc/sysrq-trigger ]; then mount --bind /dev/null proc/sysrq-trigger; fi
mount -t sysfs -o ro sysfs sys

# The same control group layout as the machine's, rooted at this node's own groups (cgroup namespace).
if grep -q '^/sys/fs/cgroup/hcl' "$HCL_RUN/cgroups"; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while read -r group; do
    kind=${group#/sys/fs/cgroup/}
    kind=${kind%%/*}
    mkdir -p "sys/fs/cgroup/$kind"
    case $kind in
      unified) mount -t cgroup2 cgroup2 "sys/fs/cgroup/$kind" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "sys/fs/cgroup/$kind" ;;
      *) mount -t cgroup -o "$kind" cgroup "sys/fs/cgroup/$kind" ;;
    esac
  done <"$HCL_RUN/cgroups"
fi

mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm dev/net
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
device() { mknod -m "$1" "dev/$2" c "$3" "$4"; }
device 666 null 1 3
device 666 zero 1 5
device 666 full 1 7
device 666 random 1 8
device 666 urandom 1 9
device 666 tty 5 0
device 600 fuse 10 229
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/sshd run/zfs run/proc-full
# an unmasked proc must exist in the namespace, else the kernel refuses proc mounts in user namespaces (bubblewrap)
mount -t proc proc run/proc-full
mount -t tmpfs -o mode=1777 tmpfs tmp

# No default route: nothing a node sends can leave this machine.
ip link set lo up
ip addr add "$HCL_V4" dev eth0
if [ -e proc/sys/net/ipv6/conf/eth0/accept_dad ]; then
  echo 0 >proc/sys/net/ipv6/conf/eth0/accept_dad
  echo 0 >proc/sys/net/ipv6/conf/eth0/accept_ra
  ip -6 addr add "$HCL_V6" dev eth0 nodad
fi
ip link set eth0 up

echo "$outer_pid $started" >"$HCL_RUN/init.pid.new"
mv "$HCL_RUN/init.pid.new" "$HCL_RUN/init.pid"
pivot_root . .old
umount -l /.old
# as systemd does on a machine, but not when it finds itself in a container: else each service with a mount namespace of its own keeps every dataset mounted for ever
mount --make-rshared /
exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb container=hybridcluster-lab \
  /lib/systemd/systemd --system --log-target=console --show-status=1 8>&-
