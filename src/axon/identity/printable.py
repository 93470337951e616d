"""Names that somebody else has chosen, as they can be shown."""

from __future__ import annotations

import os


def printable(name: str) -> str:
    """Return a name that can be shown and encoded, and that no other name is shown as.

    The bytes of what is neither are written as in URLs, `%FF`, and `%` is too.
    """
    if name.isprintable() and "%" not in name:
        return name
    return "".join(c if c.isprintable() and c != "%" else escaped(c) for c in name)


def escaped(character: str) -> str:
    """Return a character's bytes as `%FF`."""
    try:
        raw = os.fsencode(character)
    except UnicodeEncodeError:  # it stands for no byte of a file's name
        raw = character.encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in raw)
