"""What is around an evaluation: no network where there is none, and no noise on standard output."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
LOGGERS = ("lm_eval", "datasets", "huggingface_hub", "transformers", "fsspec")
HUB = "https://huggingface.co"
PATIENCE = 5  # seconds to wait for the hub


def need_harness() -> None:
    """Raises: ValueError where the library is not installed."""
    if find_spec("lm_eval") is None:
        raise ValueError(
            "tasks need EleutherAI's lm-evaluation-harness, which is not installed; type pip"
            " install 'linear-attention-zoo[eval]'. Without it, --tasks niah works, and lazoo lm"
            " tests its models in bits per byte and with probes"
        )


def settle(network: bool) -> bool:
    """Environment of this process, before the libraries read theirs. Returns: whether offline.

    network: whether anything is wanted from it. Where the hub does not answer, libraries are told,
    or they would try for a long time.
    """
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    offline = not network or not reachable()
    if offline:
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    return offline


def reachable() -> bool:
    """Whether the hub answers; behind a proxy that is left to the libraries to find out."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or HUB)
    port = hub.port or (80 if hub.scheme == "http" else 443)
    try:
        socket.create_connection((str(hub.hostname), port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Libraries print on standard error, log errors only, and warn nobody."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
