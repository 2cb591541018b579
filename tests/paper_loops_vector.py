"""Models with one state per channel once more, as loops (see paper_loops.py)."""

import torch
from torch import Tensor

from tests.paper_loops import Case, Parameters, convolved, layer_norm, rms_norm, sigmoid, silu


def mamba(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = exp(step A) h + step B u, o = C h + D u (arXiv 2312.00752, Algorithm 2, Euler for B)."""
    own = "k4-silu" if case.conv == "own" else case.conv
    u = convolved(p, [p["widen.project.weight"] @ y for y in x], own)
    rates = -torch.exp(p["f_alpha.A_log"])
    states = [torch.zeros(case.d_k) for _ in range(case.heads)]
    ys = []
    for t, y in enumerate(u):
        B, C = p["f_k.weight"] @ y, p["f_q.weight"] @ y
        step = p["f_alpha.up"] @ (p["f_alpha.down"] @ y) + p["f_alpha.bias"]
        step = torch.log(1 + torch.exp(step))
        o = []
        for e in range(case.heads):
            states[e] = torch.exp(step[e] * rates[e]) * states[e] + step[e] * B * y[e]
            o.append(C @ states[e] + p["now.weight"][e] * y[e])
        ys.append(p["w_o.weight"] @ (torch.stack(o) * silu(p["f_g.weight"] @ x[t])))
    return torch.stack(ys)


def hgrn(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = lambda e^{j theta} h + (1 - lambda) c (arXiv 2311.04823, Eq. 1-6); real: no angle."""
    real = "real" in case.variants
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    zero = torch.zeros(())
    share = torch.exp(p["shared.gamma"]) / torch.exp(p["shared.gamma"]).sum(0)
    before = range(1, case.layer + 1) if real else range(case.layer)
    gamma = sum((share[i] for i in before), torch.zeros(x.shape[1]))
    turn = torch.ones(()) if real else torch.polar(torch.ones(x.shape[1]), p["f_alpha.theta"])
    state, ys = torch.zeros(x.shape[1], dtype=turn.dtype), []
    for y in u:
        mu = sigmoid(p["f_alpha.project.weight"] @ y + p.get("f_alpha.project.bias", zero))
        lamb = gamma + (1 - gamma) * mu
        c = silu(p["f_v.weight"] @ y + p.get("f_v.bias", zero))
        c = c if real else torch.complex(c[0::2], c[1::2])
        state = lamb * turn * state + (1 - lamb) * c
        o = state if real else torch.view_as_real(state).flatten()
        o = (rms_norm(o) if real else layer_norm(o)) * p["norm.weight"] + p.get("norm.bias", zero)
        gate = silu(p["f_g.weight"] @ y + p.get("f_g.bias", zero))
        ys.append(p["w_o.weight"] @ (o * gate) + p.get("w_o.bias", zero))
    return torch.stack(ys)


def rwkv4(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """The weighted mean over the past of arXiv 2305.13048, Eq. 16, with token shift (Eq. 11-13)."""
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)

    def projected(name):
        if case.conv != "own":
            return [p[f"{name}.weight"] @ y for y in u]
        last = [torch.zeros_like(u[0]), *u]
        mu = p[f"{name}.mu"]
        return [p[f"{name}.inner.weight"] @ (mu * y + (1 - mu) * z) for y, z in zip(u, last)]

    log_k, v, r = projected("f_k.inner"), projected("f_v"), projected("f_g")
    w, bonus, ys = torch.exp(p["f_alpha.w"]), p["bonus.u"], []
    for t in range(len(u)):
        weights = [torch.exp(log_k[s] - (t - 1 - s) * w) for s in range(t)]
        weights.append(torch.exp(log_k[t] + bonus))
        mean = sum(a * b for a, b in zip(weights, v)) / sum(weights)
        ys.append(p["w_o.weight"] @ (sigmoid(r[t]) * mean))
    return torch.stack(ys)


LOOPS = {"hgrn": hgrn, "mamba": mamba, "rwkv4": rwkv4}
