"""Official parameter names -> ours for the delta-rule family (see golden_maps.py)."""

from collections.abc import Callable, Mapping

from einops import rearrange
from torch import Tensor

Parameters = Mapping[str, Tensor]


def convolved(p: Parameters) -> dict[str, Tensor]:
    """q, k and v with a convolution each, and the strength of writing, as all of fla's layers."""
    ours = {"f_k.beta.weight": p["b_proj.weight"], "w_o.weight": p["o_proj.weight"]}
    names = {"q": "f_q.inner", "k": "f_k.key.inner", "v": "f_v"}
    for c, name in names.items():
        ours[f"{name}.inner.weight"] = p[f"{c}_proj.weight"]
        ours[f"{name}.weight"] = rearrange(p[f"{c}_conv1d.weight"], "d 1 kernel -> d kernel")
    return ours


def delta_net(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return convolved(p) | {"norm.weight": p["o_norm.weight"]}


def delta_net_gated(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return delta_net(p, sizes) | {"f_g.weight": p["g_proj.weight"]}


def delta_net_negative(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return doubled(delta_net(p, sizes))


def doubled(ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """beta in (0, 2): its projection is one module further in."""
    beta = ours.pop("f_k.beta.weight")
    return ours | {"f_k.beta.inner.weight": beta}


def gated_delta_net(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return delta_net_gated(p, sizes) | {
        "f_alpha.inner.weight": p["a_proj.weight"],
        "f_alpha.bias": rearrange(p["dt_bias"], "h -> h 1"),
        "f_alpha.A_log": p["A_log"],
    }


def gated_delta_net_negative(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return doubled(gated_delta_net(p, sizes))


def gated_delta_net_biased(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return convolved(p) | {
        "f_k.beta.bias": p["b_proj.bias"],
        "f_alpha.inner.weight": p["gk_proj.weight"],
        "f_alpha.bias": rearrange(p["dt_bias"], "h -> h 1"),
        "f_alpha.A_log": p["A_log"],
        "f_g.weight": p["g_proj.weight"],
        "norm.weight": p["g_norm_swish_gate.weight"],
    }


def kda(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return delta_net(p, sizes) | {
        "f_alpha.inner.down": p["f_proj.0.weight"],
        "f_alpha.inner.up": p["f_proj.1.weight"],
        "f_alpha.bias": rearrange(p["dt_bias"], "(h k) -> h k", h=sizes["heads"]),
        "f_alpha.A_log": p["A_log"],
        "f_g.down": p["g_proj.0.weight"],
        "f_g.up": p["g_proj.1.weight"],
        "f_g.bias": p["g_proj.1.bias"],
    }


def kda_negative(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return doubled(kda(p, sizes))


def rwkv7(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Low-rank matrices are stored for x @ W; v_first is no parameter, but enters like one."""
    projections = {
        "f_q": ("r", "receptance.weight", "inner.weight"),
        "f_k.raw": ("k", "key.weight", "inner.weight"),
        "f_v": ("v", "value.weight", "inner.own.weight"),
    }
    low_ranks = {
        "f_alpha.inner": ("w", "inner"),
        "f_k.strength": ("a", "inner"),
        "f_g": ("g", "inner"),
        "f_v": ("v", "inner.share"),
    }
    ours = {"w_o.weight": p["output.weight"], "now.r_k": p["r_k"]}
    for end in ("weight", "bias"):
        ours[f"norm.{end}"] = p[f"ln_x.{end}"]
    for name in ("k_k", "k_a"):
        ours[f"f_k.{name}"] = rearrange(p[name], "1 1 (h k) -> h k", h=sizes["heads"])
    for ours_name, (letter, theirs, inner) in projections.items():
        ours[f"{ours_name}.mu"] = p[f"x_{letter}"].flatten()
        ours[f"{ours_name}.{inner}"] = p[theirs]
    for ours_name, (letter, inner) in low_ranks.items():
        if f"{letter}1" in p:
            ours[f"{ours_name}.mu"] = p[f"x_{letter}"].flatten()
            ours[f"{ours_name}.{inner}.down"] = p[f"{letter}1"].T
            ours[f"{ours_name}.{inner}.up"] = p[f"{letter}2"].T
        if f"{letter}0" in p:
            ours[f"{ours_name}.{inner}.bias"] = p[f"{letter}0"].flatten()
    if "v_first" in p:
        ours["shared.v_first"] = rearrange(p["v_first"], "b t (h v) -> b t h v", h=sizes["heads"])
    return ours


MAPS: dict[str, Callable[[Parameters, Mapping[str, int]], dict[str, Tensor]]] = {
    "delta_net": delta_net,
    "delta_net:gated": delta_net_gated,
    "delta_net:negative": delta_net_negative,
    "gated_delta_net": gated_delta_net,
    "gated_delta_net:biased": gated_delta_net_biased,
    "gated_delta_net:negative": gated_delta_net_negative,
    "kda": kda,
    "kda:bounded": kda,
    "kda:negative": kda_negative,
    "rwkv7": rwkv7,
    "rwkv7:simplified": rwkv7,
}
