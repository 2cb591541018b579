"""A training step that is captured once as a CUDA graph and then replayed: one launch an update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch

from runners.device_step import DeviceStep
from runners.memory import is_out_of_memory
from runners.step import WARM_UP_STEPS, Trained
from runners.train import Batch

Work = Callable[[], None]


class Graphs(Protocol):
    """What captures work and replays it."""

    def eagerly(self, work: Work) -> None:
        """Does the work now, where a capture would do it, so that a capture finds all made."""
        ...

    def capture(self, work: Work) -> Work:
        """Records the work without doing it. Returns: does it again, on the same tensors."""
        ...

    def forget(self) -> None:
        """Nothing captured so far will be replayed."""
        ...


@dataclass
class Shape:
    """Batches of one shape: how many updates went ahead, then buffers and the captured update."""

    eager: int = 0
    buffers: Batch = ()
    replay: Work | None = None


class GraphStep(DeviceStep):
    """Every shape of batch has a graph of its own, captured after a few updates that also count."""

    def __init__(
        self,
        trained: Trained,
        configs: Sequence[Any],
        *,
        device: torch.device,
        epoch: int = 1,
        form: str = "cuda graph",
        graphs: Graphs | None = None,
    ) -> None:
        self.graphs = graphs or CudaGraphs(device)
        super().__init__(trained, configs, device=device, epoch=epoch, form=form)
        # The update that captures is slow, too.
        self.warm_up = WARM_UP_STEPS + 1

    def work_for(self, trained: Trained, numbers: Sequence[int]) -> None:
        # Captured updates are of the models that they were captured with.
        self.shapes: dict[object, Shape] = {}
        self.graphs.forget()
        super().work_for(trained, numbers)

    def run(self, batch: Batch) -> None:
        shape = self.shapes.setdefault(tuple((x.shape, x.dtype) for x in batch), Shape())
        if shape.eager < WARM_UP_STEPS:
            shape.eager += 1
            self.graphs.eagerly(partial(self.update, batch))
            return
        if shape.replay is None:
            shape.buffers = tuple(torch.empty_like(x) for x in batch)
            shape.replay = self.captured(partial(self.update, shape.buffers))
        for x, buffer in zip(batch, shape.buffers, strict=True):
            buffer.copy_(x)
        shape.replay()

    def captured(self, work: Work) -> Work:
        groups = [group for o in self.optimisers for group in o.param_groups]
        try:
            # AdamW asks for the flag in a capture, and warns of it outside; fused, it does the same
            # with and without.
            for group in groups:
                group["capturable"] = True
            return self.graphs.capture(work)
        except RuntimeError as error:
            found = causes(error)
            for cause in found:
                if is_out_of_memory(cause):
                    raise cause from error
            name, reason = getattr(self.config, "model", ""), f"{found[-1]}".partition("\n")[0]
            raise RuntimeError(
                f"the training step of {name} cannot be captured as a CUDA graph: {reason};"
                " type --no-graph"
            ) from error
        finally:
            for group in groups:
                group["capturable"] = False


def causes(error: BaseException) -> list[BaseException]:
    """The error and what came before it: the end of a failed capture hides the first error."""
    found = [error]
    while (before := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(before)
    return found


class CudaGraphs:
    """Eager work and captures share a stream, and all graphs a pool of memory.

    The pool may be shared because a graph reads nothing that another has left in it: parameters,
    optimiser state and losses were allocated before.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.forget()

    def forget(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def eagerly(self, work: Work) -> None:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            work()
        current.wait_stream(self.stream)

    def capture(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            work()
        return graph.replay
