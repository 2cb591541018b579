"""Scans of other libraries in their own terms and layouts, beside which ours are timed."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from runners.bench_shapes import Shape, Tensors
from zoo.scan import peers
from zoo.spec import Decay


def mambapy_fits(shape: Shape, device: torch.device) -> bool:
    scans = shape.d_v == 1 and shape.kind in ("head", "ssm") and not shape.tied
    return scans and device.type == "cpu" and importlib.util.find_spec("mambapy") is not None


def mambapy_scan(x: Tensors) -> Tensor:
    """The same by mambapy's parallel scan, which wants every alpha and k v as b t h k."""
    from mambapy.pscan import pscan  # pyright: ignore[reportMissingImports]

    log = Decay(x.get("step"), x.get("rate")).log()
    assert log is not None
    states = pscan(log.exp(), x["k"] * x["v"])  # b t h k
    return (states * x["q"]).sum(-1, keepdim=True)


def mamba_ssm_fits(shape: Shape, device: torch.device) -> bool:
    """Whether mamba-ssm is here with its CUDA kernel, which a build can leave out."""
    found = (importlib.util.find_spec(name) for name in ("mamba_ssm", "selective_scan_cuda"))
    return shape.kind == "ssm" and not shape.tied and device.type == "cuda" and all(found)


def mamba_ssm_layout(x: Tensors) -> Tensors:
    """Time last, as its model hands it over, and the step in the dtype of v. v: b h t; step: b h t;
    q, k: b n t; rate: h n."""
    one = {"v": 3, "step": 3, "q": 2, "k": 2}  # the axis of length 1
    turned = {name: x[name].detach().squeeze(axis).mT for name, axis in one.items() if name in x}
    turned = {name: y.to(x["v"].dtype).contiguous() for name, y in turned.items()}
    turned |= {name: x[name].detach().clone() for name in x if name == "rate"}
    return {name: y.requires_grad_() for name, y in turned.items()}


def mamba_ssm_scan(x: Tensors) -> Tensor:
    """Its selective scan, which forms step x v itself where ours is handed the product. b h t."""
    scan = peers.function("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn")
    keys, queries = (x[name].unsqueeze(1) for name in "kq")  # b 1 n t, one group for all channels
    return scan(x["v"], x["step"], -x["rate"], keys, queries)


def chunk_hgrn_fits(shape: Shape, device: torch.device) -> bool:
    """Whether flash-linear-attention is here and the scan is what its chunked HGRN kernel does."""
    vector = shape.kind == "head" and shape.d_k == shape.d_v == 1 and not shape.erases
    return vector and device.type == "cuda" and importlib.util.find_spec("fla") is not None


def chunk_hgrn_layout(x: Tensors) -> Tensors:
    """v: b t d, what is added to the state; step: b t d."""
    kept = {name: x[name].detach().squeeze(3).contiguous() for name in ("v", "step")}
    return {name: y.requires_grad_() for name, y in kept.items()}


def chunk_hgrn_scan(x: Tensors) -> Tensor:
    """h_t = exp(-step_t) h_{t-1} + v_t: handed k v, which ours forms, and read by no q. b t d."""
    return peers.function("fla.ops.hgrn", "chunk_hgrn")(x["v"], -x["step"])[0]
