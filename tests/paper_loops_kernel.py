"""Models that approximate softmax once more, as loops (see paper_loops.py)."""

import math

import torch
from torch import Tensor

from tests.paper_loops import Case, Parameters, convolved, layer_norm, sigmoid, split


def projected(p: Parameters, u: list[Tensor], name: str) -> list[Tensor]:
    return [p[f"{name}.weight"] @ y + p.get(f"{name}.bias", torch.zeros(())) for y in u]


def inputs(p: Parameters, x: Tensor, case: Case) -> list[Tensor]:
    return convolved(p, list(x), "none" if case.conv == "own" else case.conv)


def output(p: Parameters, heads: list[list[Tensor]]) -> Tensor:
    """heads[h][t]: the output of head h at token t."""
    return torch.stack([p["w_o.weight"] @ torch.cat(o) + p["w_o.bias"] for o in zip(*heads)])


def performer(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """arXiv 2009.14794, Eq. 5 and Lemma 1 with h(x) = exp(-|x|^2/2), stabilised as its code is."""
    u, w = inputs(p, x, case), p["f_k.rows"]
    q, k, v = (projected(p, u, n) for n in ("f_q.inner", "f_k.inner", "f_v"))
    constant = "constant" in case.variants
    heads = []
    for h in range(case.heads):
        qs, ks = ([split(z, h, case.d_v) / case.d_v**0.25 for z in y] for y in (q, k))
        highest = torch.zeros(()) if constant else max((w @ z).max() for z in ks).detach()
        phi_k = [(torch.exp(w @ z - z @ z / 2 - highest) + 1e-4) / len(w) ** 0.5 for z in ks]
        o = []
        for t, z in enumerate(qs):
            top = (w @ z).max() if constant else (w @ z).max().detach()
            phi_q = (torch.exp(w @ z - z @ z / 2 - top) + 1e-4) / len(w) ** 0.5
            above = sum((phi_q @ phi_k[s]) * split(v[s], h, case.d_v) for s in range(t + 1))
            o.append(above / sum(phi_q @ (phi_k[s] + 1e-6 / (t + 1)) for s in range(t + 1)))
        heads.append(o)
    return output(p, heads)


def rfa(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """arXiv 2103.02143, section 3.1 with the clamp of its code; gate: Eq. 7 unrolled."""
    u, gated = inputs(p, x, case), "gate" in case.variants
    q, k, v = (projected(p, u, n) for n in ("f_q.inner", "f_k.inner", "f_v"))
    g = [sigmoid(y) for y in projected(p, u, "f_alpha.inner")] if gated else []
    heads = []
    for h in range(case.heads):
        rows = p["f_k.sigma"][h] * p["f_k.rows"][h]

        def phi(z, h=h, rows=rows):
            z = split(z, h, case.d_v)
            angle = rows @ (z / (torch.sqrt((z**2).sum()) + 1e-3))
            return torch.cat([torch.sin(angle), torch.cos(angle)]) / 10

        phi_q, phi_k, o = [phi(z) for z in q], [phi(z) for z in k], []
        for t in range(len(u)):
            kept = [1.0] * (t + 1)
            if gated:
                kept = [1 - g[s][h] for s in range(t + 1)]
                for s in range(t + 1):
                    for later in range(s + 1, t + 1):
                        kept[s] = kept[s] * g[later][h]
            weights = [kept[s] * (phi_q[t] @ phi_k[s]) for s in range(t + 1)]
            above = sum(a * split(v[s], h, case.d_v) for s, a in enumerate(weights))
            below = torch.stack(weights).sum()
            o.append(above / torch.clamp(below, min=0.1 if gated else 1.0))
        heads.append(o)
    return output(p, heads)


def zeros(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """arXiv 2602.05230: zero-sum weights r_ti, written out, times the cosine of q_t and k_i."""
    u, d = inputs(p, x, case), case.d_v
    q, k, v = (projected(p, u, n) for n in ("f_q.inner", "f_k.inner", "f_v"))
    radial, gates = projected(p, u, "f_alpha.inner"), projected(p, u, "f_q.gate")
    whole = "zero_order" in case.variants and case.layer == 0
    heads = []
    for h in range(case.heads):

        def turned(z, t, h=h):
            z, out = split(z, h, d), []
            for c in range(d):
                angle = torch.tensor(t * 10_000.0 ** (-2 * (c // 2) / d))
                other = -z[c + d // 2] if c < d // 2 else z[c - d // 2]
                out.append(z[c] * torch.cos(angle) + other * torch.sin(angle))
            return torch.stack(out) / torch.sqrt((torch.stack(out) ** 2).sum())

        qs, ks = ([turned(z, t) for t, z in enumerate(y)] for y in (q, k))
        w, tau, logits, o = (
            [split(z, h, d) for z in radial],
            torch.exp(p["f_alpha.log_tau"][h]),
            [],
            [],
        )
        for t in range(1, len(u) + 1):
            mean = (tau * p["f_alpha.mu"][h] + sum(w[:t])) / (tau + t)
            logits.append(-(w[t - 1] @ mean) / math.sqrt(d))
            s = torch.stack(logits)
            gate = split(gates[t - 1], h, 3 if whole else 2)
            first, higher = sigmoid(gate[:2])
            delta = (s - s.mean()) / t
            share = torch.exp(s - s.max()) / torch.exp(s - s.max()).sum()
            r = first * delta + higher * (share - 1 / t - delta)
            r = r + torch.tanh(gate[2]) / t if whole else r
            mixed = sum(r[i] * (qs[t - 1] @ ks[i]) * split(v[i], h, d) for i in range(t))
            o.append(layer_norm(mixed))
        heads.append(o)
    return output(p, heads)


def gelu(z: Tensor) -> Tensor:
    return z * (1 + torch.erf(z / math.sqrt(2))) / 2


def inline(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """arXiv 2412.06590, Eq. 5 with the tokens so far for all tokens, and the local residual."""
    u = inputs(p, x, case)
    q, k, v = (projected(p, u, n) for n in ("f_q.inner", "f_k.inner", "f_v"))
    heads = []
    for h in range(case.heads):
        qs, ks, vs = ([split(z, h, case.d_v) for z in y] for y in (q, k, v))
        o = []
        for t in range(1, len(u) + 1):
            scores = [(qs[t - 1] @ ks[s]) / math.sqrt(case.d_v) / t for s in range(t)]
            mean = sum(scores) / t
            mixed = sum((scores[s] - mean + 1 / t) * vs[s] for s in range(t))
            seen = split(torch.stack(u[:t]).mean(0), h, case.d_v)
            hidden = gelu(p["now.inner"][h] @ seen + p["now.inner_bias"][h])
            kernel = p["now.outer"][h] @ hidden + p["now.bias"][h]
            mixed = mixed + kernel[: case.d_v] * vs[t - 1]
            if case.conv == "own" and t > 1:
                mixed = mixed + kernel[case.d_v :] * vs[t - 2]
            o.append(mixed)
        heads.append(o)
    return output(p, heads)


def bucket(distance: int, buckets: int, longest: int) -> int:
    """T5's relative position bucket (arXiv 1910.10683, section 2.1, and its code)."""
    exact = buckets // 2
    if distance < exact:
        return distance
    far = math.log(distance / exact) / math.log(longest / exact) * (buckets - exact)
    return min(exact + int(far), buckets - 1)


def eva(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """arXiv 2302.04542, section 4, causal: exact in the own block, a control variate per chunk."""
    u, small = inputs(p, x, case), "small" in case.variants
    window, chunk = (16, 4) if small else (128, 8)
    q, k, v = (projected(p, u, n) for n in ("f_q", "f_k", "f_v"))
    scale, heads = case.d_v**-0.5, []

    def summary(name, z):
        z = projected(p, [z], f"mix.summary_{name}.project")[0]
        norm = f"mix.summary_{name}.norm"
        return layer_norm(z) * p[f"{norm}.weight"] + p[f"{norm}.bias"]

    for h in range(case.heads):
        qs, ks, vs = ([split(z, h, case.d_v) for z in y] for y in (q, k, v))
        slots = []
        for first in range(0, len(u) - chunk + 1, chunk):
            members = range(first, first + chunk)
            kbar = summary("k", sum(ks[i] for i in members) / chunk)
            mu = kbar + summary("q", sum(qs[i] for i in members) / chunk)
            weights = [torch.exp(scale * (mu @ ks[i] - ks[i] @ ks[i] / 2)) for i in members]
            beta = sum(a * vs[i] for a, i in zip(weights, members)) / sum(weights)
            slots.append((kbar, beta))
        o = []
        for t in range(len(u)):
            scores, values = [], []
            for s in range(t - t % window, t + 1):
                bias = p["mix.bias"][bucket(t - s, len(p["mix.bias"]), window)]
                scores.append(scale * (qs[t] @ ks[s] + bias))
                values.append(vs[s])
            for kbar, beta in slots[: t // chunk]:
                scores.append(scale * (qs[t] @ kbar))
                values.append(beta)
            weights = [torch.exp(a) for a in scores]
            o.append(sum(a * z for a, z in zip(weights, values)) / sum(weights))
        heads.append(o)
    return output(p, heads)


LOOPS = {"eva": eva, "inline": inline, "performer": performer, "rfa": rfa, "zeros": zeros}
