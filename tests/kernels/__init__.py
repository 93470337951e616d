"""Runs commands and the live tests on other kernels, in QEMU, with this machine's own user space."""
