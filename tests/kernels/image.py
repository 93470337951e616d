"""Turns kernel packages into what QEMU boots: a kernel image, its modules and an initramfs."""

import lzma
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.cpio import Cpio
from tests.kernels.errors import KernelsError

INIT = Path(__file__).with_name("init.sh")
BUSYBOX = Path("usr/bin/busybox")

# What brings up the root file system and the channel for output; all else is loaded from there.
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtiofs", "overlay")


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel ready to boot."""

    release: str
    arch: str
    kernel: Path
    modules: Path  # a lib/modules/RELEASE directory with modules.dep
    initramfs: Path
    root: Path  # the file system that the guest sees


def unpack(debs: Sequence[Path], tree: Path, arch: str, root: Path) -> Image:
    """Unpacks kernel packages into `tree` (once) and builds their initramfs."""
    marker = tree / "complete"
    if not marker.exists():
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        for deb in debs:
            subprocess.run(["dpkg-deb", "-x", deb, tree], check=True)
        if not (tree / "lib").exists():
            (tree / "lib").symlink_to("usr/lib")  # where depmod looks
        marker.touch()
    kernels = [*tree.glob("boot/vmlinu[xz]-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    modules = [*tree.glob("lib/modules/*")]
    if len(kernels) != 1 or not modules:
        raise KernelsError(
            f"expected one kernel with modules in {', '.join(deb.name for deb in debs)}"
        )
    return prepare(kernels[0], modules[0], tree / "initramfs", arch, root)


def prepare(kernel: Path, modules: Path, initramfs: Path, arch: str, root: Path) -> Image:
    """Completes a kernel and its modules with the index of modules and an initramfs."""
    if not (modules / "modules.dep").exists():
        _depmod(modules)
    initramfs.write_bytes(_initramfs(modules, root))
    return Image(modules.name, arch, kernel, modules, initramfs, root)


def _depmod(modules: Path) -> None:
    base = modules.parents[2]  # depmod insists on BASE/lib/modules/RELEASE
    try:
        subprocess.run(["depmod", "-b", base, modules.name], check=True, capture_output=True)
    except FileNotFoundError as error:
        raise KernelsError("depmod is missing: apt-get install kmod") from error
    except subprocess.CalledProcessError as error:
        raise KernelsError(f"depmod {modules.name}: {error.stderr.decode()}") from error


def _initramfs(modules: Path, root: Path) -> bytes:
    busybox = root / BUSYBOX
    if not busybox.exists():
        raise KernelsError("a static busybox is missing: apt-get install busybox-static")
    archive = Cpio()
    for name in ("bin", "dev", "proc", "sys", "modules", "lower", "tree", "writable", "root"):
        archive.directory(name)
    archive.device("dev/console", 5, 1)
    archive.file("init", INIT.read_bytes(), 0o755)
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    order = []
    for path in _closure(modules, BOOT_MODULES):
        name = path.name.split(".")[0]
        archive.file(f"modules/{name}.ko", _module(path))
        order.append(name)
    archive.file("modules/order", "".join(f"{name}\n" for name in order).encode())
    return bytes(archive)


def _closure(modules: Path, wanted: Sequence[str]) -> list[Path]:
    """The wanted modules' files and those of all they depend on, in the order to load them."""
    depends: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        depends[_name(path)] = (path, rest.split())
    listed = modules / "modules.builtin"
    builtin = {_name(line) for line in listed.read_text().split()} if listed.exists() else None
    ordered: list[Path] = []

    def visit(name: str) -> None:
        if name not in depends and (builtin is None or name in builtin):
            return
        if name not in depends:
            raise KernelsError(f"kernel {modules.name} has no {name}, which the guest needs")
        path, needs = depends[name]
        for need in needs:
            visit(_name(need))
        file = modules / path
        if file not in ordered:
            ordered.append(file)

    for name in wanted:
        visit(name)
    return ordered


def _name(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?$", "", Path(path).name).replace("-", "_")


def _module(path: Path) -> bytes:
    """A module, decompressed: busybox loads only plain ones."""
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".zst":
            done = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True)
            return done.stdout
        case _:
            return path.read_bytes()
