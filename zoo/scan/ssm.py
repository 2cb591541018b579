"""log alpha = -step_t[h] rate[h, k], one value channel: selective scan in segments of time.

Alphas and states exist for one segment at a time; backward rebuilds them from the state at the
segment's start. Axes are t b k h inside: a token is one contiguous operation, and sums over k or h
with q, k and v are matmuls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.scan.case import Case
from zoo.scan.chunks import cut, faintest, in_order
from zoo.scan.derivative import Kernel, Tensors, differentiable
from zoo.spec import Decay

NAME = "ssm"
SEGMENT = 2**18  # numbers in a buffer: 1 MiB, so that three stay in or near a core's cache
KEPT = 2**22  # alphas and states up to this many numbers each (16 MiB) are kept instead of rebuilt


def refuses(case: Case) -> str:
    if case.decay.kind != "ssm":
        return f"needs a step per head times a rate per head and key, not kind {case.decay.kind!r}"
    return (
        "" if case.v.shape[3] == 1 else f"needs one value channel per head, not {case.v.shape[3]}"
    )


@in_order
def scan(
    q: Tensor, k: Tensor, v: Tensor, decay: Decay, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Shapes as in zoo.scan.scan, forwards, read after the update; heads of q and k may be one."""
    b, _, h, _ = v.shape
    step, rate = decay.step, decay.rate
    assert step is not None
    assert rate is not None
    start = v.new_zeros(b, k.shape[3], h) if state is None else state.squeeze(3).transpose(1, 2)
    o, end = differentiable(
        KERNEL,
        q.transpose(2, 3),  # b t k h, or b t k 1
        k.transpose(2, 3),
        v.squeeze(3),  # b t h
        step.squeeze(3),
        rate.T.unsqueeze(0),  # 1 k h
        start,
    )
    return o.unsqueeze(3), end.transpose(1, 2).unsqueeze(3)


class Segments:
    """Time cut up; the alphas and states of one segment, or of all of them where that is little."""

    def __init__(self, inputs: Tensors, kept: Tensors | None = None) -> None:
        """inputs: as in forward. kept: what forward kept; None: room for it."""
        self.inputs, state = inputs, inputs[5]
        t = inputs[2].shape[1]
        # Under vmap backward may see a larger batch than forward did: what was kept decides.
        self.keep = t * state.numel() <= KEPT if kept is None else len(kept) == 2
        n, length = cut(t, max(SEGMENT // state.numel(), 4))
        if kept is not None and not self.keep:
            n = kept[0].shape[1]
            length = -(-t // n)
        self.parts = [slice(i, min(i + length, t)) for i in range(0, t, length)]
        rows = t if self.keep else length
        if kept is None or not self.keep:
            self.alpha = state.new_empty(rows, *state.shape)  # t b k h
            self.states = state.new_empty(rows + 1, *state.shape)  # the first before any token
        else:
            self.alpha, self.states = (x.transpose(0, 1) for x in kept)
        self.gradient = state.new_empty(length, *state.shape)

    def at(self, part: slice) -> tuple[Tensor, ...]:
        """q, k, v, step, alpha and states (one more) of the tokens in `part`, time first."""
        first, tokens = part.start if self.keep else 0, part.stop - part.start
        views = (x[:, part].transpose(0, 1) for x in self.inputs[:4])
        return *views, self.alpha[first : first + tokens], self.states[first : first + tokens + 1]

    def run(self, part: slice, start: Tensor) -> Tensor:
        """Fills in alphas and states. start: b k h. Returns the state after the last token."""
        _, k, v, step, alpha, states = self.at(part)
        torch.mul(step.unsqueeze(2), -self.inputs[4], out=alpha)
        alpha.clamp_(min=faintest(alpha.dtype, 1)).exp_()
        states[0] = start
        torch.mul(k, v.unsqueeze(2), out=states[1:])
        alphas, rows = alpha.unbind(0), states.unbind(0)
        for i in range(len(alphas)):
            rows[i + 1].addcmul_(alphas[i], rows[i])
        return rows[-1]


def forward(*inputs: Tensor) -> Tensors:
    """q, k: b t k h or b t k 1; v, step: b t h; rate: b k h or 1 k h; start: b k h."""
    segments, o, starts = Segments(inputs), torch.empty_like(inputs[2]), [inputs[5]]
    for part in segments.parts:
        starts.append(segments.run(part, starts[-1]).clone())
        q, *_, states = segments.at(part)
        o[:, part] = over_keys(q, states[1:]).transpose(0, 1)
    if segments.keep:
        kept = segments.alpha.transpose(0, 1), segments.states.transpose(0, 1)
    else:
        kept = (torch.stack(starts[:-1], dim=1),)  # b n k h
    return o, starts[-1], *kept


def backward(do: Tensor | None, dend: Tensor | None, inputs: Tensors, kept: Tensors) -> Tensors:
    """D is the gradient of the states; W of the log decays."""
    q, k, v, step, rate, start = inputs
    segments = Segments(inputs, kept)
    do = torch.zeros_like(v) if do is None else do
    later = torch.zeros_like(start) if dend is None else dend  # of the state after the segment
    dq, dk, dv, dstep = (torch.empty_like(x) for x in (q, k, v, step))
    drate = torch.zeros_like(start)
    for i in range(len(segments.parts) - 1, -1, -1):
        part = segments.parts[i]
        if not segments.keep:
            segments.run(part, kept[0][:, i])
        q_, k_, v_, step_, alpha, states = segments.at(part)
        d = do[:, part].transpose(0, 1)  # t b h
        D = torch.mul(q_, d.unsqueeze(2), out=segments.gradient[: len(d)])
        D[-1] += later
        Ds, alphas, steps = D.unbind(0), alpha.unbind(0), step_.unsqueeze(2).unbind(0)
        for j in range(len(d) - 2, -1, -1):
            Ds[j].addcmul_(alphas[j + 1], Ds[j + 1])
        later = alphas[0] * Ds[0]
        dq[:, part] = over_heads(states[1:], d, q.shape[3]).transpose(0, 1)
        dk[:, part] = over_heads(D, v_, k.shape[3]).transpose(0, 1)
        dv[:, part] = over_keys(k_, D).transpose(0, 1)
        W = D.mul_(alpha).mul_(states[:-1])
        for w, s in zip(W.unbind(0), steps, strict=True):
            drate.addcmul_(w, s, value=-1)
        ds = dstep[:, part].transpose(0, 1).zero_()
        for w, r in zip(W.unbind(2), rate.unbind(1), strict=True):
            ds.addcmul_(w, r, value=-1)
    return dq, dk, dv, dstep, drate, later


def over_keys(x: Tensor, y: Tensor) -> Tensor:
    """x: t b k h or t b k 1; y: t b k h. Returns: t b h."""
    return torch.matmul(x.transpose(2, 3), y).squeeze(2) if x.shape[3] == 1 else (x * y).sum(2)


def over_heads(x: Tensor, y: Tensor, heads: int) -> Tensor:
    """x: t b k h; y: t b h. Returns: t b k 1 if heads is 1, else t b k h."""
    return torch.matmul(x, y.unsqueeze(3)) if heads == 1 else x * y.unsqueeze(2)


KERNEL = Kernel(forward, backward, inputs=6)
