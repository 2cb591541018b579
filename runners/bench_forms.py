"""Ways to compute one scan: the operator by each backend, what one writes first, and peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from runners import bench_peers as peers
from runners.bench_shapes import Shape, Tensors
from zoo.scan import choose, explain, scan
from zoo.scan.case import Case
from zoo.scan.turning import multiplied
from zoo.spec import Decay, Erase

Form = Callable[[Tensors], Tensor]
# Backends that are timed only where they are asked for: a map of b t t h k numbers, and an adapter
# that scans two tokens for each (mamba-ssm's scan is timed in its own terms).
UNASKED = ("parallel", "mamba_ssm")


def as_it_is(x: Tensors) -> Tensors:
    return x


@dataclass(frozen=True)
class Named:
    """A form to time. backend: of the scan operator; "" where it is not ours. layout: puts inputs,
    or v alone, into the form's own shapes, which is not timed.
    """

    name: str
    backend: str
    run: Form
    layout: Callable[[Tensors], Tensors] = as_it_is


def forms_of(
    shape: Shape,
    x: Tensors,
    backends: Sequence[str] = (),
    loops: bool = True,
    graph: bool = False,
) -> list[Named]:
    """The backend that "auto" takes first; then other backends, plain loops and peers.

    backends: names, or none: on a CPU no others, on a GPU all that can run but for UNASKED. loops:
    the plain ones, and what installed peers have beside the adapters (bench_peers). graph: nothing
    that launches kernels for every token, because a CUDA graph of it would hold tens of thousands.
    Raises: ValueError for a backend that refuses, with every backend's reason.
    """
    q, k, v, decay, erase = arguments(x)
    names = [choose(q, k, v, decay, erase=erase)]
    for name in backends:
        names.append(choose(q, k, v, decay, erase=erase, backend=name))
    if not backends and v.is_cuda:
        reasons = explain(Case(q, k, v, decay, erase))
        without = (*UNASKED, "loop") if graph else UNASKED
        names += [name for name, reason in reasons.items() if not reason and name not in without]
    forms = [Named(name, name, partial(operator, backend=name)) for name in dict.fromkeys(names)]
    if not loops:
        return forms
    if not graph:
        forms.append(Named("loop, unbind", "", partial(plain_loop, indexing=False)))
        forms.append(Named("loop, indexing", "", partial(plain_loop, indexing=True)))
    if peers.mambapy_fits(shape, v.device):
        forms.append(Named("mambapy", "", peers.mambapy_scan))
    if peers.mamba_ssm_fits(shape, v.device):
        forms.append(Named("mamba-ssm", "", peers.mamba_ssm_scan, peers.mamba_ssm_layout))
    if peers.chunk_hgrn_fits(shape, v.device):
        forms.append(Named("fla, chunk_hgrn", "", peers.chunk_hgrn_scan, peers.chunk_hgrn_layout))
    return forms


def arguments(x: Tensors) -> tuple[Tensor, Tensor | None, Tensor, Decay, Erase | None]:
    """q, k, v, decay and erase of scan()."""
    erase = Erase(x["write"], x["read"]) if "write" in x else None
    return x["q"], x.get("k"), x["v"], decay_of(x), erase


def decay_of(x: Tensors) -> Decay:
    return Decay(x.get("step"), x.get("rate"), x.get("angle"))


def operator(x: Tensors, backend: str = "auto") -> Tensor:
    """As a layer calls it: without the look for values that are not finite."""
    q, k, v, decay, erase = arguments(x)
    return scan(q, k, v, decay, erase=erase, backend=backend, trusted=True)[0]


def plain_loop(x: Tensors, indexing: bool) -> Tensor:
    """What one writes first: all alphas at once, then a loop over y[:, t] or over y.unbind(1)."""
    x = {name: y.to(torch.promote_types(y.dtype, torch.float32)) for name, y in x.items()}
    v, log = x["v"], decay_of(x).log()
    b, t, h, d_v = v.shape
    d_k = x["q"].shape[3]
    alpha = v.new_ones(()) if log is None else log.exp()
    rows = {name: x[name] for name in ("q", "k", "write", "read") if name in x}
    rows.setdefault("k", 1 - alpha)
    rows = {name: y.expand(b, t, -1, d_k) for name, y in rows.items()}
    rows |= {"v": v, "alpha": alpha.expand(b, t, h, d_k)}
    each = {} if indexing else {name: y.unbind(1) for name, y in rows.items()}
    if "angle" in x:  # a complex state: key channels are [real | imaginary]
        cos, sin = x["angle"].cos().unsqueeze(-1), x["angle"].sin().unsqueeze(-1)  # h n 1
        sign = torch.cat([v.new_ones(d_k // 2), -v.new_ones(d_k // 2)])
    S, o = v.new_zeros(b, h, d_k, d_v), []
    for i in range(t):
        y = {name: rows[name][:, i] if indexing else each[name][i] for name in rows}
        past, q_t = S, y["q"]
        S = y["alpha"].unsqueeze(-1) * S  # b h k v
        if "angle" in x:
            S = torch.cat(multiplied(S.mT, cos.mT, sin.mT), dim=-1).mT
            q_t = q_t * sign
        if "write" in y:
            S = S - y["write"].unsqueeze(-1) * (y["read"].unsqueeze(-2) @ past)
        S = S + y["k"].unsqueeze(-1) * y["v"].unsqueeze(-2)
        o.append((q_t.unsqueeze(-2) @ S).squeeze(-2))
    return torch.stack(o, dim=1)
