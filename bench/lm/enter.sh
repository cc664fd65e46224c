#!/bin/sh
# Hydra's launcher for the hosts of network.py: enter.sh [OPTIONS] HOST COMMAND
while [ "${1#-}" != "$1" ]; do shift; done
host=$1
shift
exec ip netns exec "$host" taskset -c "$((${host##*-} % $(nproc)))" sh -c "$*"
