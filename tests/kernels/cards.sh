# shellcheck shell=sh
# Runs a command in the network namespace that it is started in, where so many taps, card0 and on, are
# ports of one bridge: what one card sends the others get, with all that is left to the receiver.
set -eu
count=$1
shift
ip link add cards type bridge mcast_snooping 0
while [ "$count" -gt 0 ]; do
	count=$((count - 1))
	ip tuntap add "card$count" mode tap vnet_hdr
	ip link set "card$count" master cards up
done
ip link set cards up
exec "$@"
