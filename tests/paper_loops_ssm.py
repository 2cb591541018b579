"""State-space models with fixed kernels once more, as loops (see paper_loops.py).

Every state is a complex number of its own, h = a h + b x, y = Re(c h), as the papers write it.
"""

import math

import torch
from torch import Tensor

from tests.paper_loops import Case, Parameters, convolved, sigmoid, silu


def paired(x: Tensor) -> Tensor:
    """Real and imaginary part on the last axis -> a complex number."""
    return x[..., 0] + 1j * x[..., 1]


def filtered(a: Tensor, b: Tensor, c: Tensor, u: list[Tensor]) -> list[Tensor]:
    """Re(sum_n c_n h_n) with h = a h + b u, a system for each channel. a, b, c: d n; u: d each."""
    h, ys = torch.zeros_like(a), []
    for x in u:
        h = a * h + b * x[:, None]
        ys.append((c * h).sum(1).real)
    return ys


def gelu(z: Tensor) -> Tensor:
    return z * (1 + torch.erf(z / math.sqrt(2))) / 2


def gelu_tanh(z: Tensor) -> Tensor:
    return z / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def input_of(p: Parameters, x: Tensor, case: Case) -> list[Tensor]:
    return convolved(p, list(x), "none" if case.conv == "own" else case.conv)


def s4d(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """Zero-order hold or the bilinear rule (arXiv 2206.11893); GELU, linear layer, GLU."""
    u = input_of(p, x, case)
    A, dt = -torch.exp(p["f_alpha.log_A_real"]), torch.exp(p["f_alpha.log_dt"])[:, None]
    real = "real" in case.variants
    sign = -1 if {"legs", "bilinear"} & case.variants else 1
    A = A if real else A + 1j * sign * p["f_alpha.A_imag"]
    C = p["f_q.C"] if real else paired(p["f_q.C"])
    B = paired(p["f_k.B"]) if "legs" in case.variants else 1.0
    if "bilinear" in case.variants:
        a, b = (1 + dt * A / 2) / (1 - dt * A / 2), dt * B / (1 - dt * A / 2)
    else:
        a, b = torch.exp(dt * A), (torch.exp(dt * A) - 1) / A * B
    out = []
    for y, z in zip(filtered(a, b, 2 * C, u), u):
        y = gelu(y + p["now.weight"] * z)
        y = p["post.project.weight"] @ y + p["post.project.bias"]
        out.append(y[: len(y) // 2] * sigmoid(y[len(y) // 2 :]))
    return torch.stack(out)


def dss(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """The kernels of arXiv 2203.14343, DSS-exp and DSS-softmax, as a sum over the past."""
    u = input_of(p, x, case)
    dt, W = torch.exp(p["f_alpha.log_dt"]), paired(p["f_q.W"])
    if "softmax" in case.variants:
        re, im = p["f_alpha.Lambda"].T
        re = torch.minimum(re, torch.zeros_like(re))
    else:
        re, im = -torch.exp(p["f_alpha.log_neg_re"]), p["f_alpha.im"]
    z = dt[:, :1] * re + 1j * dt[:, 1:] * im
    weight = W * (torch.exp(z) - 1)
    below = re + 1j * im
    if "softmax" in case.variants:
        below = below * (torch.exp(z * len(u)) - 1)
        weight = weight * below.conj() / (below.abs() ** 2 + 1e-7)
    else:
        weight = weight / below
    kernel = [(weight * torch.exp(z * t)).sum(1).real for t in range(len(u))]
    out = []
    for t in range(len(u)):
        y = sum(kernel[t - s] * u[s] for s in range(t + 1))
        y = gelu(y + p["now.weight"] * u[t])
        out.append(p["post.project.weight"] @ y + p["post.project.bias"])
    return torch.stack(out)


def h3(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """q SSM_diag(SSM_shift(k) v) per head (arXiv 2212.14052), with direct terms."""
    u = input_of(p, x, case)

    def projected(name):
        return [p[f"{name}.weight"] @ y + p[f"{name}.bias"] for y in u]

    q, k, v = (projected(name) for name in ("f_g.project", "f_v.key", "f_v.value"))
    if case.conv == "own":
        B, C, D = (p[f"f_v.shift.{letter}"] for letter in "BCD")
        moved, shifted = torch.zeros_like(B), []
        for y in k:  # every state takes over its neighbour's number, the first one nothing
            moved = torch.cat([torch.zeros(len(B), 1), moved[:, :-1]], dim=1) + B * y[:, None]
            shifted.append((C * moved).sum(1) + D * y)
        k = shifted
    dt = torch.exp(p["f_alpha.log_dt"])[:, None]
    A = -torch.exp(p["f_alpha.log_A_real"]) + 1j * p["f_alpha.A_imag"]
    a = (1 + dt * A / 2) / (1 - dt * A / 2)
    b, C = dt * paired(p["f_k.B"]) / (1 - dt * A / 2), paired(p["f_q.C"])
    width = x.shape[1] // case.heads
    heads = [[y.reshape(case.heads, width) for y in z] for z in (q, k, v)]
    columns: list[list[Tensor]] = []  # for each value channel, every token's number per head
    for j in range(width):
        total = [torch.zeros(case.heads) for _ in u]
        for i in range(width):
            products = [k_t[:, i] * v_t[:, j] for k_t, v_t in zip(heads[1], heads[2])]
            for t, y in enumerate(filtered(a, b, 2 * C, products)):
                total[t] = total[t] + heads[0][t][:, i] * (y + p["now.weight"] * products[t])
        columns.append(total)
    ys = [torch.cat([column[t] for column in columns]) for t in range(len(u))]
    return torch.stack([p["w_o.project.weight"] @ y + p["w_o.project.bias"] for y in ys])


def s5(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """One complex state for all channels (arXiv 2208.04933), then half_glu1."""
    u = input_of(p, x, case)
    re = torch.minimum(p["f_alpha.re"], torch.tensor(-1e-4))
    Lambda, dt = re + 1j * p["f_alpha.im"], torch.exp(p["f_alpha.log_dt"])
    a = torch.exp(dt * Lambda)
    B, C = ((a - 1) / Lambda)[:, None] * paired(p["f_v.B"]), paired(p["w_o.C"])
    h, ys = torch.zeros_like(a), []
    for y in u:
        h = a * h + B @ (y + 0j)
        z = gelu_tanh(2 * (C @ h).real + p["post.D"] * y)
        ys.append(z * sigmoid(p["post.weight"] @ z + p["post.bias"]))
    return torch.stack(ys)


def mega_ema(p: Parameters, x: Tensor, case: Case) -> Tensor:
    """h = (1 - p a) h + p beta x, y = gamma h / sqrt(n) (arXiv 2209.10655), then SiLU."""
    u = input_of(p, x, case)
    step, a = sigmoid(p["f_alpha.delta"]), sigmoid(p["f_alpha.alpha"])
    gamma = p["f_q.gamma"] / math.sqrt(case.d_k)
    ys = filtered(1 - step * a, step * p["f_k.beta"], gamma, u)
    return torch.stack([silu(y + p["now.weight"] * z) for y, z in zip(ys, u)])


LOOPS = {"s4d": s4d, "dss": dss, "h3": h3, "s5": s5, "mega_ema": mega_ema}
