"""A folder that appears whole under its name, or not at all, and keeps what others put into it."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from results.store import sync_folder
from runners.checkpoint import durably

Check = Callable[[Path], None]


def place(folder: Path, files: Mapping[str, bytes], check: Check | None = None) -> None:
    """Writes files into a new folder beside `folder`, which then takes its place.

    Files of other names in `folder` stay in it. A kill between the two renames leaves what was
    there as <name>.<digits>.old. check: called with the new folder before it takes the place; what
    it raises prevents that. Raises: OSError, after which `folder` is as it was.
    """
    folder = Path(os.path.realpath(folder))
    mark = secrets.token_hex(4)
    draft = folder.with_name(f"{folder.name}.{mark}.part")
    for left in folder.parent.glob(f"{glob.escape(folder.name)}.*.part"):
        shutil.rmtree(left, ignore_errors=True)  # by a process that was killed
    try:
        draft.mkdir(parents=True)
        for name, data in files.items():
            durably(draft / name, data)
        if check is not None:
            check(draft)
        take_place(draft, folder, folder.with_name(f"{folder.name}.{mark}.old"), files)
    except OSError as error:
        number = error.errno or errno.EIO
        raise OSError(
            number,
            f"{os.strerror(number)}: the model was not stored, and what was there before is as it"
            " was. Make room, or give another folder",
            str(folder),
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(folder.parent)


def take_place(draft: Path, folder: Path, aside: Path, files: Mapping[str, bytes]) -> None:
    """Renames draft to folder; foreign files of the old folder move into it."""
    if not folder.is_dir():
        draft.rename(folder)
        return
    folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    for entry in list(aside.iterdir()):
        if entry.name not in files:
            entry.rename(folder / entry.name)
    shutil.rmtree(aside, ignore_errors=True)
