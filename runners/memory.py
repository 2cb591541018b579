"""Which errors are a lack of memory."""

from __future__ import annotations

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """torch has an exception type for its allocator on a GPU; others say so in words."""
    words = ("DefaultCPUAllocator", "not enough memory", "CUDA error: out of memory")
    words += ("ALLOC_FAILED",)  # cuBLAS and cuDNN
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        word in str(error) for word in words
    )
