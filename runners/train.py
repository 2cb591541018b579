"""One update, shared by every task: AdamW, learning-rate schedules, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from runners.base import Run
from runners.parts import Batch, Parts
from zoo.mixer import Mixer
from zoo.model import decay_groups

Loss = Callable[[Any, Batch], Tensor]


def step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    loss: Loss,
    config: Run,
    rate: float,
    parts: Parts | None = None,
) -> tuple[float, float]:
    """One update; the parameters stay as they are when the loss or the gradient is not finite.

    parts: in how many pieces the gradients are made; None for one.
    Returns: the loss in nats, and the gradient norm before clipping (0 when nothing is clipped).
    """

    device, bf16 = batch[0].device.type, config.precision == "bf16"

    def forward(part: Batch) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            return loss(model, part)

    def backward(value: Tensor, add: bool) -> None:
        if not add:
            optimiser.zero_grad()
        value.backward()

    value = (parts or Parts()).gradients(batch, forward, backward)
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = value.new_zeros(())
    if config.clip:
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    # One transfer for both, so that a GPU is waited for once a step.
    seen, length = torch.stack([value.float(), norm.float()]).tolist()
    if not_finite(seen, length):
        return seen, length
    if config.clip and length > config.clip:
        nn.utils.clip_grads_with_norm_(parameters, config.clip, norm)
    for group in optimiser.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)
    optimiser.step()
    return seen, length


def not_finite(loss: float, norm: float) -> str:
    """Which of the two is not, with its value; empty when both are finite."""
    if math.isfinite(loss):
        return "" if math.isfinite(norm) else f"gradient norm {norm}"
    return f"loss {loss}"


def make_optimiser(model: nn.Module, config: Run) -> torch.optim.Optimizer:
    """AdamW, eps 1e-8, betas 0.9 and 0.999 or the config's own beta2.

    Fused: on small models a quarter of foreach's time. With a state_lr the parameters that the maps
    of mixers list in `no_decay` are a group of their own, whose `lr_factor` scales the rate.
    """
    decayed, undecayed = decay_groups(model)
    kept = config.weight_decay if config.decay_all else 0.0
    state_lr = getattr(config, "state_lr", 0.0)
    listed = {id(p) for p in of_maps(model)} if state_lr else set[int]()
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": [p for p in undecayed if id(p) not in listed], "weight_decay": kept},
        {
            "params": [p for p in undecayed if id(p) in listed],
            "weight_decay": kept,
            "lr_factor": state_lr / config.lr,
        },
    ]
    betas = (0.9, getattr(config, "beta2", 0.999))
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)


def of_maps(model: nn.Module) -> list[nn.Parameter]:
    """What the maps of a model's mixers list in `no_decay`: decays, step sizes and the like."""
    mixers = [module for module in model.modules() if isinstance(module, Mixer)]
    maps = [module for mixer in mixers for module in mixer.modules()]
    return [
        parameter
        for module in maps
        for name, parameter in module.named_parameters(recurse=False)
        if name in getattr(module, "no_decay", ())
    ]


def learning_rate(config: Run, done: int, epoch_updates: int) -> float:
    """The rate of the next update. done: updates made so far.

    Cosines end at 0, or at the config's lr_end of the peak, and stay there. wsd (warm-up, stable,
    decay; Hu et al. 2024, arXiv 2404.06395) is constant until its last updates, a decay_share of
    all, in which it falls along a straight line to lr_end. rsqrt is lr min(1, update / warmup) /
    sqrt(max(update, warmup)) as in the Long Range Arena's code, but for the count: updates are
    counted from 1, not from 0, where the first one would have rate 0.
    """
    schedule = str(config.schedule)
    if schedule == "rsqrt":
        update = done + 1
        rising = min(1.0, update / config.warmup) if config.warmup else 1.0
        return config.lr * rising / math.sqrt(max(update, config.warmup))
    if done < config.warmup:
        return config.lr * (done + 1) / config.warmup
    if schedule == "constant":
        return config.lr
    end = getattr(config, "lr_end", 0.0)
    if schedule == "wsd":
        falling = max(1, round(config.updates * getattr(config, "decay_share", 0.0)))
        part = (done + 1 - (config.updates - falling)) / falling
        return config.lr * (1 - (1 - end) * min(max(part, 0.0), 1.0))
    if schedule == "cosine-epoch":
        epochs = math.ceil(config.updates / epoch_updates)
        part = (done // epoch_updates) / epochs
    else:
        part = (done - config.warmup) / (config.updates - config.warmup)
    share = 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
    return config.lr * (end + (1 - end) * share)
