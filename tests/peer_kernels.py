"""What the kernels of other libraries compute, as their documentation has it, token by token.

They take their libraries' arguments and check what the libraries would refuse or misread.
"""

from __future__ import annotations

import torch

called: list[str] = []  # which kernels ran


def matrix_state(q, k, v, log, scale, initial_state):
    """S_t = diag(exp log_t) S_{t-1} + k_t^T v_t, o_t = scale q_t S_t, log being b t h (k or 1)."""
    assert q.dtype == k.dtype == v.dtype
    assert type(scale) is float
    assert initial_state is None or initial_state.dtype == log.dtype
    S = torch.zeros_like(k[:, 0, :, :, None] * v[:, 0, :, None], dtype=log.dtype)
    S, o = S if initial_state is None else initial_state, []
    for t in range(q.shape[1]):
        S = log[:, t].exp().unsqueeze(-1) * S + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        o.append(scale * torch.einsum("bhk,bhkv->bhv", q[:, t].to(S), S))
    return torch.stack(o, dim=1).to(v.dtype), S


def gla(name, gate):
    """fla/ops/gla: chunk_gla calls its gate g, fused_recurrent_gla gk. It is b t h k."""

    def kernel(q, k, v, *, scale, initial_state, output_final_state, **gates):
        called.append(name)
        assert output_final_state
        assert list(gates) == [gate]
        assert q.shape == k.shape == gates[gate].shape
        return matrix_state(q, k, v, gates[gate], scale, initial_state)

    return kernel


def simple_gla(name):
    """fla/ops/simple_gla: g is b t h, or g_gamma is h and gets no gradient, or neither is there."""

    def kernel(
        q, k, v, *, scale, initial_state, output_final_state, g=None, g_gamma=None, **unknown
    ):
        called.append(name if g_gamma is None else f"{name} g_gamma")
        assert output_final_state
        assert not unknown
        assert q.shape == k.shape
        assert g is None or (g_gamma is None and g.shape == q.shape[:3])
        if g is None:
            dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
            zeros = torch.zeros(q.shape[:3], dtype=dtype)
            g = zeros if g_gamma is None else zeros + g_gamma.detach()
        return matrix_state(q, k, v, g.unsqueeze(-1), scale, initial_state)

    return kernel


def fused_recurrent_hgrn(x, g, *, initial_state, output_final_state):
    """fla/ops/hgrn: h_t = exp(g_t) h_{t-1} + x_t; x and g are b t d, states b d."""
    assert output_final_state
    assert x.shape == g.shape
    states, h = [], torch.zeros_like(x[:, 0]) if initial_state is None else initial_state
    for x_t, g_t in zip(x.unbind(1), g.unbind(1), strict=True):
        h = g_t.exp() * h + x_t
        states.append(h)
    return torch.stack(states, dim=1), h


def selective_scan_fn(u, delta, A, B, C):
    """mamba_ssm: u, delta are b d l; A: d n; B, C: b g n l, a group for d / g channels."""
    assert A.shape == (u.shape[1], B.shape[2])
    assert B.shape == C.shape
    assert all(x.stride(-1) == 1 for x in (u, delta, B, C))
    B, C = (x.repeat_interleave(u.shape[1] // x.shape[1], dim=1) for x in (B, C))  # b d n l
    h, y = torch.zeros_like(B[..., 0]), []
    for t in range(u.shape[2]):
        d = delta[:, :, t].unsqueeze(-1)  # b d 1
        h = torch.exp(d * A) * h + d * B[..., t] * u[:, :, t].unsqueeze(-1)
        y.append((C[..., t] * h).sum(-1))
    return torch.stack(y, dim=-1)


KERNELS = {
    "fla.ops.gla": {
        "chunk_gla": gla("chunk_gla", "g"),
        "fused_recurrent_gla": gla("fused_recurrent_gla", "gk"),
    },
    "fla.ops.simple_gla": {
        name: simple_gla(name) for name in ("fused_chunk_simple_gla", "fused_recurrent_simple_gla")
    },
    "fla.ops.hgrn": {"fused_recurrent_hgrn": fused_recurrent_hgrn},
    "mamba_ssm.ops.selective_scan_interface": {"selective_scan_fn": selective_scan_fn},
}
