#!/bin/sh
# Usage: guard.sh FOLDER CGROUP COMMAND [ARGUMENT ...]
# Runs COMMAND, which ends at the end of file on STDIN: when the process that holds the other end
# closes it, or dies in whatever way. Then ends every process that carries HYPER_TEST_DIR=FOLDER in
# its environment, detaches what is mounted below FOLDER, and removes the cgroups called CGROUP and
# FOLDER. It is a process outside of the
# test runner since a runner that is killed cannot clean up.
set -u
folder=$1
cgroup=$2
shift 2

"$@"
status=$?

marked() {
  grep -lszxF -- "HYPER_TEST_DIR=$folder" /proc/[0-9]*/environ | cut -d/ -f3
}
cgroups() {
  find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" 2>/dev/null
}
mounts() {
  # The inner ones first.
  cut -d' ' -f2 /proc/mounts | grep -- "^$folder/" | sort -r
}

# The kernel takes a moment to end what was killed; ten seconds are plenty.
tries=0
while [ "$tries" -lt 200 ]; do
  for pid in $(marked); do kill -KILL "$pid" 2>/dev/null; done
  for path in $(mounts); do umount -l "$path" 2>/dev/null; done
  for path in $(cgroups); do rmdir "$path" 2>/dev/null; done
  rm -rf --one-file-system -- "$folder" 2>/dev/null
  [ -z "$(marked)" ] && [ -z "$(cgroups)" ] && [ ! -e "$folder" ] && break
  tries=$((tries + 1))
  sleep 0.05
done
exit "$status"
