"""Axon sees every HTTP request on a Linux host: exact, live, from the kernel."""

__version__ = "0.1.0"
