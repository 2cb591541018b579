"""Floating-point operations that a model needs for one token, counted from what it multiplies.

A multiply and add is two operations. Counted are the products of matrices (projections, channel
mixers, head), those of the recurrence or of attention, the decay of the state, and short
convolutions. Norms, activations, gates, rotations, sums of the residual stream and what parameters
alone decide (once for all tokens of a pass) are left out.

The cost is the model's own: of a recurrence its products per token, whichever backend runs it.
Chunked algorithms spend more to be faster, and softmax kernels that do not skip the future do.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runners import bench_counts
from runners.bench_shapes import Shape
from zoo.mixer import Mixer
from zoo.model import Model
from zoo.scan import fft
from zoo.spec import Decay

# Backward makes the gradient of both factors of every product.
TRAINING = 3
# Tokens of a counted pass; with a single one no backend would be chosen by its kind of decay.
PASS = 2


@dataclass(frozen=True)
class Flops:
    """Of one token in a forward pass, on average over the positions of a sequence.

    products: of matrices, the head aside. mixing: what reads and writes the state or, of softmax,
    all earlier tokens. convolution: short ones, written as shifted products.
    """

    products: float
    head: float
    mixing: float
    convolution: float

    @property
    def forward(self) -> float:
        return self.products + self.head + self.mixing + self.convolution

    @property
    def training(self) -> float:
        """Of a forward and a backward pass."""
        return TRAINING * self.forward


def per_token(model: Model, seq_len: int) -> float:
    """Of one token in training, forward and backward, in sequences of so many tokens."""
    return count(model, seq_len).training


def count(model: Model, seq_len: int) -> Flops:
    """Counts on a copy without memory; draws no random numbers.

    A mixer that is neither a recurrence nor attention (EVA) is counted as it runs on the whole
    sequence.
    """
    ghost = without_memory(model)
    length = seq_len if any(mixer.mix is not None for mixer in ghost.mixers()) else PASS
    kinds = noted_kinds(ghost)
    # The difference between two batches: what is done once for a pass falls out.
    products = (matrices(ghost, 2, length) - matrices(ghost, 1, length)) / length
    head = 2.0 * ghost.head_weight.numel()
    mixing = sum(mixed(mixer, kinds[mixer], seq_len) for mixer in ghost.mixers())
    return Flops(products - head, head, mixing, convolutions(ghost))


def without_memory(model: Model) -> Model:
    """The same modules with tensors that have a shape alone."""
    memo: dict[int, object] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = tensor.detach().to("meta")
        parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, requires_grad=False) if parameter else empty
    ghost = copy.deepcopy(model, memo)
    for mixer in ghost.mixers():
        mixer.backend = "auto"  # a kernel for a GPU refuses tensors without memory
    return ghost


def noted_kinds(model: Model) -> dict[Mixer, str]:
    """Filled by the next forward pass: of which kind each mixer's decay is."""
    kinds: dict[Mixer, str] = {}

    def note(mixer: Mixer) -> None:
        def see(module: nn.Module, given: object, decay: Decay) -> None:
            kinds[mixer] = decay.kind

        mixer.f_alpha.register_forward_hook(see)

    for mixer in model.mixers():
        note(mixer)
    return kinds


@torch.no_grad()
def matrices(model: Model, rows: int, length: int) -> int:
    """Products of matrices in a forward pass, without those by which a mixer itself reads a state
    or attends: what `mixed` counts."""
    tokens = torch.zeros(rows, length, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(tokens)
    found = {name: sum(each.values()) for name, each in counter.get_flop_counts().items()}
    total = found["Global"]
    for name, module in model.named_modules(prefix=type(model).__name__):
        if isinstance(module, Mixer):
            of_maps = sum(found.get(f"{name}.{child}", 0) for child, _ in module.named_children())
            total -= found.get(name, 0) - of_maps
    return total


def mixed(mixer: Mixer, kind: str, seq_len: int) -> float:
    """Of one token, after a pass: reads and writes of the state and its decay.

    Softmax attention: two products with each token so far, half of the sequence on average.
    """
    dims, spec = mixer.dims, mixer.spec
    if mixer.mix is not None:
        return 0.0  # among the products of matrices
    if spec.mix == "softmax":
        return 2.0 * dims.heads * (dims.d_k + dims.d_v) * (seq_len + 1) / 2
    d_v = dims.d_v + (spec.normaliser is not None)
    static = mixer.backend_ran == fft.NAME
    shape = Shape("", "static" if static else kind, 1, seq_len, dims.heads, dims.d_k, d_v)
    both = bench_counts.flops(replace(shape, erases=mixer.erase is not None)) / seq_len
    if static:
        return both / 2  # two transforms in each pass
    decay = 0 if kind == "keep" else dims.heads * dims.d_k * d_v
    return both / TRAINING + decay


def convolutions(model: Model) -> float:
    """Of one token: two operations for every tap of the depthwise convolutions that have taps."""
    taps = 0
    for module in model.modules():
        kernel = getattr(module, "kernel", 0)
        own = module.parameters(recurse=False)
        taps += sum(w.numel() for w in own if w.dim() == 2 and w.shape[1] == kernel)
    return 2.0 * taps
