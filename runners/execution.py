"""How a run is executed: what changes its speed and rounding, not what it computes.

It is no part of a run's key; the row says it in `stacked` and `step_form`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Execution:
    """stack: at most so many runs that differ in lr and seed alone train as one batched model.
    graph: on a GPU, a training step is captured once as a CUDA graph and replayed.
    compile: the model goes through torch.compile.
    data: folder of the data sets that are read from disk. checkpoint_minutes: between two
    checkpoints of a run, for tasks that have them. checkpoints: their folder, named by the sweep;
    empty for none. models: folder of trained models, likewise, for tasks that keep them.
    """

    stack: int = 1
    graph: bool = True
    compile: bool = False
    data: str = "data"
    checkpoint_minutes: float = 10.0
    checkpoints: str = ""
    models: str = ""
