"""Carries on disk, so that a restart of the agent makes no counter fall."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np

from axon.export.families import Counts
from axon.export.labels import Labels

VERSION = 1
FILE = "carries.json"
_LONGEST = 4096

Carries = Mapping[str, Mapping[Labels, Counts]]


def maps_name(secret: int) -> str:
    """Return a name for a set of pinned maps, from the secret drawn with them."""
    data = secret.to_bytes(8, "little")
    return blake2b(data, digest_size=16, person=b"axon-carries").hexdigest()


def save(path: Path, maps: str, carries: Carries) -> None:
    """Replace the file as a whole. `maps` names the set of maps that it belongs to.

    Raises OSError when it cannot be written.
    """
    content = {
        "version": VERSION,
        "maps": maps,
        "carries": {
            family: [[label.pairs, _sparse(cell)] for label, cell in cells.items()]
            for family, cells in carries.items()
            if cells
        },
    }
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(content))
    draft.replace(path)


def load(path: Path, maps: str) -> Carries:
    """Return what was saved for this set of maps; nothing if there is no such file.

    Raises OSError if the file cannot be read, ValueError if it is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != VERSION or content["maps"] != maps:
            return {}
        return {
            family: {
                Labels.of((str(k), str(v)) for k, v in pairs): _dense(cell) for pairs, cell in cells
            }
            for family, cells in content["carries"].items()
        }
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error


def _sparse(cell: Counts) -> list[int]:
    """Return a cell as its length, and place and number of each word that is not zero."""
    at = np.flatnonzero(cell)
    pairs = np.column_stack([at.astype(np.uint64), cell[at]])
    return [len(cell), *pairs.ravel().tolist()]


def _dense(content: list[int]) -> Counts:
    if not 0 <= content[0] <= _LONGEST:
        raise ValueError(f"a cell of {content[0]} words")
    cell = np.zeros(content[0], np.uint64)
    cell[content[1::2]] = np.array(content[2::2], np.uint64)
    return cell
