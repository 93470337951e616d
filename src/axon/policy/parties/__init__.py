"""Who is on a host, and whom policies mean: labels, commands, ports and addresses, each by a number."""
