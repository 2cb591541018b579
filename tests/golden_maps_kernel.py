"""Official parameter names -> ours for models that approximate softmax (see golden_maps.py)."""

from collections.abc import Callable, Mapping

from einops import rearrange
from torch import Tensor

Parameters = Mapping[str, Tensor]


def named(p: Parameters, names: Mapping[str, str]) -> dict[str, Tensor]:
    """ours -> theirs, weight and bias."""
    ends = ("weight", "bias")
    return {f"{o}.{e}": p[f"{t}.{e}"] for o, t in names.items() for e in ends if f"{t}.{e}" in p}


def performer(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    official = {"f_q.inner": "to_q", "f_k.inner": "to_k", "f_v": "to_v", "w_o": "to_out"}
    return named(p, official) | {"f_k.rows": p["fast_attention.projection_matrix"]}


def rfa(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    official = {"f_q.inner": "q_proj", "f_k.inner": "k_proj", "f_v": "v_proj", "w_o": "out_proj"}
    official["f_alpha.inner"] = "g_proj"
    ours = named(p, official) | {"f_k.sigma": p["sigma"]}
    return ours | ({"f_k.rows": p["random_matrices"]} if "random_matrices" in p else {})


def zeros(p: Parameters, sizes: Mapping[str, int], gates: int = 2) -> dict[str, Tensor]:
    """The official gates are g1, gh, g0 for every head; g0 is there and not read."""
    official = {"f_q.inner": "q", "f_k.inner": "k", "f_v": "v", "w_o": "out_proj"}
    ours = named(p, official | {"f_alpha.inner": "u"})
    for end in ("weight", "bias"):
        gate = rearrange(p[f"gate.{end}"], "(h n) ... -> h n ...", n=3)
        ours[f"f_q.gate.{end}"] = gate[:, :gates].flatten(0, 1)
    return ours | {
        "f_alpha.mu": p["prior_mu"][0, 0],
        "f_alpha.log_tau": p["prior_log_tau"][0, 0],
    }


def zeros_first(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The first layer with the zeroth order, which reads g0."""
    return zeros(p, sizes, gates=3)


def inline(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """kv holds k, then v. Of a channel's 3 x 3 kernel 4 is the token's tap, 3 its predecessor's."""
    h = sizes["heads"]
    ours = named(p, {"f_q.inner": "q", "w_o": "proj"})
    for end in ("weight", "bias"):
        ours[f"f_k.inner.{end}"], ours[f"f_v.{end}"] = p[f"kv.{end}"].chunk(2)
    taps = {
        "now.outer": rearrange(p["residual.2.weight"], "(h v n) e 1 -> h n v e", h=h, n=9),
        "now.bias": rearrange(p["residual.2.bias"], "(h v n) -> h n v", h=h, n=9),
    }
    return ours | {
        "now.inner": rearrange(p["residual.0.weight"], "(h e) v 1 -> h e v", h=h),
        "now.inner_bias": rearrange(p["residual.0.bias"], "(h e) -> h e", h=h),
        **{name: y[:, [4, 3]].flatten(1, 2) for name, y in taps.items()},
    }


def eva(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    official = {"f_q": "q_proj", "f_k": "k_proj", "f_v": "v_proj", "w_o": "out_proj"}
    for c in "qk":
        official[f"mix.summary_{c}.project"] = f"adaptive_mu_{c}.0"
        official[f"mix.summary_{c}.norm"] = f"adaptive_mu_{c}.1"
    return named(p, official) | {"mix.bias": p["rel_pos_bias.relative_attention_bias.weight"][:, 0]}


MAPS: dict[str, Callable[[Parameters, Mapping[str, int]], dict[str, Tensor]]] = {
    "eva": eva,
    "eva:small": eva,
    "inline": inline,
    "performer": performer,
    "rfa": rfa,
    "rfa:gate": rfa,
    "zeros": zeros,
    "zeros:zero_order": zeros_first,
}
