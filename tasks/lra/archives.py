"""Members of tar, zip and Debian archives, in memory: nothing of an archive is written to disk.

So no member can become a link, a device or a file outside a folder. Archives with names that try
are refused all the same, and so are members that are larger than they may be.
"""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

LIMIT = 2**30  # bytes that the members asked for may have together, unpacked
AR = b"!<arch>\n"  # a .deb begins with it
AR_HEADER = 60  # bytes

Wanted = Callable[[str], bool]


def read(path: Path, name: str, limit: int = LIMIT) -> bytes:
    """The content of one member of an archive, or of one file under a folder.

    Raises: ValueError where there is no such member, or one that is not read safely.
    """
    if path.is_dir() and (file := path / _safe(name, path)).is_file():
        return file.read_bytes()
    if path.is_file():
        for _, content in members(path, lambda found: found == name, limit):
            return content
    raise ValueError(f"{path} has no {name}; it is not what was expected")


def members(path: Path, wanted: Wanted, limit: int = LIMIT) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members for which `wanted(name)`, in the archive's order.

    Names have no leading "./". limit: bytes that all contents together may have.
    Raises: ValueError for absolute names, names with "..", links and devices among those wanted,
    archives that are cut off or of no known kind.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(AR))
            file.seek(0)
            if start == AR:
                yield from _tar(path, _data_of_deb(path, file), wanted, limit)
            elif start.startswith(b"PK"):
                yield from _zip(path, wanted, limit)
            else:
                yield from _tar(path, file, wanted, limit)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, LZMAError, zlib.error) as error:
        raise ValueError(f"{path} cannot be unpacked: {error}; remove it and try again") from error


def _tar(path: Path, file: IO[bytes], wanted: Wanted, limit: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            name = _safe(member.name, path)
            if member.isdir() or not wanted(name):
                continue
            if not member.isreg():
                raise ValueError(f"{path}: {name} is a link or a device, expected a file")
            limit = _less(limit, member.size, path, name)
            stream = archive.extractfile(member)
            assert stream is not None
            yield name, stream.read()


def _zip(path: Path, wanted: Wanted, limit: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _safe(member.filename, path)
            if member.is_dir() or not wanted(name):
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise ValueError(f"{path}: {name} is a link or a device, expected a file")
            limit = _less(limit, member.file_size, path, name)
            # zipfile stops after file_size bytes, whatever the compressed data hold.
            yield name, archive.read(member)


def _data_of_deb(path: Path, file: BinaryIO) -> IO[bytes]:
    """The archive data.tar.* in a .deb: members one after another, headers of text between them."""
    file.seek(len(AR))
    while header := file.read(AR_HEADER):
        if len(header) < AR_HEADER or header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise ValueError(f"{path} is cut off or damaged after byte {file.tell():,}")
        name, size = header[:16].decode("ascii", "replace").strip(" /"), int(header[48:58])
        if name.startswith("data.tar"):
            if name.endswith(".zst"):
                raise ValueError(f"{path} holds {name}; unpack it with dpkg-deb -x")
            data = file.read(size)
            if len(data) < size:
                raise ValueError(f"{path} is cut off: {name} has {len(data):,} of {size:,} bytes")
            return io.BytesIO(data)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"{path} has no data.tar; it is no Debian package")


def _safe(name: str, path: Path) -> str:
    """The name without "./" in front. Raises: ValueError where it leads out of a folder."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise ValueError(f"{path}: the name {name!r} leads out of the archive; it is not used")
    return "/".join(part for part in parts if part != ".")


def _less(limit: int, size: int, path: Path, name: str) -> int:
    if size > limit:
        raise ValueError(
            f"{path}: {name} has {size:,} bytes unpacked, more than the {limit:,} left for it"
        )
    return limit - size
