"""Official parameter names -> ours for linear RNNs with one state per channel and their kin.

As in golden_maps.py; one sign is changed, where an untied input gate meets a tied official one.
"""

from collections.abc import Callable, Mapping

import torch
from einops import rearrange
from torch import Tensor

Parameters = Mapping[str, Tensor]


def hgru_real(p: Parameters) -> dict[str, Tensor]:
    official = {"f_v": "input_proj", "f_alpha.inner": "lambda_proj", "f_g": "gate"}
    official |= {"w_o": "out_proj"}
    return {f"{n}.{e}": p[f"{o}.{e}"] for n, o in official.items() for e in ("weight", "bias")}


def glru(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The official input gate is 1 - sigmoid(z) = sigmoid(-z), z the forget gate's."""
    own = {f"f_k.{end}": -p[f"lambda_proj.{end}"] for end in ("weight", "bias")}
    return hgru_real(p) | own


def glru_tied(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return hgru_real(p) | {f"norm.{end}": p[f"norm.{end}"] for end in ("weight", "bias")}


def hgrn2(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """in_proj holds v, q, and the forget gate."""
    ours = {"shared.gamma": p["lower_bounds"]}
    ends = [end for end in ("weight", "bias") if f"in_proj.{end}" in p]
    for end in ends:
        for name, rows in zip(("f_v", "f_q", "f_alpha.project"), p[f"in_proj.{end}"].chunk(3)):
            ours[f"{name}.{end}"] = rows
        ours[f"w_o.{end}"] = p[f"out_proj.{end}"]
    return ours


def hgrn2_standalone(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return hgrn2(p, sizes) | {f"norm.{end}": p[f"norm.{end}"] for end in ("weight", "bias")}


def hgrn2_fla(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_q.weight": p["q_proj.weight"],
        "f_alpha.project.weight": p["f_proj.weight"],
        "f_v.weight": p["i_proj.weight"],
        "norm.weight": p["g_norm.weight"],
        "w_o.weight": p["o_proj.weight"],
        "shared.gamma": p["lower_bounds"],
    }


def griffin(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "widen.project.weight": p["linear_x.weight"],
        "widen.project.bias": p["linear_x.bias"],
        "local.weight": rearrange(p["conv_1d.w"], "kernel d -> d kernel"),
        "local.bias": p["conv_1d.b"],
        "f_alpha.Lambda": p["rg_lru.a_param"],
        "f_alpha.gate.weight": p["rg_lru.a_gate.w"],
        "f_alpha.gate.bias": p["rg_lru.a_gate.b"].flatten(),
        "f_v.gate.weight": p["rg_lru.input_gate.w"],
        "f_v.gate.bias": p["rg_lru.input_gate.b"].flatten(),
        "f_g.weight": p["linear_y.weight"],
        "f_g.bias": p["linear_y.bias"],
        "w_o.weight": p["linear_out.weight"],
        "w_o.bias": p["linear_out.bias"],
    }


def lru(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Flax kernels are in x out; B's real and imaginary rows are pairs per state here."""
    ours = {f"f_alpha.{n}": p[f"seq.{n}"] for n in ("nu_log", "theta_log", "gamma_log")}
    b = [p["seq.B_re"], p["seq.B_im"]]
    ours["f_v.weight"] = rearrange(torch.stack(b), "part h d -> (h part) d")
    ours |= {"w_o.re": p["seq.C_re"], "w_o.im": p["seq.C_im"], "post.D": p["seq.D"]}
    for name in ("out1", "out2"):
        ours[f"post.{name}.weight"] = p[f"{name}.kernel"].T
        ours[f"post.{name}.bias"] = p[f"{name}.bias"]
    return ours


def trnn(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_v.weight": p["W"].T,
        "f_alpha.inner.weight": p["V"].T,
        "f_alpha.inner.bias": p["b"],
    }


def rwkv6(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    official = {"f_q": "receptance", "f_k": "key", "f_v": "value", "f_g": "gate"}
    ours = {f"{n}.inner.weight": p[f"{o}.weight"] for n, o in official.items()}
    return ours | {
        "local.mu_x": p["time_maa_x"].flatten(),
        "local.mu": torch.stack([p[f"time_maa_{i}"].flatten() for i in "wkvrg"]),
        "local.down": p["time_maa_w1"].T,
        "local.up": p["time_maa_w2"],
        "f_alpha.inner.w": p["time_decay"].flatten(),
        "f_alpha.inner.down": p["time_decay_w1"].T,
        "f_alpha.inner.up": p["time_decay_w2"].T,
        "now.u": p["time_faaaa"],
        "norm.weight": p["ln_x.weight"],
        "norm.bias": p["ln_x.bias"],
        "w_o.weight": p["output.weight"],
    }


MAPS: dict[str, Callable[[Parameters, Mapping[str, int]], dict[str, Tensor]]] = {
    "glru": glru,
    "glru:tied": glru_tied,
    "griffin": griffin,
    "griffin:dense": griffin,
    "hgrn2": hgrn2,
    "hgrn2:fla": hgrn2_fla,
    "hgrn2:standalone": hgrn2_standalone,
    "lru": lru,
    "rwkv6": rwkv6,
    "trnn": trnn,
}
