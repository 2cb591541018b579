"""Causal EVA (Zheng et al. 2023, arXiv 2302.04542): softmax over a block and a slot for each chunk.

Blocks of 128 tokens, chunks of 8. A token attends with softmax to the tokens of its own block up to
itself, with a learned bias for the distance (T5 buckets, one for all heads), and to one slot for
every earlier chunk: key kbar = LN(W_k mean(k) + b), value beta = sum_i softmax_i((mu k_i - |k_i|^2
/ 2) / sqrt(d_v)) v_i with mu = kbar + LN(W_q mean(q) + b), to which training adds N(0, I). As in
HKUNLP/efficient-attention causal_eva.py, class CausalEVAttention, with the options of its language
model (adaptive-proj qk, T5 bias, blocks that do not overlap); earlier chunks of the token's own
block have a slot as well, so their tokens count twice. Its decoding path, which slides the window
and gives every distance the bias of 0, is another function and not followed: here a token sees the
same whether it comes alone or in a sequence.

Bidirectional it is the repository's eva.py, class EVA: all tokens of the block and all slots, half
of the buckets for each side, padding counted as zeros in the mean of a chunk; but with the mu and
the one bias for all heads from above, and without slots for chunks of padding alone.

The list of slots grows, so this is compressed softmax attention and not a recurrence of fixed size.
Longer than other models because nothing of the template's mixing applies. Variant `small`: blocks
of 16, chunks of 4.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from zoo import maps
from zoo.spec import Dims, Spec, State, Stream, divided

INIT = maps.xavier(2**-0.5)
UNSEEN = -1e9  # a logit whose exponential is 0; finite, as pads may see nothing at all


def state(d: int) -> State:
    heads = max(1, d // 64)
    d_v = divided("eva", d, heads)
    return State(heads, d_v, d_v)


def distance_buckets(window: int, buckets: int) -> Tensor:
    """T5's bucket of every distance below `window`: half of them exact, the rest logarithmic."""
    distance, exact = torch.arange(window), buckets // 2
    share = torch.log(distance.clamp(min=1).float() / exact) / math.log(window / exact)
    far = (exact + (share * (buckets - exact)).long()).clamp(max=buckets - 1)
    return torch.where(distance < exact, distance, far)


def sided_buckets(window: int, buckets: int) -> Tensor:
    """w w: the first half of the buckets for keys up to the query, the second for later ones."""
    position = torch.arange(window)
    distance = position[:, None] - position
    bucket = distance_buckets(window, buckets // 2)[distance.abs()]
    return bucket + buckets // 2 * (distance < 0)


class Summary(nn.Module):
    """LN(W x + b) over the channels of a head, one W for all heads."""

    def __init__(self, d: int, dims: Dims) -> None:
        super().__init__()
        self.project = nn.Linear(d, d)
        self.norm = nn.LayerNorm(d)
        INIT(self.project.weight, dims)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.project(x))


class Blocks(nn.Module):
    """Takes the stream and the state, the unfinished block and all slots of earlier blocks."""

    def __init__(self, dims: Dims, window: int, chunk: int) -> None:
        super().__init__()
        self.window, self.chunk, self.width = window, chunk, dims.heads * dims.d_v
        buckets = max(min(window // 2, 64), 16)
        self.bias = nn.Parameter(torch.randn(buckets))
        self.summary_q, self.summary_k = Summary(dims.d_k, dims), Summary(dims.d_k, dims)
        self.bucket: Tensor
        self.register_buffer("bucket", distance_buckets(window, buckets), persistent=False)
        self.sided: Tensor
        self.register_buffer("sided", sided_buckets(window, buckets), persistent=False)

    def state_floats(self, tokens: int) -> int:
        blocks, rest = divmod(tokens, self.window)
        return self.width * (3 * rest + 2 * blocks * self.window // self.chunk)

    def forward(self, s: Stream, state: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        now = {n: rearrange(y, "b t h c -> b h t c") for n, y in zip("qkv", (s.q, s.k, s.v))}
        now = {n: torch.cat([state[n], y], 2) if n in state else y for n, y in now.items()}
        n, t, scale = now["q"].shape[2], s.x.shape[1], s.q.shape[-1] ** -0.5
        q, k, v = (F.pad(y, (0, 0, 0, -n % self.window)) for y in now.values())  # b h n c
        slots = dict(zip(("kbar", "beta"), self.slots(q, k, v, scale)))  # b h m c
        slots = {n: torch.cat([state[n], y], 2) if n in state else y for n, y in slots.items()}
        weights = self.weights(q, k, slots["kbar"], scale)  # b h g w (w + m)
        near, far = weights.split([self.window, slots["kbar"].shape[2]], dim=-1)
        o = near @ self.blocks(v) + far @ slots["beta"].unsqueeze(2)  # b h g w v
        o = rearrange(o, "b h g w v -> b (g w) h v")[:, n - t : n]
        whole = n - n % self.window
        done = slots["kbar"].shape[2] - (q.shape[2] - whole) // self.chunk
        kept = {name: y[:, :, whole:].clone() for name, y in now.items() if n > whole}
        return o, kept | {name: y[:, :, :done].clone() for name, y in slots.items() if done}

    def two_sided(self, s: Stream) -> Tensor:
        """Blocks and chunks count from the first token, whatever the padding."""
        t, scale = s.x.shape[1], s.q.shape[-1] ** -0.5
        more = -t % self.window
        valid = s.x.new_ones(s.x.shape[:2], dtype=torch.bool) if s.valid is None else s.valid
        valid = F.pad(valid, (0, more))[:, None]  # b 1 n
        q, k, v = (F.pad(y.transpose(1, 2), (0, 0, 0, more)) for y in (s.q, s.k, s.v))  # b h n c
        q, k, v = (y.masked_fill(~valid.unsqueeze(-1), 0.0) for y in (q, k, v))
        kbar, beta = self.slots(q, k, v, scale, valid)  # b h m c
        near = self.blocks(q) @ self.blocks(k).mT + self.bias[self.sided]  # b h g w w
        near = (scale * near).masked_fill(~valid.unflatten(2, (-1, 1, self.window)), UNSEEN)
        full = valid.unflatten(2, (-1, self.chunk)).any(-1)[:, :, None, None]  # b 1 1 1 m
        far = (scale * self.blocks(q @ kbar.mT)).masked_fill(~full, UNSEEN)  # b h g w m
        near, far = torch.cat([near, far], -1).softmax(-1).split([self.window, full.shape[-1]], -1)
        o = near @ self.blocks(v) + far @ beta.unsqueeze(2)  # b h g w v
        return rearrange(o, "b h g w v -> b (g w) h v")[:, :t]

    def blocks(self, y: Tensor) -> Tensor:
        return rearrange(y, "b h (g w) c -> b h g w c", w=self.window)

    def slots(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """kbar and beta of every chunk, b h m c each. valid: b 1 n, or None where what is not full
        is never read."""
        q, k, v = (rearrange(y, "b h (m j) c -> b h m j c", j=self.chunk) for y in (q, k, v))
        kbar = self.summary_k(k.mean(-2))  # b h m c
        mu = kbar + self.summary_q(q.mean(-2))
        if self.training:
            mu = mu + torch.randn_like(mu)
        log_weight = torch.einsum("bhmc,bhmjc->bhmj", mu, k) - k.square().sum(-1) / 2
        log_weight = scale * log_weight  # b h m j
        if valid is not None:
            log_weight = log_weight.masked_fill(~valid.unflatten(2, (-1, self.chunk)), UNSEEN)
        return kbar, torch.einsum("bhmj,bhmjc->bhmc", log_weight.softmax(-1), v)

    def weights(self, q: Tensor, k: Tensor, kbar: Tensor, scale: float) -> Tensor:
        """Softmax over the tokens of the own block, then all slots."""
        w, position = self.window, torch.arange(self.window, device=q.device)
        distance = position[:, None] - position  # w w
        bias = self.bias[self.bucket[distance.clamp(min=0)]]
        near = scale * (self.blocks(q) @ self.blocks(k).mT + bias)  # b h g w w
        near = near.masked_fill(distance < 0, -math.inf)
        far = scale * self.blocks(q @ kbar.mT)  # b h g w m
        slot = torch.arange(kbar.shape[2], device=q.device)
        earlier = kbar.shape[2] - q.shape[2] // self.chunk  # slots of earlier blocks
        own = earlier + torch.arange(q.shape[2], device=q.device).view(-1, w, 1) // self.chunk
        return torch.cat([near, far.masked_fill(slot >= own, -math.inf)], -1).softmax(-1)


def blocks(window: int, chunk: int) -> maps.Built:
    written = f"softmax over blocks of {window} and slots of {chunk}"
    return maps.Built(written, lambda dims: Blocks(dims, window, chunk))


SPEC = Spec(
    label="EVA",
    paper="arXiv 2302.04542",
    family="softmax",
    state=state,
    f_q=maps.linear("q", bias=True, init=INIT),
    f_k=maps.linear("k", bias=True, init=INIT),
    f_v=maps.linear("v", bias=True, init=INIT),
    f_alpha=maps.keep(),
    w_o=maps.from_zero(maps.output(bias=True, init=maps.xavier(1.0))),
    mix=blocks(128, 8),
    by_design={"state bytes": "a slot for every chunk is kept: outside C0"},
    channel="mlp_relu",
    block_norm="layer",
)

VARIANTS = {"small": lambda spec: replace(spec, mix=blocks(16, 4))}
