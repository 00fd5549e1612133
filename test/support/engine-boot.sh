#!/bin/sh
# Usage: engine-boot.sh FOLDER REGISTRY_PORT
# The first process of a test engine's namespaces (network, PIDs, mounts): starts two registries,
# containerd and dockerd, and ends at the end of file on STDIN; with it the kernel ends everything
# inside. It waits for its children, so that orphans are reaped.
set -eu
folder=$1
port=$2

ls -l /proc/self/ns >"$folder/namespaces"
ip link set lo up
# containerd and libnetwork keep sockets and locks in fixed places under /run, dockerd a key in /etc.
mkdir -p /etc/docker
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 docker /etc/docker

docker-registry serve "$folder/registry.json" >"$folder/registry.log" 2>&1 &
docker-registry serve "$folder/registry-closed.json" >"$folder/registry-closed.log" 2>&1 &
containerd --config "$folder/containerd.toml" >"$folder/containerd.log" 2>&1 &
# As a service manager does: one that ends is started again.
while :; do
  dockerd --config-file "$folder/dockerd.json" >>"$folder/dockerd.log" 2>&1 || :
  sleep 0.1
done &
until busybox wget -q -O /dev/null "http://127.0.0.1:$port/v2/"; do
  sleep 0.05
done 2>/dev/null
: >"$folder/registry-ready"
cat >/dev/null
