"""A model divided among processes by FSDP2: each has a part of every parameter."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from runners.tensors import whole
from zoo.model import Model


class Shards:
    """model: whose parameters are divided; they are whole for one block at a time.

    The model that it is made of holds them all while it is evaluated, on each process, and none
    otherwise. That costs 4 bytes a parameter, beside the divided 16 of training.
    """

    def __init__(self, plain: Model, device: str, size: int) -> None:
        self.plain, self.model = plain, copy.deepcopy(plain)
        self.empty()
        self._mesh = init_device_mesh(device, (size,))
        for block in self.model.blocks:
            fully_shard(block, mesh=self._mesh)
            # Later than those of fully_shard: the first of all, and the last.
            block.register_forward_pre_hook(hide, prepend=True)
            block.register_forward_pre_hook(show)
            block.register_forward_hook(forget_state, prepend=True)

    def divide_rest(self, objective: nn.Module) -> nn.Module:
        """What is in no block: embedding, head, what blocks share. Call it once."""
        return cast(nn.Module, fully_shard(objective, mesh=self._mesh))

    @torch.no_grad()
    def fill(self) -> None:
        """The plain model gets all parameters. All processes call this."""
        for own, part in zip(self.plain.parameters(), self.model.parameters(), strict=True):
            own.data = whole(part.detach())
        for own, other in zip(self.plain.buffers(), self.model.buffers(), strict=True):
            own.copy_(other)

    def empty(self) -> None:
        """Gives the memory of the plain model's parameters back."""
        for parameter in self.plain.parameters():
            parameter.data = parameter.data.new_empty(0)


class Hidden:
    """What blocks hand to each other. A dict may be copied by fully_shard, which loses what a block
    puts into it.
    """

    def __init__(self, shared: Any) -> None:
        self.shared = shared


def hide(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    *others, shared = inputs
    return (*others, Hidden(shared))


def show(block: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    *others, hidden = inputs
    return (*others, cast(Hidden, hidden).shared)


def forget_state(
    block: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Any, dict[str, Any]]
) -> tuple[Any, dict[str, Any]]:
    """Decoding goes through the plain model; here the state would be one more way to a gradient."""
    return outputs[0], {}
