#!/bin/sh
# Runs one lab host: run_host.sh <cgroup folder>... -- systemd-nspawn ...
# Joins the host's own cgroups first, so that everything it starts can be found and ended, and
# boots the container again when it was rebooted from inside (systemd-nspawn then ends with 133).
set -eu

while [ "$1" != "--" ]; do
  echo "$$" > "$1/cgroup.procs"
  shift
done
shift

while :; do
  status=0
  "$@" || status=$?
  [ "$status" -eq 133 ] || exit "$status"
done
