"""Operations for one token: against torch's own counter, against parameters, and by hand."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo
from runners import flops, lm
from zoo.model import Model

D, DEPTH, VOCABULARY, LENGTH = 32, 2, 50, 64
WHOLE = ("eva",)  # mixers that are counted on the whole sequence


def made(name: str, device: str = "cpu", **given: object) -> Model:
    options = {"vocabulary": VOCABULARY, "d_model": D, "depth": DEPTH, "channel_mixer": "swiglu"}
    with torch.device(device):
        return Model(zoo.load(name), **options | given)  # pyright: ignore


def counted(model: Model, rows: int) -> int:
    """torch's count of a forward pass of single tokens, for which the reference loop runs."""
    tokens = torch.zeros(rows, 1, dtype=torch.int64)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(tokens)
    return counter.get_total_flops()


def read_by_loop(model: Model) -> int:
    """The matrix products of the loop: q S, and where there is an erase read S. Those of attention
    are in a kernel that torch does not count on a CPU."""
    found = 0
    for mixer in model.mixers():
        d_v = mixer.dims.d_v + (mixer.spec.normaliser is not None)
        products = 0 if mixer.spec.mix == "softmax" else 1 + (mixer.erase is not None)
        found += 2 * products * mixer.dims.heads * mixer.dims.d_k * d_v
    return found


@pytest.mark.parametrize("name", [name for name in zoo.names() if name not in WHOLE])
def test_products_of_matrices_are_those_that_torch_counts(name):
    torch.manual_seed(0)
    model = made(name).eval().requires_grad_(False)
    one_token = counted(model, 2) - counted(model, 1)
    found = flops.count(model, LENGTH)
    assert found.products + found.head == one_token - read_by_loop(model)


@pytest.mark.parametrize("name", ["attention", "linformer", "gla", "retnet", "hgrn:real"])
def test_a_matrix_costs_twice_its_entries(name):
    model = made(name, "meta")
    shared = sum(parameter.numel() for parameter in model.shared.values())
    entries = sum(p.numel() for p in model.parameters() if p.dim() == 2) - shared
    found = flops.count(model, LENGTH)
    assert found.products + found.head == 2 * entries
    assert found.head == 2 * VOCABULARY * D


MIXING = {
    # Every earlier token and itself: on average half of the length, q k and weights v.
    "attention": 2 * 2 * D * (LENGTH + 1) / 2,
    # 8 heads of 2 x 4, and a decay for each entry.
    "metala": (4 + 1) * 8 * 2 * 4,
    # 16 states for each of 2d channels.
    "mamba": (4 + 1) * 2 * D * 16,
    # One head: read and erased before it is written and read.
    "delta_net": 8 * D * D,
    # 2 transforms of 2 T points for each channel.
    "s4d": 2 * D * 2.5 * 2 * math.log2(2 * LENGTH),
    # Numerator and denominator of each channel.
    "rwkv4": (4 + 1) * D * 2,
}


@pytest.mark.parametrize("name", MIXING)
def test_mixing_is_what_the_recurrence_multiplies(name):
    assert flops.count(made(name, "meta"), LENGTH).mixing == DEPTH * MIXING[name]


def test_linear_attention_has_a_channel_more_for_its_normaliser():
    state = zoo.load("linformer").state(D)
    products = 4 * state.heads * state.d_k * (state.d_v + 1)
    assert flops.count(made("linformer", "meta"), LENGTH).mixing == DEPTH * products


@pytest.mark.parametrize("name", zoo.names())
def test_a_longer_sequence_costs_a_token_more_of_attention_and_of_transforms_alone(name):
    model = made(name, "meta")
    # A block of EVA has 128 tokens.
    short, long = (flops.count(model, length) for length in (128, 512))
    grows = model.spec.mix != "scan" or any(m.backend_ran == "fft" for m in ran(model))
    assert (long.forward > short.forward) if grows else (long == short)


def ran(model: Model) -> list:
    """Its mixers after a pass."""
    model(torch.zeros(1, 2, dtype=torch.int64, device="meta"))
    return model.mixers()


@pytest.mark.parametrize(("conv", "taps"), [("own", 4), ("k2", 2), ("none", 0)])
def test_a_convolution_costs_two_operations_for_each_tap(conv, taps):
    found = flops.count(made("metala", "meta", conv=conv), LENGTH)
    assert found.convolution == DEPTH * 2 * D * taps


def test_backward_makes_two_products_for_each_of_forward():
    torch.manual_seed(0)
    model, rows = made("attention"), 3
    tokens = torch.zeros(rows, LENGTH, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        lm.loss(model, (tokens, tokens)).backward()
    products = {"mm", "addmm", "bmm"}
    each = counter.get_flop_counts()["Global"].items()
    of_matrices = sum(n for op, n in each if str(op).split(".")[-1] in products)
    found = flops.count(model, LENGTH)
    assert of_matrices == 3 * rows * LENGTH * (found.products + found.head)
    assert found.training == 3 * found.forward == flops.per_token(model, LENGTH)


def test_counting_leaves_the_model_and_the_generator_alone():
    torch.manual_seed(0)
    model = made("eva").train()
    weights, generator = model.state_dict(), torch.get_rng_state()
    flops.per_token(model, 8)
    assert model.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(w.device.type == "cpu" for w in model.parameters())
    assert all(torch.equal(w, weights[name]) for name, w in model.state_dict().items())


def test_a_backend_for_gpus_is_counted_without_one():
    named, auto = (made("metala", "meta", backend=name) for name in ("triton_matrix", "auto"))
    assert flops.count(named, LENGTH) == flops.count(auto, LENGTH)
