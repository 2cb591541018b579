"""Official parameter names -> ours (see golden_maps.py): RetNet and the linear transformers that
turn their state, TransNormer, Mamba-2."""

from collections.abc import Mapping

from einops import rearrange
from torch import Tensor

from tests.golden_maps import Parameters

# Official key channels of a head are pairs (re, im); ours are all real parts, then all imaginary.
HALVES = "(h n part) ... -> (h part n) ..."


def cosformer(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {"f_q.inner": "q_proj", "f_k.inner": "k_proj", "f_v": "v_proj", "w_o": "out_proj"}
    return {f"{n}.{end}": p[f"{of}.{end}"] for n, of in ours.items() for end in ("weight", "bias")}


def mamba2(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """in_proj holds the gate, then what the convolution mixes (x, B = k, C = q), then the step."""
    inner, mixed, heads = (len(p[n]) for n in ("norm.weight", "conv1d.bias", "dt_bias"))
    gate, u, step = p["in_proj.weight"].split([inner, mixed, heads])
    return {
        "widen.project.weight": u,
        "local.weight": rearrange(p["conv1d.weight"], "d 1 kernel -> d kernel"),
        "local.bias": p["conv1d.bias"],
        "f_alpha.weight": step,
        "f_alpha.bias": p["dt_bias"],
        "f_alpha.A_log": p["A_log"],
        "now.weight": p["D"],
        "f_g.weight": gate,
        "norm.weight": p["norm.weight"],
        "w_o.weight": p["out_proj.weight"],
    }


def retnet(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    q, k = (rearrange(p[f"{c}_proj.weight"], HALVES, h=sizes["heads"], part=2) for c in "qk")
    ours = {f"f_{c}.weight": p[f"{c}_proj.weight"] for c in "vg"}
    return ours | {
        "f_q.inner.weight": q,
        "f_k.inner.weight": k,
        "w_o.weight": p["out_proj.weight"],
    }


def transnormer(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {"f_q": "q_proj", "f_k": "k_proj", "f_v": "v_proj", "w_o": "out_proj"}
    return {f"{n}.{end}": p[f"{of}.{end}"] for n, of in ours.items() for end in ("weight", "bias")}


def transnormer_lrpe(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = transnormer(p, sizes)
    for end in ("weight", "bias"):
        q, k = (rearrange(ours.pop(f"f_{c}.{end}"), HALVES, h=sizes["heads"], part=2) for c in "qk")
        ours |= {f"f_q.{end}": q, f"f_k.inner.{end}": k}
    return ours


def transnormerllm(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = transnormerllm_decay(p, sizes)
    return ours | {
        "f_q.inner.weight": ours.pop("f_q.weight"),
        "f_k.inner.weight": ours.pop("f_k.weight"),
        "f_alpha.theta": rearrange(p["lrpe.theta"], "h 1 n -> h n"),
    }


def transnormerllm_decay(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {f"f_{c}.weight": w for c, w in zip("qkvg", p["qkvu_proj.weight"].chunk(4), strict=True)}
    return ours | {"w_o.weight": p["out_proj.weight"]}


MAPS = {
    "cosformer": cosformer,
    "cosformer:fixed": cosformer,
    "mamba2": mamba2,
    "mamba2:state64": mamba2,
    "retnet": retnet,
    "retnet:narrow": retnet,
    "transnormer": transnormer,
    "transnormer:diag": transnormer,
    "transnormer:lrpe": transnormer_lrpe,
    "transnormerllm": transnormerllm,
    "transnormerllm:decay": transnormerllm_decay,
    "transnormerllm:lrpe": transnormerllm,
}
