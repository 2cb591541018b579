"""Which errors are a lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """torch has an exception type for its allocator on a GPU; others say so in words."""
    words = ("DefaultCPUAllocator", "not enough memory", "CUDA error: out of memory")
    words += ("ALLOC_FAILED",)  # cuBLAS and cuDNN
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        word in str(error) for word in words
    )


@contextmanager
def lack_of_memory() -> Iterator[list[str]]:
    """Ends what is within when memory lacks. Yields a list that then holds what the error said.

    Only what comes after the whole `with` has left the traceback, which keeps tensors alive.
    """
    said: list[str] = []
    try:
        yield said
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said.append(str(error).splitlines()[0] if str(error) else "out of memory")
