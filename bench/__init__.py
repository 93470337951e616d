"""What Axon costs: every figure that the README states, measured here. Run by `make bench`, as root."""
