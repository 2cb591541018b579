"""What one token weighs in what another reads, for `delta`: by head from a table, or by channel.

Two readers and two writers, n b h c k each. A weight is a product of the decays between two tokens,
made of factors that are at most 1 and in which nothing cancels.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from zoo.scan.chunks import faintest, least, lower, sums
from zoo.scan.scalar import products

Two = tuple[Tensor, Tensor]
Square = list[list[Tensor]]  # of each reader (row) and each writer (column), n b h c c
Gradients = tuple[list[Tensor], list[Tensor], Tensor | None]  # of readers, writers, log decays


class ByHead:
    """One decay for all key channels, log: n b h c 1, b may be 1; None: no decay."""

    def __init__(self, log: Tensor | None, readers: Two, writers: Two) -> None:
        self.readers, self.writers, like = readers, writers, readers[0]
        self.c = like.shape[3]
        self.since = self.until = None
        self.whole = like.new_ones(len(like), 1, 1, 1, 1)
        self.table = lower(self.c, 0, like.dtype, like.device)
        if log is not None:
            self.since, between = products(log.clamp(min=faintest(log.dtype, 2)))  # n b h c 1, c c
            self.until, self.table = between[..., -1:, :].mT, between.tril()
            self.whole = self.since[..., -1:, :]

    def far(self, x: Tensor) -> Tensor:
        """Readers times the decay since the chunk began."""
        return x if self.since is None else x * self.since

    def late(self, y: Tensor) -> Tensor:
        """Writers times the decay to the chunk's end."""
        return y if self.until is None else y * self.until

    def pairs(self) -> Square:
        return [[(x @ y.mT).mul_(self.table) for y in self.writers] for x in self.readers]

    def back(self, A: Square, heard: Two, values: Two) -> Gradients:
        """Where readers hear A times values. A: pairs(); heard: gradients of that."""
        dA = [[x @ y.mT for y in values] for x in heard]
        dlog = None
        if self.since is not None:
            M = torch.addcmul(A[0][0] * dA[0][0], A[0][1], dA[0][1])
            M = M.addcmul_(A[1][0], dA[1][0]).addcmul_(A[1][1], dA[1][1])
            here, before = (lower(self.c, i, M.dtype, M.device) for i in (0, 1))
            dlog = (sums(here.T, M) * before).sum(4, keepdim=True)  # pairs j < t <= i
        dA = [[x.mul_(self.table) for x in row] for row in dA]
        dx = [(x @ self.writers[0]).add_(y @ self.writers[1]) for x, y in dA]
        columns = zip(*dA, strict=True)
        return dx, [(x.mT @ self.readers[0]).add_(y.mT @ self.readers[1]) for x, y in columns], dlog


class ByChannel:
    """A decay per key channel, log: n b h c k, c a power of two.

    A pair of tokens is taken in the one span of 2, 4, 8 ... tokens that has them in different
    halves: its reader brings the decays of the later half up to itself, its writer those of the
    earlier half behind itself.
    """

    def __init__(self, log: Tensor, readers: Two, writers: Two) -> None:
        self.c = log.shape[3]
        self.readers, self.writers = readers, writers
        self.X, self.Y = torch.stack(readers, dim=4), torch.stack(writers, dim=4)  # n b h c 2 k
        x = sums(exponents(self.c, log.dtype, log.device), log.clamp(min=least(log.dtype)))
        x = x.clamp_(min=faintest(log.dtype, 2)).exp_()
        *self.spans, self.since, self.until, whole = x.split(self.c, dim=3)  # n b h c k
        self.whole = whole.mT  # n b h k 1

    def far(self, x: Tensor) -> Tensor:
        return x * self.since

    def late(self, y: Tensor) -> Tensor:
        return y * self.until

    def pairs(self) -> Square:
        A = self.X.new_empty(*self.X.shape[:3], 2, 2, self.c, self.c)
        A.copy_(torch.diag_embed((self.X @ self.Y.mT).permute(0, 1, 2, 4, 5, 3)))  # own weights
        for i, factors in enumerate(self.spans):
            near, key = halves(self.X, self.Y, 2**i, factors)
            pieces(A, 2**i).copy_(split(near @ key.mT))
        return [list(row.unbind(3)) for row in A.unbind(3)]

    def back(self, A: Square, heard: Two, values: Two) -> Gradients:
        G, V = torch.stack(heard, dim=4), torch.stack(values, dim=4)  # n b h c 2 v
        own = (G @ V.mT).unsqueeze(6)  # n b h c 2 2 1
        dX = torch.addcmul(
            own[:, :, :, :, :, 0] * self.Y[:, :, :, :, :1],
            own[:, :, :, :, :, 1],
            self.Y[:, :, :, :, 1:],
        )
        dY = torch.addcmul(
            own[:, :, :, :, 0] * self.X[:, :, :, :, :1], own[:, :, :, :, 1], self.X[:, :, :, :, 1:]
        )
        dlogs = []
        for i, factors in enumerate(self.spans):
            m = 2**i
            near, key = halves(self.X, self.Y, m, factors)
            d = half(G, m, 1).flatten(4, 5) @ half(V, m, 0).flatten(4, 5).mT  # n b h g (m 2) (m 2)
            dnear, dkey = (d @ key).unflatten(4, (m, 2)), (d.mT @ near).unflatten(4, (m, 2))
            near, key = near.view_as(dnear), key.view_as(dkey)
            moved = torch.stack([both(key, dkey), both(near, dnear)], dim=4)  # n b h g 2 m k
            dlogs.append(moved.flatten(3, 5))
            half(dX, m, 1).addcmul_(dnear, half(factors, m, 1).unsqueeze(5))
            half(dY, m, 0).addcmul_(dkey, half(factors, m, 0).unsqueeze(5))
        mask = exponents(self.c, G.dtype, G.device)[: len(dlogs) * self.c].T
        return list(dX.unbind(4)), list(dY.unbind(4)), sums(mask, torch.cat(dlogs, dim=3))


def both(x: Tensor, dx: Tensor) -> Tensor:
    """x dx, the last axis but one summed, which is two long."""
    return torch.addcmul(x[..., 0, :] * dx[..., 0, :], x[..., 1, :], dx[..., 1, :])


def half(x: Tensor, m: int, later: int) -> Tensor:
    """x: n b h c ... -> n b h g m ..., one half of every span of 2 m tokens."""
    return x.unflatten(3, (-1, 2, m))[:, :, :, :, later]


def halves(X: Tensor, Y: Tensor, m: int, factors: Tensor) -> Two:
    """Readers of the later halves and writers of the earlier ones, n b h g (m 2) k."""
    near = half(X, m, 1) * half(factors, m, 1).unsqueeze(5)
    key = half(Y, m, 0) * half(factors, m, 0).unsqueeze(5)
    return near.flatten(4, 5), key.flatten(4, 5)


def pieces(A: Tensor, m: int) -> Tensor:
    """A: n b h 2 2 c c -> n b h 2 2 m m g, of every span the later rows and the earlier columns."""
    A = A.unflatten(6, (-1, 2, m)).unflatten(5, (-1, 2, m))
    return A.select(9, 0).select(6, 1).diagonal(0, 5, 7)


def split(a: Tensor) -> Tensor:
    """n b h g (m 2) (m 2) -> n b h 2 2 m m g."""
    m = a.shape[4] // 2
    return a.unflatten(5, (m, 2)).unflatten(4, (m, 2)).permute(0, 1, 2, 5, 7, 4, 6, 3)


@functools.lru_cache(maxsize=64)
def exponents(c: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix that turns the log decays of a chunk into exponents, (log2 c + 2) c + 1 rows: c
    for every span, c since the chunk began, c until it ends, 1 for all of it."""
    with torch.inference_mode(False):
        i, j = torch.arange(c, device=device).unsqueeze(1), torch.arange(c, device=device)
        masks = []
        for m in (2**x for x in range(c.bit_length() - 1)):
            middle = i // (2 * m) * (2 * m) + m
            masks.append(((middle <= j) & (j <= i)) | ((i < j) & (j < middle)))
        return torch.cat([*masks, j <= i, j > i, j[None] >= 0]).to(dtype)
