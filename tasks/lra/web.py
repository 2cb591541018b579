"""One file from an address, continued where an earlier try ended."""

from __future__ import annotations

import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

CHUNK = 2**20  # bytes
PAUSE = 1.0  # seconds before the second try, doubled before each further one
TRIES = 5  # in a row without a new byte
SECONDS = 60  # without an answer


def download(url: str, part: Path, expected: int, tell: Callable[[str], None]) -> None:
    """Fetches into `part`, which an earlier try may have begun.

    expected: bytes, roughly, to see whether they fit.
    Raises: OSError where it cannot be had; `part` keeps what came.
    """
    begun = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if expected - begun > free:
        raise OSError(f"{expected - begun:,} bytes do not fit into {free:,} free in {part.parent}")
    tries = 0
    while True:
        try:
            before = part.stat().st_size if part.exists() else 0
            if _go_on(url, part, tell):
                return
            problem = "the connection broke off"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:  # asking again gives the same answer
                raise OSError(f"{url} answers {error.code} {error.reason}") from error
            problem = f"{url} answers {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{url}: {error}"
        came = part.stat().st_size if part.exists() else 0
        tries = 1 if came > before else tries + 1
        if tries >= TRIES:
            raise OSError(f"{problem}, after {came:,} bytes")
        tell(f"{problem} after {came:,} bytes; trying again")
        time.sleep(PAUSE * 2 ** (tries - 1))


def _go_on(url: str, part: Path, tell: Callable[[str], None]) -> bool:
    """Asks for what is missing and appends it. Returns: whether the file is complete."""
    begun = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={begun}-"} if begun else {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            continued = answer.status == 206 and _first_byte(answer) == begun
            if answer.status == 206 and not continued:
                raise OSError(f"bytes from {begun:,} were asked for, others came")
            if begun and not continued:
                tell(f"this server sends whole files only; {begun:,} bytes come again")
                begun = 0
            left = answer.headers.get("Content-Length")
            total = begun + int(left) if left else None
            with part.open("ab" if continued else "wb") as file:
                came = _copy(answer, file, begun, total, tell)
                file.flush()
                os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        # The range begins at the end: all of it is here.
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{begun}":
            return True
        if error.code == 416:
            tell(f"{part} has more bytes than the file there: it is none of it; removed")
            part.unlink()
            return False
        raise
    return total is None or came == total


def _first_byte(answer: http.client.HTTPResponse) -> int:
    """Where a partial answer begins: "bytes 100-199/200" gives 100."""
    words = (answer.headers.get("Content-Range") or "").replace("-", " ").split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else -1


def _copy(
    answer: http.client.HTTPResponse,
    file: IO[bytes],
    begun: int,
    total: int | None,
    tell: Callable[[str], None],
) -> int:
    """Returns: bytes that the file has then. Tells the rate and the time left now and then."""
    came, started = begun, time.monotonic()
    told = started
    while chunk := answer.read(CHUNK):
        file.write(chunk)
        came += len(chunk)
        now = time.monotonic()
        if now - told > 2:
            told, rate = now, (came - begun) / (now - started)
            left = f", {(total - came) / rate:.0f} s left" if total else ""
            tell(f"{came / 1e6:,.0f} MB, {rate / 1e6:.1f} MB/s{left}")
    return came
