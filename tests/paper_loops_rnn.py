"""GLRU, HGRN2, Griffin, LRU, T-RNN and RWKV-6 once more, as loops (see paper_loops.py)."""

import math

import torch
from torch import Tensor

from tests.paper_loops import (
    Case,
    Parameters,
    convolved,
    layer_norm,
    rms_norm,
    sigmoid,
    silu,
    split,
)


def affine(p: Parameters, name: str, y: Tensor) -> Tensor:
    return p[f"{name}.weight"] @ y + p.get(f"{name}.bias", torch.zeros(()))


def gelu_tanh(z: Tensor) -> Tensor:
    return z / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def normal(p: Parameters, y: Tensor) -> Tensor:
    return layer_norm(y) * p["norm.weight"] + p["norm.bias"]


def glru(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = f h + i c, y = W_O(g h) (arXiv 2411.10741, Eq. 9-10); tied: i = 1 - f, norm(h)."""
    tied = "tied" in case.variants
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    state, ys = torch.zeros(x.shape[1]), []
    for y in u:
        f = sigmoid(affine(p, "f_alpha.inner", y))
        i = 1 - f if tied else sigmoid(affine(p, "f_k", y))
        state = f * state + i * silu(affine(p, "f_v", y))
        o = normal(p, state) if tied else state
        ys.append(affine(p, "w_o", o * silu(affine(p, "f_g", y))))
    return torch.stack(ys)


def hgrn2(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """H = diag(f) H + (1 - f)^T i, y = norm(o H) W_O, f = gamma + (1 - gamma) sigmoid
    (arXiv 2404.07904, section 3); gamma the cumulative softmax over layers less its first row."""
    fla, alone = ("fla" in case.variants), ("standalone" in case.variants)
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    share = torch.exp(p["shared.gamma"]) / torch.exp(p["shared.gamma"]).sum(0)
    gamma = sum((share[i] for i in range(1, case.layer + 1)), torch.zeros(x.shape[1]))
    states = [torch.zeros(case.d_k, case.d_v) for _ in range(case.heads)]
    ys = []
    for y in u:
        f = gamma + (1 - gamma) * sigmoid(affine(p, "f_alpha.project", y))
        q, i = affine(p, "f_q", y), affine(p, "f_v", y)
        q, i = (sigmoid(q), silu(i)) if alone else (silu(q), i)
        heads = []
        for h in range(case.heads):
            fh, ih = split(f, h, case.d_k), split(i, h, case.d_v)
            states[h] = fh[:, None] * states[h] + torch.outer(1 - fh, ih)
            heads.append(split(q, h, case.d_k) @ states[h])
        o = torch.cat(heads)
        if fla:
            o = rms_norm(o / math.sqrt(case.d_k)) * p["norm.weight"]
        else:
            o = normal(p, o) if alone else rms_norm(o, 1e-6)
        ys.append(affine(p, "w_o", o))
    return torch.stack(ys)


def griffin(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = a h + sqrt(1 - a^2) (i u), a = exp(-8 r softplus) (arXiv 2402.19427, Eq. 1-4, A)."""

    def gate(name: str, y: Tensor) -> Tensor:
        weight, bias = p[f"{name}.gate.weight"], p[f"{name}.gate.bias"]
        width = weight.shape[1]
        parts = [split(y, n, width) @ weight[n] for n in range(len(weight))]
        return sigmoid(torch.cat(parts) + bias)

    assert len(p["f_v.gate.weight"]) == (1 if "dense" in case.variants else 16)
    wide = [affine(p, "widen.project", y) for y in x]
    u = convolved(p, wide, "k4" if case.conv == "own" else case.conv)
    state, ys = torch.zeros(case.heads), []
    for t, y in enumerate(u):
        base = torch.log(1 + torch.exp(p["f_alpha.Lambda"]))
        a = torch.exp(-8 * gate("f_alpha", y) * base)
        size = torch.sqrt(1 - a**2) if t else torch.ones(case.heads)
        state = a * state + size * gate("f_v", y) * y
        ys.append(affine(p, "w_o", state * gelu_tanh(affine(p, "f_g", x[t]))))
    return torch.stack(ys)


def lru(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """y_t = Re(C sum_s lambda^(t-s) gamma B u_s) + D u_t (arXiv 2303.06349, section 3), GLU."""
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    log_size, turn = -torch.exp(p["f_alpha.nu_log"]), torch.exp(p["f_alpha.theta_log"])
    log_lambda, gamma = torch.complex(log_size, turn), torch.exp(p["f_alpha.gamma_log"])
    B = torch.complex(p["f_v.weight"][0::2], p["f_v.weight"][1::2])
    C = torch.complex(p["w_o.re"], p["w_o.im"])
    inputs = [gamma * (B @ y.to(B.dtype)) for y in u]
    ys = []
    for t in range(len(u)):
        h = sum(torch.exp((t - s) * log_lambda) * inputs[s] for s in range(t + 1))
        z = gelu_tanh((C @ h).real + p["post.D"] * u[t])
        ys.append(affine(p, "post.out1", z) * sigmoid(affine(p, "post.out2", z)))
    return torch.stack(ys)


def trnn(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = f h + (1 - f) W x, f = sigmoid(V x + b) (arXiv 1602.02218, T-RNN)."""
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    state, ys = torch.zeros(x.shape[1]), []
    for y in u:
        f = sigmoid(affine(p, "f_alpha.inner", y))
        state = f * state + (1 - f) * (p["f_v.weight"] @ y)
        ys.append(state)
    return torch.stack(ys)


def rwkv6(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """o = r (S + diag(u) k^T v), S = diag(w) S + k^T v (arXiv 2404.05892, Finch), as sums."""
    own = case.conv == "own"
    u = convolved(p, list(x), "none" if own else case.conv)
    last, r, k, v, g, log_w = torch.zeros_like(u[0]), [], [], [], [], []
    middle = ".inner" if own else ""
    for y in u:
        change = last - y if own else torch.zeros_like(y)
        streams = dict.fromkeys("wkvrg", y)
        if own:
            low = torch.tanh(p["local.down"] @ (y + change * p["local.mu_x"]))
            for i, name in enumerate("wkvrg"):
                mix = p["local.mu"][i] + split(low, i, 32) @ p["local.up"][i]
                streams[name] = y + change * mix
        last = y
        for into, f, name in ((r, "f_q", "r"), (k, "f_k", "k"), (v, "f_v", "v"), (g, "f_g", "g")):
            into.append(p[f"{f}{middle}.weight"] @ streams[name])
        decay = f"f_alpha{middle}"
        low = torch.tanh(p[f"{decay}.down"] @ streams["w"])
        log_w.append(-torch.exp(p[f"{decay}.w"] + p[f"{decay}.up"] @ low))
    ys, total = [], torch.stack(log_w).cumsum(0)
    for t in range(len(u)):
        # Channel c of head h: sum over the past of r k decayed since, and u for the present.
        weights = [r[t] * k[s] * torch.exp(total[t - 1] - total[s]) for s in range(t)]
        weights.append(r[t] * k[t] * p["now.u"].flatten())
        heads = []
        for h in range(case.heads):
            o = sum(
                split(w, h, case.d_k).sum() * split(v[s], h, case.d_v)
                for s, w in enumerate(weights)
            )
            heads.append(layer_norm(o, 64e-5))
        o = torch.cat(heads) * p["norm.weight"] + p["norm.bias"]
        ys.append(p["w_o.weight"] @ (o * silu(g[t])))
    return torch.stack(ys)


LOOPS = {
    "glru": glru,
    "griffin": griffin,
    "hgrn2": hgrn2,
    "lru": lru,
    "rwkv6": rwkv6,
    "trnn": trnn,
}
