"""A training as named tensors and plain values, and back.

Tensors of which each process has a part are whole in what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from runners.clock import Clock
from runners.loop import Member, Outcome, Training
from runners.step import Step


def facts_of(training: Training) -> dict[str, Any]:
    (member,) = training.members
    return {"updates": training.updates, "outcome": asdict(member.outcome)}


def tensors_of(training: Training) -> dict[str, Tensor]:
    """What grows with the updates: losses since the last validation, and the clock."""
    (member,), timed = training.members, training.clock.timed()
    return {
        "losses": torch.tensor(member.losses, dtype=torch.float64),
        "clock.seconds": torch.tensor([seconds for seconds, *_ in timed], dtype=torch.float64),
        "clock.counts": torch.tensor([rest for _, *rest in timed], dtype=torch.int64),
    }


def training_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor], step: Step) -> Training:
    member = Member(0, Outcome(**facts["outcome"]), tensors["losses"].tolist())
    seconds, counts = tensors["clock.seconds"].tolist(), tensors["clock.counts"].tolist()
    timed = [(s, updates, tokens) for s, (updates, tokens) in zip(seconds, counts, strict=True)]
    return Training([member], Clock(step.warm_up, before=timed), facts["updates"])


def state_of(model: nn.Module, step: Step) -> dict[str, Tensor]:
    """<parameter>.<moment> -> tensor, of the optimiser; by names, since groups may be reordered."""
    state = step.optimisers[0].state
    return {
        f"{name}.{moment}": x
        for name, parameter in model.named_parameters()
        for moment, x in state.get(parameter, {}).items()
    }


def put_state(model: nn.Module, step: Step, stored: Mapping[str, Tensor]) -> None:
    """Before the first update, so that what is captured later reads these tensors."""
    for name, parameter in model.named_parameters():
        # A name may begin another one, as `a` and `a.b`; moments have no dot.
        own = {k: x for k, x in under(name, stored).items() if "." not in k}
        if own:
            placed = {k: like(parameter, x) for k, x in own.items()}
            step.optimisers[0].state[parameter] = placed


def load(model: nn.Module, stored: Mapping[str, Tensor]) -> None:
    """Puts whole tensors into a model, or its parts of them."""
    own = model.state_dict()
    placed = {k: like(own[k], x) if is_part(own[k]) else x for k, x in stored.items()}
    model.load_state_dict(placed)


def like(parameter: Tensor, x: Tensor) -> Tensor:
    """x on the parameter's device and, of the same shape, in its order in memory.

    Fused optimisers walk through both as one. Of a parameter that is a part, the same part.
    """
    if x.shape != parameter.shape:
        return x.to(parameter.device)
    if is_part(parameter):
        from torch.distributed.tensor import DTensor, distribute_tensor

        part, x = cast(DTensor, parameter), x.to(parameter.device)
        return distribute_tensor(x, part.device_mesh, part.placements, src_data_rank=None)
    return torch.empty_like(parameter, dtype=x.dtype).copy_(x)


def under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin with `name` and a dot, without that."""
    return {k.removeprefix(f"{name}."): x for k, x in tensors.items() if k.startswith(f"{name}.")}


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Any, ...]]:
    return {name: (x.shape, x.dtype) for name, x in tensors.items()}


def copied(tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
    """On the CPU, in memory of their own. keep: False only helps other processes to theirs."""
    copies = dict[str, Tensor]()
    for name, x in tensors.items():
        x = whole(x.detach())
        if keep:
            copies[name] = x.to("cpu", copy=True).contiguous()
    return copies


def is_part(x: Tensor) -> bool:
    """Whether each process has a part of it; without importing what such tensors are."""
    return hasattr(x, "full_tensor")


def whole(x: Tensor) -> Tensor:
    """Where it is a part, all processes call this."""
    return cast(Any, x).full_tensor() if is_part(x) else x
