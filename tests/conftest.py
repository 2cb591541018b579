"""What every test starts from: one thread, known seeds, flushed denormals, no GPU needed."""

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import settings

# Triton reads this when a kernel is defined: without a GPU its interpreter runs them.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# One thread: a test then takes the same time beside a busy core. No deadline, for the same reason.
torch.set_num_threads(1)
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def start():
    """Seeds before every test; afterwards the switches that a run sets are as they were."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float32)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
