"""Models with matrix states once more, as loops over tokens and heads written from their papers.

Nothing of zoo is used but the names of a mixer's parameters. Each function takes p (the parameters
by name), x (t d, one example) and a Case, and returns y (t d). Where a paper gives a sum over the
past and zoo computes a recurrence, the sum is used here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class Case:
    """What the loop must know beside the weights: sizes per head, layer, variants, convolution."""

    heads: int
    d_k: int
    d_v: int
    layer: int = 0
    conv: str = "own"
    variants: frozenset[str] = field(default_factory=frozenset)
    depth: int = 1


def sigmoid(z):
    return 1 / (1 + torch.exp(-z))


def silu(z):
    return z * sigmoid(z)


def convolved(p: Parameters, u: list[Tensor], name: str) -> list[Tensor]:
    """A causal depthwise convolution with zeros before the first token; name such as k4-silu."""
    if name == "none":
        return u
    weight, bias = p["local.weight"], p.get("local.bias", torch.zeros(()))
    kernel = int(name.split("-")[0][1:])
    assert weight.shape[1] == kernel
    out = []
    for t in range(len(u)):
        y = bias + sum(
            weight[:, kernel - 1 - ago] * u[t - ago] for ago in range(min(kernel, t + 1))
        )
        out.append(silu(y) if name.endswith("-silu") else y)
    return out


def split(y: Tensor, h: int, channels: int) -> Tensor:
    return y[h * channels : (h + 1) * channels]


def layer_norm(y, eps=1e-5):
    centred = y - y.mean()
    return centred / torch.sqrt((centred**2).mean() + eps)


def rms_norm(y, eps=1e-5):
    return y / torch.sqrt((y**2).mean() + eps)


def kernel_attention(p: Parameters, x: Tensor, case: Case, weight, names, eps: float) -> Tensor:
    """sum_s w(q_t, k_s) v_s / (sum_s w(q_t, k_s) + eps), s <= t, for any positive kernel w."""
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    zero = torch.zeros(())
    q, k, v = ([p[f"{n}.weight"] @ y + p.get(f"{n}.bias", zero) for y in u] for n in names)
    per_head = len(q[0]) // case.heads
    ys = []
    for t in range(len(u)):
        heads = []
        for h in range(case.heads):
            ws = [weight(split(q[t], h, per_head), split(k[s], h, per_head)) for s in range(t + 1)]
            mixed = sum(w * split(v[s], h, case.d_v) for s, w in enumerate(ws))
            heads.append(mixed / (sum(ws) + eps))
        ys.append(p["w_o.weight"] @ torch.cat(heads) + p.get("w_o.bias", zero))
    return torch.stack(ys)


def attention(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """Kernel exp(q k / sqrt(d_k)) (arXiv 1706.03762, Eq. 1)."""

    def weight(q, k):
        return torch.exp(q @ k / math.sqrt(case.d_k))

    return kernel_attention(p, x, case, weight, ("f_q", "f_k", "f_v"), 0.0)


def linformer(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """Kernel (elu(q)+1) (elu(k)+1) (arXiv 2006.16236, Eq. 7 and 12)."""

    def weight(q, k):
        def phi(z):
            return torch.where(z > 0, z + 1, torch.exp(torch.minimum(z, torch.zeros_like(z))))

        return phi(q) @ phi(k)

    return kernel_attention(p, x, case, weight, ("f_q", "f_k", "f_v"), 1e-6)


def based(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """Kernel 1 + s + s^2/2 with s = q k / sqrt(f) (arXiv 2402.18668, section 4.1)."""

    def weight(q, k):
        s = q @ k / math.sqrt(len(q))
        return 1 + s + s**2 / 2

    return kernel_attention(p, x, case, weight, ("f_q.inner", "f_k.inner", "f_v"), 1e-12)


def gla(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """S = diag(alpha) S + k^T v, alpha = sigmoid(x W1 W2 + b)^(1/16) (arXiv 2312.06635, 4.4)."""
    original = "original" in case.variants
    u = convolved(p, list(x), "none" if case.conv == "own" else case.conv)
    states = [torch.zeros(case.d_k, case.d_v) for _ in range(case.heads)]
    ys = []
    for y in u:
        q, k, v = (p[f"f_{c}.weight"] @ y for c in "qkv")
        low = p["f_alpha.inner.down"] @ y
        alpha = sigmoid(p["f_alpha.inner.up"] @ low + p["f_alpha.inner.bias"]) ** (1 / 16)
        k = k / math.sqrt(x.shape[1] / case.heads) if original else k
        heads = []
        for h in range(case.heads):
            a, kh = split(alpha, h, case.d_k), split(k, h, case.d_k)
            states[h] = a[:, None] * states[h] + torch.outer(kh, split(v, h, case.d_v))
            o = split(q, h, case.d_k) @ states[h] / math.sqrt(case.d_k)
            heads.append(layer_norm(o) if original else rms_norm(o) * p["norm.weight"])
        gate = silu(p["f_g.weight"] @ y + p.get("f_g.bias", torch.zeros(())))
        ys.append(p["w_o.weight"] @ (torch.cat(heads) * gate))
    return torch.stack(ys)


def metala(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """Eq. 21-24 of arXiv 2411.10741, augmentation as in Eq. 22 (variants: A38, and a weight)."""
    own = {"no_conv": "none", "conv2": "k2", "conv2_silu": "k2-silu"}
    own = next((own[v] for v in case.variants if v in own), "k4-silu")
    u = convolved(p, list(x), own if case.conv == "own" else case.conv)
    states = [torch.zeros(case.d_k, case.d_v) for _ in range(case.heads)]
    ys = []
    for y in u:
        q, v = p["f_q.weight"] @ y, p["f_v.weight"] @ y
        alpha = sigmoid(p["f_alpha.inner.weight"] @ y) ** (1 / 16)
        k = p["f_k.weight"] @ y if "with_key" in case.variants else 1 - alpha
        heads = []
        for h in range(case.heads):
            a, kh, qh = (split(z, h, case.d_k) for z in (alpha, k, q))
            vh = split(v, h, case.d_v)
            states[h] = a[:, None] * states[h] + torch.outer(kh, vh)
            o = qh @ states[h] / math.sqrt(case.d_k)
            if "no_aug" not in case.variants:
                s = sum(qh[c] * p["now.weight"][h, c] * kh[c] for c in range(case.d_k))
                if "aug_linear" in case.variants:
                    o = o + s * vh
                elif "aug_weight" in case.variants:
                    o = o + sigmoid(s) * vh
                else:
                    o = o + sigmoid(s * vh)
            heads.append(layer_norm(o))
        gate = silu(p["f_g.weight"] @ y + p["f_g.bias"])
        ys.append(p["w_o.weight"] @ (torch.cat(heads) * gate))
    return torch.stack(ys)


LOOPS = {
    "attention": attention,
    "based": based,
    "gla": gla,
    "linformer": linformer,
    "metala": metala,
}
