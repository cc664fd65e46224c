#!/bin/sh
# Hydra's launcher for the hosts of network.py: enter.sh [OPTIONS] HOST COMMAND
while [ "${1#-}" != "$1" ]; do shift; done
host=$1  # psmpi-0, psmpi-1, ...; plain nproc would heed OMP_NUM_THREADS
shift
exec ip netns exec "$host" taskset -c "$((${host##*-} % $(nproc --all)))" sh -c "$*"
