"""Official parameter names -> ours for state-space models (see golden_maps.py)."""

from collections.abc import Callable, Mapping

from einops import rearrange
from torch import Tensor

Parameters = Mapping[str, Tensor]


def s4d(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_alpha.log_dt": p["kernel.log_dt"],
        "f_alpha.log_A_real": p["kernel.log_A_real"],
        "f_alpha.A_imag": p["kernel.A_imag"],
        "f_q.C": p["kernel.C"],
        **around(p),
    }


def around(p: Parameters) -> dict[str, Tensor]:
    """D, and the linear layer behind it."""
    return {
        "now.weight": p["D"],
        "post.project.weight": rearrange(p["output_linear.0.weight"], "o d 1 -> o d"),
        "post.project.bias": p["output_linear.0.bias"],
    }


def s4d_full(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {
        "f_alpha.log_dt": rearrange(p["kernel.inner.inv_dt"], "h 1 -> h"),
        "f_alpha.log_A_real": p["kernel.inner.A_real"],
        "f_q.C": rearrange(p["kernel.inner.C"], "1 h ... -> h ..."),
        **around(p),
    }
    if "kernel.inner.A_imag" in p:
        ours["f_alpha.A_imag"] = p["kernel.inner.A_imag"]
    if "kernel.inner.B" in p:
        ours["f_k.B"] = rearrange(p["kernel.inner.B"], "1 h n part -> h n part")
    return ours


def dss(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {
        "f_alpha.log_dt": p["kernel.log_dt"],
        "f_q.W": rearrange(p["kernel.W"], "1 h n part -> h n part"),
        "now.weight": rearrange(p["D"], "1 h -> h"),
        "post.project.weight": p["output_linear.weight"],
        "post.project.bias": rearrange(p["output_linear.bias"], "d 1 -> d"),
    }
    if "kernel.Lambda" in p:
        return ours | {"f_alpha.Lambda": p["kernel.Lambda"]}
    return ours | {
        "f_alpha.log_neg_re": p["kernel.Lambda_log_neg_re"],
        "f_alpha.im": p["kernel.Lambda_im"],
    }


def h3(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    ours = {
        "f_alpha.log_dt": p["kernel.kernel.log_dt"],
        "f_alpha.log_A_real": p["kernel.kernel.inv_A_real"],
        "f_alpha.A_imag": p["kernel.kernel.A_imag"],
        "f_k.B": p["kernel.kernel.B"],
        "f_q.C": rearrange(p["kernel.kernel.C"], "1 h n part -> h n part"),
        "f_v.shift.B": p["ssm_k_kernel.kernel.B"],
        "f_v.shift.C": rearrange(p["ssm_k_kernel.kernel.C"], "1 d n -> d n"),
        "f_v.shift.D": p["ssm_k_D"],
        "now.weight": p["D"],
    }
    official = {"f_g.project": "q_proj", "f_v.key": "k_proj", "f_v.value": "v_proj"}
    official["w_o.project"] = "output_linear"
    for name, theirs in official.items():
        ours |= {f"{name}.{end}": p[f"{theirs}.{end}"] for end in ("weight", "bias")}
    return ours


def s5(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_alpha.re": p["seq.Lambda_re"],
        "f_alpha.im": p["seq.Lambda_im"],
        "f_alpha.log_dt": rearrange(p["seq.log_step"], "h 1 -> h"),
        "f_v.B": p["seq.B"],
        "w_o.C": p["seq.C"],
        "post.D": p["seq.D"],
        "post.weight": rearrange(p["out2.kernel"], "i o -> o i"),
        "post.bias": p["out2.bias"],
    }


def mega_ema(p: Parameters, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    return {
        "f_alpha.delta": rearrange(p["delta"], "h k 1 -> h k"),
        "f_alpha.alpha": rearrange(p["alpha"], "h k 1 -> h k"),
        "f_k.beta": rearrange(p["beta"], "h k 1 -> h k"),
        "f_q.gamma": p["gamma"],
        "now.weight": p["omega"],
    }


MAPS: dict[str, Callable[[Parameters, Mapping[str, int]], dict[str, Tensor]]] = {
    "s4d": s4d,
    "s4d:legs": s4d_full,
    "s4d:real": s4d_full,
    "s4d:bilinear": s4d_full,
    "dss": dss,
    "dss:softmax": dss,
    "h3": h3,
    "h3:mqar": h3,
    "s5": s5,
    "mega_ema": mega_ema,
}
