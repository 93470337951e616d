"""What can go wrong before a command runs in a guest."""


class KernelsError(Exception):
    """Something the person at the keyboard can repair; the message says how."""


class GuestError(Exception):
    """A guest ended or hung without reporting an exit status."""
