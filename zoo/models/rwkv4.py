"""RWKV-4 (Peng et al. 2023, arXiv 2305.13048): exponential keys, fixed decay, a bonus.

As in BlinkDL/RWKV-LM RWKV-v4neo/src/model.py, class RWKV_TimeMix, with cuda/wkv_cuda.cu. The MetaLA
paper's row omits token shift, bonus and denominator. The newest past token is undecayed
(read="before"). Not reproduced: the learning rates of w (x2) and u (x3).
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from zoo import maps, rwkv
from zoo.spec import Decay, Dims, Normaliser, Spec, State, Stream


def mixing(power: float, offset: float) -> Callable[[Dims], Tensor]:
    """(c/d)^(power (1 - layer/depth)) + offset * depth ratio, the initial mu of a token shift."""
    return lambda dims: rwkv.rising(dims, power) + offset * rwkv.depth_ratio(dims)


class FixedDecay(nn.Module):
    """alpha = exp(-exp(w)), one fixed value per channel."""

    formula = "exp(-e^w)"
    no_decay = ("w",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.w = nn.Parameter(rwkv.speeds(dims, -5, 8))  # h

    def forward(self, s: Stream) -> Decay:
        return Decay(rate=maps.at_least_float32(self.w).exp().unsqueeze(-1))  # h 1


class Bonus(nn.Module):
    """u, added to the log key of the current token."""

    formula = "e^u"
    no_decay = ("u",)

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.u = nn.Parameter(math.log(0.3) + 0.5 * rwkv.zigzag(dims.heads))

    def forward(self, s: Stream) -> Tensor:
        return maps.at_least_float32(self.u).unsqueeze(-1)  # h 1


class LogKey(nn.Module):
    """log k = shift(x) W_k in float32; the Mixer takes the exponential under a running maximum."""

    formula = "exp(shift(x) W_k)"

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.inner = rwkv.token_shift(maps.linear("k", init=maps.zeros), mixing(1.0, 0.0))(dims)

    def forward(self, s: Stream) -> Tensor:
        return maps.at_least_float32(self.inner(s))  # b t h 1


SPEC = Spec(
    label="RWKV-4",
    paper="arXiv 2305.13048",
    family="linear RNN",
    state=lambda d: State(d, 1, 1),
    f_q=maps.ones("q"),
    f_k=LogKey,
    f_v=rwkv.token_shift(maps.linear("v", init=maps.orthogonal(1.0)), mixing(1.0, 0.3)),
    f_alpha=FixedDecay,
    bonus=Bonus,
    f_g=rwkv.token_shift(maps.linear("g", activation="sigmoid", init=maps.zeros), mixing(0.5, 0.0)),
    w_o=maps.output(init=maps.zeros),
    read="before",
    normaliser=Normaliser("add", 0.0),
    log_keys=True,
    channel="relu2_receptance",
    block_norm="layer",
    model_init="rwkv",
)
