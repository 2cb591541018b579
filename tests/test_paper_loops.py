"""Every model and every variant against a loop written from its paper, in float64, random weights.

The loops share no code with zoo, so a shared mistake would have to be made twice. Errors are
relative over the whole tensor; both sides are float64, and 1e-10 leaves room for some hundred sums.
"""

import importlib
from pathlib import Path

import pytest
import torch

import zoo
from tests.paper_loops import Case
from zoo.mixer import Mixer

LOOPS = {}
for path in sorted(Path(__file__).parent.glob("paper_loops*.py")):
    LOOPS |= importlib.import_module(f"tests.{path.stem}").LOOPS

MODELS = Path(zoo.__file__).parent / "models"
OWN = [name for name in zoo.names() if (MODELS / f"{name}.py").exists()]
ALL = [full for n in OWN for full in (n, *(f"{n}:{v}" for v in zoo.variants(n)))]
COMPOSED = ["metala:mqar+no_aug", "metala:mqar+no_conv", "metala:mqar+with_key+conv2"]
# The first width at which they have two heads.
WIDTH = {
    "attention": 128,
    "based": 128,
    "delta_net": 256,
    "eva": 128,
    "hgrn2": 256,
    "inline": 64,
    "kda": 256,
    "mamba2": 64,
    "performer": 128,
    "rfa": 128,
    "rwkv6": 128,
    "rwkv7": 128,
    "zeros": 128,
}
TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)  # conftest puts float32 back


def made(name, conv="own", layer=2, depth=3):
    """A mixer with every parameter random, and what the loop needs to know about it."""
    d = WIDTH.get(name.partition(":")[0], 32)
    mixer = Mixer(zoo.load(name), d, layer=layer, depth=depth, conv=conv).eval()
    with torch.no_grad():
        for parameter in mixer.parameters():
            wide = parameter.dim() == 2 and parameter.shape[1] > 8
            parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5 if wide else 0.5)
    variants = frozenset(name.partition(":")[2].split("+"))
    sizes = mixer.dims
    return mixer, Case(sizes.heads, sizes.d_k, sizes.d_v, layer, conv, variants, depth)


def both(name, mixer, case, t=6):
    """Parameters and buffers by name, x, the mixer's output and the loop's: two examples of t."""
    d, spec = mixer.dims.d, mixer.spec
    shared = {} if spec.shared is None else dict(spec.shared(mixer.dims.depth, d))
    shared = {n: torch.randn_like(y).requires_grad_() for n, y in shared.items()}
    p = {**dict(mixer.named_parameters()), **{f"shared.{n}": y for n, y in shared.items()}}
    p |= dict(mixer.named_buffers())
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
    inputs = {"x": x, **{n: parameter for n, parameter in p.items() if parameter.requires_grad}}
    # EVA's summaries are not used before a chunk is full.
    ours, theirs = (
        torch.autograd.grad((o * w).sum(), list(inputs.values()), materialize_grads=True)
        for o in (y, loop)
    )
    # The bias of softmax keys has gradient 0; 1e-3 of the largest gradient stands in for it.
    least = 1e-3 * max(g.norm().item() for g in theirs)
    errors = {n: relative(a, b, least) for n, a, b in zip(inputs, ours, theirs)}
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.mark.parametrize(
    "name", ["hgrn", "hgrn:real", "hgrn2", "rwkv4", "rwkv6", "zeros:zero_order"]
)
def test_first_layer_is_the_paper_loops(name):
    _, _, y, loop = both(name, *made(name, layer=0, depth=1))
    assert relative(y, loop) <= TOLERANCE


@pytest.mark.parametrize("place", ["0/1", "0/2", "1/2", "0/4", "1/4", "3/4"])
@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("transnormerllm")])
def test_constants_of_a_layer_are_the_paper_loops(name, place):
    layer, depth = map(int, place.split("/"))
    _, _, y, loop = both(name, *made(name, layer=layer, depth=depth))
    assert relative(y, loop) <= TOLERANCE


@pytest.mark.parametrize("name", [*OWN, "eva:small", "transnormer:diag"])
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
