"""Every model and every variant against a loop written from its paper, in float64, random weights.

The loops share no code with zoo, so a shared mistake would have to be made twice. Errors are
relative over the whole tensor; both sides are float64, and 1e-10 leaves room for some hundred sums.
"""

from pathlib import Path

import pytest
import torch

import zoo
from tests.paper_loops import Case, attention, based, gla, linformer, metala
from tests.paper_loops_vector import hgrn, mamba, rwkv4
from zoo.mixer import Mixer

LOOPS = {
    "attention": attention,
    "based": based,
    "gla": gla,
    "hgrn": hgrn,
    "linformer": linformer,
    "mamba": mamba,
    "metala": metala,
    "rwkv4": rwkv4,
}

MODELS = Path(zoo.__file__).parent / "models"
OWN = [name for name in zoo.names() if (MODELS / f"{name}.py").exists()]
ALL = [full for n in OWN for full in (n, *(f"{n}:{v}" for v in zoo.variants(n)))]
COMPOSED = ["metala:mqar+no_aug", "metala:mqar+no_conv", "metala:mqar+with_key+conv2"]
WIDTH = {"attention": 128, "based": 128}  # the first width at which they have two heads
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)  # conftest puts float32 back


def made(name, conv="own", layer=2, depth=3):
    """A mixer with every parameter random, and what the loop needs to know about it."""
    d = WIDTH.get(name.partition(":")[0], 32)
    mixer = Mixer(zoo.load(name), d, layer=layer, depth=depth, conv=conv)
    with torch.no_grad():
        for parameter in mixer.parameters():
            wide = parameter.dim() == 2 and parameter.shape[1] > 8
            parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5 if wide else 0.5)
    variants = frozenset(name.partition(":")[2].split("+"))
    sizes = mixer.dims
    return mixer, Case(sizes.heads, sizes.d_k, sizes.d_v, layer, conv, variants)


def both(name, mixer, case, t=6):
    """Parameters by name, x, the mixer's output and the loop's, for two examples of t tokens."""
    d, spec = mixer.dims.d, mixer.spec
    shared = {} if spec.shared is None else dict(spec.shared(mixer.dims.depth, d))
    shared = {n: torch.randn_like(y).requires_grad_() for n, y in shared.items()}
    p = {**dict(mixer.named_parameters()), **{f"shared.{n}": y for n, y in shared.items()}}
    x = torch.randn(2, t, d, requires_grad=True)
    y, _ = mixer(x, shared=shared)
    model = name.partition(":")[0]
    assert model in LOOPS, f"write a loop for {model} from its paper and add it to LOOPS"
    return p, x, y, torch.stack([LOOPS[model](p, example, case) for example in x])


def relative(ours, theirs, least=0.0):
    return ((ours - theirs).norm() / theirs.norm().clamp(min=least)).item()


@pytest.mark.parametrize("conv", ["own", "none", "k2", "k2-silu", "k4-silu"])
@pytest.mark.parametrize("name", ALL + COMPOSED)
def test_output_is_the_paper_loops(name, conv):
    _, _, y, loop = both(name, *made(name, conv))
    assert relative(y, loop) <= TOLERANCE


@pytest.mark.parametrize("name", ALL + COMPOSED)
def test_gradients_are_the_paper_loops(name):
    p, x, y, loop = both(name, *made(name))
    w = torch.randn_like(y)
    inputs = {"x": x, **p}
    ours, theirs = (torch.autograd.grad((o * w).sum(), list(inputs.values())) for o in (y, loop))
    # The bias of softmax keys has gradient 0; 1e-3 of the largest gradient stands in for it.
    least = 1e-3 * max(g.norm().item() for g in theirs)
    errors = {n: relative(a, b, least) for n, a, b in zip(inputs, ours, theirs)}
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.mark.parametrize("name", ["hgrn", "hgrn:real", "rwkv4"])
def test_first_layer_is_the_paper_loops(name):
    _, _, y, loop = both(name, *made(name, layer=0, depth=1))
    assert relative(y, loop) <= TOLERANCE


@pytest.mark.parametrize("name", OWN)
def test_more_tokens_than_a_chunk_are_the_paper_loops(name):
    _, _, y, loop = both(name, *made(name), t=70)
    assert relative(y, loop) <= TOLERANCE


@pytest.mark.parametrize("name", ALL)
def test_one_token_is_the_paper_loops(name):
    _, _, y, loop = both(name, *made(name), t=1)
    assert relative(y, loop) <= TOLERANCE


def test_rwkv4_with_keys_beyond_the_range_of_float32_is_the_paper_loop():
    """exp of a log key above 88 would be infinite in float32, and every result with it."""
    mixer, case = made("rwkv4")
    with torch.no_grad():
        mixer.get_parameter("f_k.inner.inner.weight").mul_(40)
    p, x, y, loop = both("rwkv4", mixer, case, t=40)
    assert (x @ p["f_k.inner.inner.weight"].T).max() > 88
    assert relative(y, loop) <= TOLERANCE
