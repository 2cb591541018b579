"""Official parameter names -> ours, a small function per golden file. Indexing, no arithmetic.

Each takes the official parameters by their official names and the file's sizes, and returns ours by
the names of Mixer.named_parameters(); "shared." marks what all layers share. Because the functions
are differentiable, gradients come back under the official names.
"""

from collections.abc import Callable, Mapping

from einops import rearrange
from torch import Tensor

Parameters = Mapping[str, Tensor]


def attention(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {f"f_{c}.weight": p[f"{c}_proj.weight"] for c in "qkv"}
    return ours | {"w_o.weight": p["o_proj.weight"]}


def attention_biased(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {}
    for end in ("weight", "bias"):
        for name, rows in zip(("f_q", "f_k", "f_v"), p[f"Wqkv.{end}"].chunk(3)):
            ours[f"{name}.{end}"] = rows
        ours[f"w_o.{end}"] = p[f"out_proj.{end}"]
    return ours


def based(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_q.inner.weight": p["proj_q.weight"],
        "f_k.inner.weight": p["proj_k.weight"],
        "f_v.weight": p["proj_v.weight"],
        "w_o.weight": p["out_proj.weight"],
    }


def gla(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {f"f_{c}.weight": p[f"{c}_proj.weight"] for c in "qkvg"}
    return ours | {
        "f_alpha.inner.down": p["gk_proj.0.weight"],
        "f_alpha.inner.up": p["gk_proj.1.weight"],
        "f_alpha.inner.bias": p["gk_proj.1.bias"],
        "norm.weight": p["g_norm_swish_gate.weight"],
        "w_o.weight": p["o_proj.weight"],
    }


def gla_original(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {f"f_{c}.weight": p[f"{c}_proj.weight"] for c in "qkvg"}
    return ours | {
        "f_g.bias": p["g_proj.bias"],
        "f_alpha.inner.down": p["k_gate.0.weight"],
        "f_alpha.inner.up": p["k_gate.1.weight"],
        "f_alpha.inner.bias": p["k_gate.1.bias"],
        "w_o.weight": p["out_proj.weight"],
    }


def hgrn(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Official features are all real parts, then all imaginary ones; ours are pairs per channel."""
    paired = "(part h) ... -> (h part) ..."
    return {
        "f_v.weight": p["input_proj.weight"],
        "f_v.bias": p["input_proj.bias"],
        "f_alpha.project.weight": p["lambda_proj.weight"],
        "f_alpha.project.bias": p["lambda_proj.bias"],
        "f_alpha.theta": p["theta"].flatten(),
        "f_g.weight": rearrange(p["gate.weight"], paired, part=2),
        "f_g.bias": rearrange(p["gate.bias"], paired, part=2),
        "norm.weight": rearrange(p["norm.weight"], paired, part=2),
        "norm.bias": rearrange(p["norm.bias"], paired, part=2),
        "w_o.weight": rearrange(p["out_proj.weight"], "d (part h) -> d (h part)", part=2),
        "w_o.bias": p["out_proj.bias"],
        "shared.gamma": p["lower_bounds"],
    }


def hgrn_real(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_v.weight": p["i_proj.weight"],
        "f_alpha.project.weight": p["f_proj.weight"],
        "f_g.weight": p["g_proj.weight"],
        "norm.weight": p["g_norm.weight"],
        "w_o.weight": p["o_proj.weight"],
        "shared.gamma": p["lower_bounds"],
    }


def linformer(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    official = {"f_q": "query", "f_k": "key", "f_v": "value", "w_o": "out"}
    return {
        f"{name}.{end}": p[f"{theirs}_projection.{end}"]
        for name, theirs in official.items()
        for end in ("weight", "bias")
    }


def mamba(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """in_proj holds u, then the gate; x_proj holds the step's low rank, then B = k, then C = q."""
    u, gate = p["in_proj.weight"].chunk(2)
    states = p["A_log"].shape[1]
    rank = p["x_proj.weight"].shape[0] - 2 * states
    step, k, q = p["x_proj.weight"].split([rank, states, states])
    return {
        "widen.project.weight": u,
        "local.weight": rearrange(p["conv1d.weight"], "d 1 kernel -> d kernel"),
        "local.bias": p["conv1d.bias"],
        "f_alpha.down": step,
        "f_alpha.up": p["dt_proj.weight"],
        "f_alpha.bias": p["dt_proj.bias"],
        "f_alpha.A_log": p["A_log"],
        "f_q.weight": q,
        "f_k.weight": k,
        "now.weight": p["D"],
        "f_g.weight": gate,
        "w_o.weight": p["out_proj.weight"],
    }


def metala(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "local.weight": rearrange(p["conv1d.weight"], "d 1 kernel -> d kernel"),
        "f_q.weight": p["q_proj.weight"],
        "f_alpha.inner.weight": p["k_gate.weight"],
        "f_v.weight": p["v_proj.weight"],
        "now.weight": rearrange(p["aug_balance"], "(h k) -> h k", h=sizes["heads"]),
        "f_g.weight": p["g_proj.weight"],
        "f_g.bias": p["g_proj.bias"],
        "w_o.weight": p["out_proj.weight"],
    }


def rwkv4(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_alpha.w": p["time_decay"],
        "bonus.u": p["time_first"],
        "f_k.inner.mu": p["time_mix_k"].flatten(),
        "f_v.mu": p["time_mix_v"].flatten(),
        "f_g.mu": p["time_mix_r"].flatten(),
        "f_k.inner.inner.weight": p["key.weight"],
        "f_v.inner.weight": p["value.weight"],
        "f_g.inner.weight": p["receptance.weight"],
        "w_o.weight": p["output.weight"],
    }


# Model or model:variant -> its map. The golden file has the same name with a dot for the colon.
MAPS: dict[str, Callable[[Parameters, Mapping[str, int]], dict[str, Tensor]]] = {
    "attention": attention,
    "attention:biased": attention_biased,
    "based": based,
    "gla": gla,
    "gla:original": gla_original,
    "hgrn": hgrn,
    "hgrn:real": hgrn_real,
    "linformer": linformer,
    "mamba": mamba,
    "metala": metala,
    "rwkv4": rwkv4,
}
