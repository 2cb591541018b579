"""T-RNN, the strongly typed recurrent network (Balduzzi & Ghifary 2016, arXiv 1602.02218).

v = x W, alpha = sigmoid(x V + b), k = 1 - alpha, the state is the output: no q, no gate, no W_O. As
published. The authors left no code; as in PFCM/typed-rnn typedrnn/typedrnn.py, where W, V and b
start from N(0, 0.1), and whose ptb_trnn.py stacks this layer alone, without channel mixers.
"""

from torch import nn

from zoo import maps
from zoo.spec import Dims, Spec, State

INIT = maps.normal(0.1)


def forget(dims: Dims) -> nn.Module:
    module = maps.linear("alpha", bias=True, init=INIT)(dims)
    nn.init.normal_(module.get_parameter("bias"), std=0.1)
    return module


SPEC = Spec(
    label="T-RNN",
    paper="arXiv 1602.02218",
    family="linear RNN",
    state=lambda d: State(d, 1, 1),
    f_q=maps.ones("q"),
    f_k=maps.one_minus_alpha(),
    f_v=maps.linear("v", init=INIT),
    f_alpha=maps.sigmoid_decay(maps.Built("u W_α + b_α", forget)),
    w_o=maps.identity_output(),
    channel="none",
)
