"""`make kernels`: the live tests on every kernel of the table and in every configuration."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tests.kernels import accelerator, ending, fetch, page, results, run, table
from tests.kernels.errors import GuestError, KernelsError
from tests.kernels.guest import Setup
from tests.kernels.guest import run as run_guest
from tests.kernels.image import Image
from tests.kernels.results import Guest

OUT = run.REPOSITORY / "build" / "kernels"
PAGE = run.REPOSITORY / "docs" / "kernels.md"
TIMEOUT = 1500.0

# Emulation is ten to thirty times slower than the machine.
TEST_TIMEOUT = 900

# What a file of tests takes where nothing is known of its guest.
FILE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Job:
    """One guest to be booted."""

    row: table.Row
    setup: Setup
    tests: Sequence[str]
    configuration: str = ""

    @property
    def title(self) -> str:
        """What tells its guest from others."""
        return Guest(self.row.name, "", self.configuration).title

    @property
    def out(self) -> Path:
        """Where its output goes."""
        return OUT / self.row.name / (self.configuration.replace(" ", "-") or "plain")


def jobs(chosen: table.Table, rows: Sequence[table.Row], out: Path) -> Iterator[Job]:
    """Every row as it is, and in each configuration that names it."""
    for row in rows:
        covered = [run.REPOSITORY] if row.userspace else []
        yield Job(row, Setup(shares=[out], covered=covered), row.tests)
        for configuration in chosen.configurations:
            if row.name in configuration.kernels:
                setup = Setup(
                    cgroup=configuration.cgroup,
                    sysctls=configuration.sysctls,
                    append=configuration.append,
                    cards=configuration.cards,
                    shares=[out],
                )
                yield Job(row, setup, configuration.tests, configuration.name)


def do(job: Job, image: Image, chosen: table.Table, out: Path) -> Guest:
    """Boots a guest, runs its tests, collects what came of them."""
    guest = Guest(job.row.name, image.release, job.configuration)
    if unknown := [name for name in job.tests if name not in chosen.tests]:
        raise KernelsError(f"{guest.title}: the table has no tests {', '.join(unknown)}")
    tests = {name: chosen.tests[name] for name in job.tests}
    paths = [path for each in tests.values() for path in each]
    space = chosen.userspaces.get(job.row.userspace)
    command = [space.python if space else sys.executable, "-m", "pytest", "-q"]
    # no plugin but those that the tests need: to import the others takes an emulated processor long
    command += ["-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "pytest_asyncio.plugin"]
    for unfit in chosen.unfit:
        command += ["--deselect", unfit.test] if unfit.on(job.row.name) else []
    command += ["--timeout", str(TEST_TIMEOUT), f"--junitxml={out}/junit.xml", *paths]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    more = [
        f"AXON_KERNELS_OUT={out}",
        f"AXON_WAYS={' '.join(chosen.ways_of(job.row))}",
        f"AXON_LOAD={chosen.load}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1",
    ]
    began = time.monotonic()
    try:
        with (out / "output").open("wb", buffering=0) as log:
            run_guest(
                image,
                command,
                setup=replace(job.setup, accelerator=accelerator.choose(image)),
                environment=run.environment(job.row, chosen, more),
                timeout=TIMEOUT,
                output=log.write,
            )
    except GuestError as error:
        guest.fail("guest", str(error))
    else:
        results.collect(guest, out, tests)
    guest.seconds = time.monotonic() - began
    return guest


def expected(chosen: table.Table, written: Path) -> Callable[[Job], float]:
    """Give a function that says how many seconds a job will take: as many as a written page tells."""
    known = page.seconds(written.read_text(encoding="utf-8")) if written.exists() else {}

    def seconds(job: Job) -> float:
        files = sum(len(chosen.tests.get(name, [])) for name in job.tests)
        return known.get(job.title, files * FILE_SECONDS)

    return seconds


def do_all(
    todo: Sequence[Job], images: dict[str, Image], chosen: table.Table, abreast: int
) -> Generator[Guest]:
    """Does so many jobs at a time and gives what came of them, in their order.

    Those that take longest begin first, so that none of them is left over at the end.
    """
    longest_first = sorted(todo, key=expected(chosen, PAGE), reverse=True)
    pool = ThreadPoolExecutor(abreast)
    try:
        begun = {
            job.out: pool.submit(do, job, images[job.row.name], chosen, job.out)
            for job in longest_first
        }
        for job in todo:
            yield begun[job.out].result()
    finally:
        pool.shutdown(cancel_futures=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(prog="make kernels", description=__doc__)
    line.add_argument("-k", "--kernel", action="append", default=[], metavar="NAME",
                      help="a kernel of the table; may be repeated (default: all)")  # fmt: skip
    line.add_argument("--table", type=Path, default=table.TABLE, metavar="FILE")
    line.add_argument("--plain", action="store_true", help="without the configurations")
    line.add_argument("--tests", action="append", default=[], metavar="GROUP",
                      help="a group of tests of the table, in place of each kernel's own; may be repeated")  # fmt: skip
    line.add_argument("--abreast", type=int, default=os.cpu_count() or 1, metavar="N",
                      help="so many guests at a time (default: as many as there are processors)")  # fmt: skip
    line.add_argument("--update", action="store_true", help="ask the archives for newer packages")
    line.add_argument("--accept", action="store_true",
                      help="make today's instruction counts the baseline")  # fmt: skip
    return line


def main() -> int:
    """Returns 0 if every test on every kernel passed, 1 if not, 2 if a kernel could not be had."""
    line = parser().parse_args()
    ending.on_signals()
    guests: list[Guest] = []
    missing = 0
    try:
        chosen = table.read(line.table)
        rows = chosen.choose(line.kernel)
        images: dict[str, Image] = {}
        for row in rows:
            try:
                images[row.name] = fetch.make(row, chosen, update=line.update)
            except KernelsError as error:
                print(f"kernels: {error}", file=sys.stderr)
                missing += 1
        todo = list(jobs(chosen, [row for row in rows if row.name in images], OUT))
        if line.plain or line.tests:
            todo = [job for job in todo if not job.configuration]
        if line.tests:
            todo = [replace(job, tests=line.tests) for job in todo]
        with closing(do_all(todo, images, chosen, line.abreast)) as done:
            for guest in done:
                if not guest.configuration and not line.accept:
                    results.compare(guest, results.baseline().get(guest.kernel, {}))
                guests.append(guest)
                verdict = f"{len(guest.failures)} FAILED" if guest.failures else "passed"
                print(
                    f"{guest.title} ({guest.release}): {verdict}, {guest.seconds:.0f} s", flush=True
                )
    except KernelsError as error:
        print(f"kernels: {error}", file=sys.stderr)
        return 2
    if line.accept:
        results.accept(guests)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "junit.xml").write_bytes(results.junit(guests))
    print(page.text(guests))
    failed = sum(len(guest.failures) for guest in guests)
    if not (line.kernel or line.plain or line.tests or missing) and line.table == table.TABLE:
        PAGE.write_text(page.page(guests, chosen))
        print(f"\nwrote {PAGE.relative_to(run.REPOSITORY)}")
    passed = sum(group.passed for guest in guests for group in guest.groups.values())
    print(f"\n{passed} passed, {failed} failed")
    return 2 if missing else int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
