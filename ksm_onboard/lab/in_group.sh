#!/bin/sh
# Runs a program of the lab in cgroups of its own: in_group.sh <cgroup folder>... -- <program> ...
# It joins them before the program starts, so that whatever that starts can be found and ended.
# A container that was rebooted from inside ends with 133 (systemd-nspawn) and is booted again.
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
