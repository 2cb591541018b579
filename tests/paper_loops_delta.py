"""The delta-rule family once more, as loops written from the papers (see paper_loops.py)."""

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


def filtered(p: Parameters, u: list[Tensor], name: str, case: Case) -> list[Tensor]:
    """SiLU of a projection, behind its own convolution over four tokens where the model's is on."""
    ys = [p[f"{name}.inner.weight"] @ y for y in u]
    if case.conv == "own":
        taps = p[f"{name}.weight"]
        ys = [
            sum(taps[:, 3 - ago] * ys[t - ago] for ago in range(min(4, t + 1)))
            for t in range(len(ys))
        ]
    return [silu(y) for y in ys]


def on_sphere(y: Tensor) -> Tensor:
    return y / torch.sqrt(y @ y + 1e-6)


def corrected(p: Parameters, x: Tensor, case: Case, decay, gate) -> Tensor:
    """What a key finds in the decayed state moves towards v by the share beta (arXiv 2406.06484,
    section 2.2: v_new = beta v + (1 - beta) v_old, S = S - v_old k^T + v_new k^T)."""
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    q, k, v = (filtered(p, u, n, case) for n in ("f_q.inner", "f_k.key.inner", "f_v"))
    inner = "f_k.beta.inner" if "negative" in case.variants else "f_k.beta"
    most = 2 if "negative" in case.variants else 1
    states = [torch.zeros(case.d_v, case.d_k) for _ in range(case.heads)]
    ys = []
    for t, y in enumerate(u):
        beta = p[f"{inner}.weight"] @ y + p.get(f"{inner}.bias", torch.zeros(()))
        beta, alphas, gates, heads = most * sigmoid(beta), decay(p, y), gate(p, y), []
        for h in range(case.heads):
            key, query = (on_sphere(split(z[t], h, case.d_k)) for z in (k, q))
            S = states[h] * split(alphas, h, case.d_k)
            old = S @ key
            new = beta[h] * split(v[t], h, case.d_v) + (1 - beta[h]) * old
            states[h] = S - torch.outer(old, key) + torch.outer(new, key)
            o = states[h] @ (query / math.sqrt(case.d_k))
            heads.append(rms_norm(o) * p["norm.weight"])
        ys.append(p["w_o.weight"] @ (torch.cat(heads) * gates))
    return torch.stack(ys)


def softplus(z: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(z))


def delta_net(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """No decay, and no gate but in the variant."""
    ones = torch.ones(case.heads * case.d_k)
    gated = "gated" in case.variants
    gate = (lambda p, y: silu(p["f_g.weight"] @ y)) if gated else lambda p, y: torch.ones(())
    return corrected(p, x, case, lambda p, y: ones, gate)


def gated_delta_net(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """alpha_t = exp(-e^A softplus(x W + b)), one per head (arXiv 2412.06464)."""

    def decay(p, y):
        step = softplus(p["f_alpha.inner.weight"] @ y + p["f_alpha.bias"].flatten())
        alpha = torch.exp(-torch.exp(p["f_alpha.A_log"]) * step)
        return torch.cat([a * torch.ones(case.d_k) for a in alpha])

    return corrected(p, x, case, decay, lambda p, y: silu(p["f_g.weight"] @ y))


def kda(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """S = (I - beta k k^T) Diag(alpha) S + beta k v^T, alpha per channel (arXiv 2510.26692)."""

    def decay(p, y):
        z = p["f_alpha.inner.up"] @ (p["f_alpha.inner.down"] @ y) + p["f_alpha.bias"].flatten()
        sharp = torch.cat([torch.exp(a) * torch.ones(case.d_k) for a in p["f_alpha.A_log"]])
        bounded = "bounded" in case.variants
        return torch.exp(-5 * sigmoid(sharp * z) if bounded else -sharp * softplus(z))

    def gate(p, y):
        return sigmoid(p["f_g.up"] @ (p["f_g.down"] @ y) + p["f_g.bias"])

    return corrected(p, x, case, decay, gate)


def rwkv7(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """S = S (diag(w) - kappa^T (a kappa)) + v^T k (arXiv 2503.14456), rows are values.

    Used alone, so that a later layer mixes its v with zeros instead of the first layer's.
    """
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    last = [torch.zeros_like(u[0]), *u[:-1]]
    zero = torch.zeros(())

    def weight(name, end):
        return p.get(f"{name}.inner.{end}" if case.conv == "own" else f"{name}.{end}", zero)

    def linear(name, t, end="weight"):
        mu = p[f"{name}.mu"] if case.conv == "own" else zero
        return weight(name, end) @ (u[t] + mu * (last[t] - u[t]))

    def low_rank(name, t, middle, part=""):
        inner = middle(linear(name, t, f"{part}down"))
        return weight(name, f"{part}up") @ inner + weight(name, f"{part}bias")

    def same(z):
        return z

    states = [torch.zeros(case.d_v, case.d_k) for _ in range(case.heads)]
    ys = []
    for t in range(len(u)):
        w = torch.exp(-sigmoid(low_rank("f_alpha.inner", t, torch.tanh)) / math.sqrt(math.e))
        a = sigmoid(low_rank("f_k.strength", t, same))
        r, k, v = linear("f_q", t), linear("f_k.raw", t), linear("f_v", t, "own.weight")
        if case.layer > 0:
            v = v * (1 - sigmoid(low_rank("f_v", t, same, "share.")))
        heads = []
        for h in range(case.heads):
            wh, ah, rh, kh = (split(z, h, case.d_k) for z in (w, a, r, k))
            vh, S = split(v, h, case.d_v), states[h]
            kappa = kh * p["f_k.k_k"][h]
            kappa = kappa / torch.sqrt(kappa @ kappa)
            kh = kh + kh * (ah - 1) * p["f_k.k_a"][h]
            states[h] = S * wh - torch.outer(S @ kappa, ah * kappa) + torch.outer(vh, kh)
            o = layer_norm(states[h] @ rh, 64e-5) * split(p["norm.weight"], h, case.d_v)
            o = o + split(p["norm.bias"], h, case.d_v)
            heads.append(o + (rh * p["now.r_k"][h]) @ kh * vh)
        gate = low_rank("f_g", t, sigmoid)
        ys.append(p["w_o.weight"] @ (torch.cat(heads) * gate))
    return torch.stack(ys)


LOOPS = {"delta_net": delta_net, "gated_delta_net": gated_delta_net, "kda": kda, "rwkv7": rwkv7}
