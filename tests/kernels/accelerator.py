"""KVM where it really works, which /dev/kvm alone does not tell: found out by a short trial."""

import os
import platform
from pathlib import Path

from tests.kernels import guest
from tests.kernels.errors import GuestError
from tests.kernels.fetch import cache_directory
from tests.kernels.image import Image

KVM = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NATIVE = {"x86_64": "amd64", "aarch64": "arm64"}

# A guest with KVM boots in a second or two.
TRIAL_SECONDS = 15.0


def choose(image: Image) -> str:
    """`kvm` or `tcg` for this kernel. The trial is made once a boot of this machine."""
    if image.arch != NATIVE.get(platform.machine()) or not os.access(KVM, os.R_OK | os.W_OK):
        return "tcg"
    known = cache_directory() / f"accelerator-{BOOT_ID.read_text().strip()}"
    if not known.exists():
        for old in cache_directory().glob("accelerator-*"):
            old.unlink()
        known.write_text("kvm" if _works(image) else "tcg")
    return known.read_text()


def _works(image: Image) -> bool:
    setup = guest.Setup(accelerator="kvm", boots=1, boot_seconds=TRIAL_SECONDS)
    try:
        result = guest.run(
            image,
            ["true"],
            setup=setup,
            environment={},
            timeout=TRIAL_SECONDS,
            output=lambda _: None,
            quiet=True,
        )
    except GuestError:
        return False
    return result.status == 0
