#!/bin/sh
# First stage of a lab node, still in the machine's namespaces. Started once, in a session of its own, by
# providers/lab/node-process.ts; from here on the node needs nobody: whoever started it may be killed at any moment.
set -eu
# Held by the outside parent (unshare) for as long as the node lives: a node can never run twice.
exec 8>"$HCL_RUN/lock"
flock -n 8 || exit 0
# The machine's network, needed once more by the second stage to hang eth0 into the bridge.
exec 9</proc/self/ns/net
rm -f "$HCL_RUN/init.pid"
while read -r group; do
  mkdir -p "$group"
  case $group in */cpuset/*)
    # a version 1 cpuset starts empty and takes no process before it has CPUs and memory nodes
    lab=${group%/*}
    for file in cpuset.cpus cpuset.mems; do
      cat "${lab%/*}/$file" >"$lab/$file"
      cat "$lab/$file" >"$group/$file"
    done ;;
  esac
  if [ -n "$HCL_MEMORY" ]; then
    for file in memory.limit_in_bytes memory.max; do
      if [ -e "$group/$file" ]; then echo "$HCL_MEMORY" >"$group/$file"; fi
    done
  fi
  echo $$ >"$group/cgroup.procs"
done <"$HCL_RUN/cgroups"
exec unshare --mount --propagation private --pid --fork --kill-child=KILL --uts --ipc --net --cgroup \
  /bin/sh "$HCL_SCRIPTS/node-init.sh"
