#!/bin/bash
# Runs fastgcn-rec on two machines that are none: two network namespaces joined by a veth pair, with torchrun in each.
#   scripts/two_machines.sh [-n RANKS_OF_EACH] [-r RESTARTS] train events.csv --out run ...
# Needs Linux, iproute2 and user namespaces (or root), and leaves nothing behind: all lies in namespaces that end with it.
# On real machines the same two commands of torchrun do, one on each, with the first machine's address and the name of the interface between them.
set -euo pipefail

if [ -z "${FASTGCN_REC_NAMESPACES:-}" ]; then
  FASTGCN_REC_NAMESPACES=1 exec unshare --user --map-root-user --net --mount --pid --fork --kill-child "$0" "$@"
fi
each=1 restarts=0
while getopts n:r: option; do
  case $option in
    n) each=$OPTARG ;;
    r) restarts=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
mount -t tmpfs none /run && mount -t proc none /proc
for number in 1 2; do
  ip netns add "machine$number"
  ip -n "machine$number" link set lo up
done
ip link add wire1 netns machine1 type veth peer name wire2 netns machine2
for number in 1 2; do
  ip -n "machine$number" addr add "10.77.0.$number/24" dev "wire$number"
  ip -n "machine$number" link set "wire$number" up
done

on_machine() { # number, whether it keeps the place where all meet, arguments
  local number=$1 keeps=$2
  shift 2
  GLOO_SOCKET_IFNAME="wire$number" exec ip netns exec "machine$number" "${PYTHON:-python}" -m torch.distributed.run --nnodes 2 --nproc-per-node "$each" \
    --max-restarts "$restarts" --rdzv-backend c10d --rdzv-id two --rdzv-endpoint 10.77.0.1:29500 --rdzv-conf "is_host=$keeps" \
    --local-addr "10.77.0.$number" -m fastgcn_rec "$@"
}
on_machine 2 false "$@" &
second=$!
on_machine 1 true "$@" &
first=$!
trap 'kill -TERM $first $second 2>/dev/null' TERM INT
code=0
wait $first || code=$?
wait $second || code=$?
exit $code
