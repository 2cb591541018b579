"""RetNet, TransNormer and its successor, cosFormer and Mamba-2 once more (see paper_loops.py).

The first four as sums over the past with the relative position written out, where zoo turns and
decays a state; Mamba-2 as its recurrence.
"""

import math

import torch
from torch import Tensor

from tests.paper_loops import Case, Parameters, convolved, rms_norm, silu, split


def projected(p: Parameters, name: str, y: Tensor) -> Tensor:
    return p[f"{name}.weight"] @ y + p.get(f"{name}.bias", torch.zeros(()))


def streamed(p: Parameters, x: Tensor, case: Case) -> list[Tensor]:
    """u of models without a convolution of their own."""
    return convolved(p, list(x), "none" if case.conv == "own" else case.conv)


def mixed(q, k, v, case: Case, weight) -> list[list[Tensor]]:
    """sum_{s<=t} weight(q_t, k_s, t - s, h) v_s, for every token t and head h."""

    def head(t: int, h: int) -> Tensor:
        per_head = len(q[t]) // case.heads
        q_t, past = split(q[t], h, per_head), range(t + 1)
        ws = [weight(q_t, split(k[s], h, per_head), t - s, h) for s in past]
        return torch.stack([w * split(v[s], h, case.d_v) for w, s in zip(ws, past)]).sum(0)

    return [[head(t, h) for h in range(case.heads)] for t in range(len(v))]


def retnet(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """(Q Theta)(K conj(Theta))^T * D, the rows of D normalised (arXiv 2307.08621)."""
    u, n = streamed(p, x, case), case.d_k // 2
    theta = torch.tensor([10_000 ** (-i / (n - 1)) for i in range(n)])

    def weight(q, k, ago, h):
        q, k = torch.complex(q[:n], q[n:]), torch.complex(k[:n], k[n:])
        turned = torch.exp(1j * theta * ago) * q * k.conj()
        return (1 - 2.0 ** (-5 - h)) ** ago * turned.sum().real / math.sqrt(case.d_k)

    q, k = ([p[f"f_{c}.inner.weight"] @ y for y in u] for c in "qk")
    v = [p["f_v.weight"] @ y for y in u]
    ys = []
    for t, heads in enumerate(mixed(q, k, v, case, weight)):
        mass = [sum((1 - 2.0 ** (-5 - h)) ** i for i in range(t + 1)) for h in range(case.heads)]
        o = [rms_norm(o / math.sqrt(m), 1e-6) for o, m in zip(heads, mass, strict=True)]
        ys.append(p["w_o.weight"] @ (torch.cat(o) * silu(p["f_g.weight"] @ u[t])))
    return torch.stack(ys)


def transnormerllm(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """LRPE with decay, one norm, a linear gate (arXiv 2307.14995; the decay as released)."""
    u = streamed(p, x, case)
    turns = "lrpe" in case.variants or ("decay" not in case.variants and case.layer == 0)
    inner = ".inner" if turns else ""
    later = case.layer / (case.depth - 1) if case.depth > 1 else 0.0

    def weight(q, k, ago, h):
        slope = 2.0 ** (-8 * (h + 1) / case.heads)
        turned = torch.cos(p["f_alpha.theta"][h] * ago) if turns else torch.ones(())
        return math.exp(-slope * (1 - later + 1e-5) * ago) * (q * k * turned).sum()

    q, k = ([silu(p[f"f_{c}{inner}.weight"] @ y) for y in u] for c in "qk")
    v = [p["f_v.weight"] @ y for y in u]
    heads = mixed(q, k, v, case, weight)
    return torch.stack(
        [
            p["w_o.weight"] @ (rms_norm(torch.cat(o), 1e-6) * (p["f_g.weight"] @ y))
            for o, y in zip(heads, u, strict=True)
        ]
    )


def elu1(z):
    return torch.where(z > 0, z + 1, torch.exp(torch.minimum(z, torch.zeros_like(z))))


def transnormer(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """NormAttention, or softmax within blocks of 64: DiagAttention (arXiv 2210.10340)."""
    u = streamed(p, x, case)
    v = [projected(p, "f_v", y) for y in u]
    q = [projected(p, "f_q", y) for y in u]
    k = [projected(p, "f_k.inner" if "lrpe" in case.variants else "f_k", y) for y in u]
    if "diag" in case.variants:
        heads = [
            [block_softmax(q, k, v, t, h, case) for h in range(case.heads)] for t in range(len(u))
        ]
        return torch.stack([projected(p, "w_o", torch.cat(o)) for o in heads])

    def weight(q, k, ago, h):
        q, k = elu1(q), elu1(k)
        if "lrpe" not in case.variants:
            return q @ k
        n = case.d_k // 2
        theta = torch.tensor([10_000 ** (-2 * i / case.d_k) for i in range(n)])
        q, k = torch.complex(q[:n], q[n:]), torch.complex(k[:n], k[n:])
        return (torch.exp(1j * theta * ago) * q * k.conj()).sum().real

    ys = []
    for heads in mixed(q, k, v, case, weight):
        o = torch.cat(heads)
        ys.append(projected(p, "w_o", o / (torch.sqrt((o**2).mean()) + 1e-8)))
    return torch.stack(ys)


def block_softmax(q, k, v, t: int, h: int, case: Case) -> Tensor:
    past = range(t - t % 64, t + 1)
    scores = [split(q[t], h, case.d_k) @ split(k[s], h, case.d_k) for s in past]
    weights = torch.exp(torch.stack(scores) / math.sqrt(case.d_k))
    return weights @ torch.stack([split(v[s], h, case.d_v) for s in past]) / weights.sum()


def cosformer(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """ReLU(q) ReLU(k) cos(pi (t-s) / 2M) over its sum (arXiv 2202.08791), M the length."""
    u, longest = streamed(p, x, case), 1024 if "fixed" in case.variants else len(x)

    def weight(q, k, ago, h):
        return torch.relu(q) @ torch.relu(k) * math.cos(math.pi * ago / (2 * longest))

    q, k = ([projected(p, f"f_{c}.inner", y) for y in u] for c in "qk")
    ones = [torch.ones_like(y[: case.heads * case.d_v]) for y in u]
    v = [projected(p, "f_v", y) for y in u]
    above, below = (mixed(q, k, values, case, weight) for values in (v, ones))
    return torch.stack(
        [
            projected(
                p, "w_o", torch.cat([o / z.clamp(min=1e-6) for o, z in zip(os, zs, strict=True)])
            )
            for os, zs in zip(above, below, strict=True)
        ]
    )


def mamba2(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = exp(step A) h + step B x, y = C h + D x (arXiv 2405.21060, Listing 1)."""
    own = "k4-silu" if case.conv == "own" else case.conv
    u = convolved(p, [p["widen.project.weight"] @ y for y in x], own)
    inner = case.heads * case.d_v
    states = [torch.zeros(case.d_v, case.d_k) for _ in range(case.heads)]
    ys = []
    for t, y in enumerate(u):
        B, C = y[inner : inner + case.d_k], y[inner + case.d_k :]
        step = torch.log(1 + torch.exp(p["f_alpha.weight"] @ x[t] + p["f_alpha.bias"]))
        alpha = torch.exp(-step * torch.exp(p["f_alpha.A_log"]))
        o = []
        for h in range(case.heads):
            xh = split(y, h, case.d_v)
            states[h] = alpha[h] * states[h] + torch.outer(step[h] * xh, B)
            o.append(states[h] @ C + p["now.weight"][h] * xh)
        gated = torch.cat(o) * silu(p["f_g.weight"] @ x[t])
        ys.append(p["w_o.weight"] @ (rms_norm(gated) * p["norm.weight"]))
    return torch.stack(ys)


LOOPS = {
    "cosformer": cosformer,
    "mamba2": mamba2,
    "retnet": retnet,
    "transnormer": transnormer,
    "transnormerllm": transnormerllm,
}
