"""Writes an initramfs: a cpio archive in the "newc" format (Linux, buffer-format.rst)."""

import stat
from dataclasses import dataclass, field

_ALIGN = 4


@dataclass(slots=True)
class Cpio:
    """An archive that grows entry by entry; `bytes(archive)` closes it."""

    _parts: list[bytes] = field(default_factory=list)
    _inode: int = 0

    def directory(self, name: str) -> None:
        """Adds an empty directory."""
        self._add(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Adds a regular file."""
        self._add(name, stat.S_IFREG | mode, content)

    def device(self, name: str, major: int, minor: int) -> None:
        """Adds a character device."""
        self._add(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def __bytes__(self) -> bytes:
        """The whole archive, with its trailer."""
        trailer = Cpio()
        trailer._add("TRAILER!!!", 0, b"")
        return b"".join([*self._parts, *trailer._parts])

    def _add(self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        numbers = (
            *(self._inode, mode, 0, 0, links, 0, len(content)),
            *(0, 0, *device, len(path), 0),
        )
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + path
        self._parts.append(_padded(head) + _padded(content))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGN)
