"""Channel mixers and block norms alone, against official code and formulas.

golden_blocks/<channel mixer>.json holds what the official class returned for random weights, in the
format of golden/: float64, weights and inputs exact decimals, results with 12 significant digits.
"""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from zoo.blocks import CHANNEL_MIXERS, ChannelMix, Place
from zoo.norms import NORMS, BatchNorm

FOLDER = Path(__file__).parent
TOLERANCE = 1e-11  # as in test_golden.py
SHIFTED = ("relu2", "relu2_receptance", "relu2_receptance_3.5")


def read(name, folder="golden_blocks"):
    return json.loads((FOLDER / folder / f"{name.replace(':', '.')}.json").read_text())


def tensor(packed):
    return torch.tensor(packed["values"], dtype=torch.float64).reshape(packed["shape"])


def glu(p):
    """l1 goes through the activation, l2 does not (l3 leads out)."""
    return {"up.weight": torch.cat([p["l1.weight"], p["l2.weight"]]), "down.weight": p["l3.weight"]}


def geglu(p):
    return {
        "up.weight": p["ffw_up.w"].transpose(1, 2).flatten(0, 1),
        "up.bias": p["ffw_up.b"].flatten(),
        "down.weight": p["ffw_down.weight"],
        "down.bias": p["ffw_down.bias"],
    }


def mlp(p):
    layers = {"fc1": "linear1", "fc2": "linear2"}
    return {f"{ours}.{e}": p[f"{n}.{e}"] for ours, n in layers.items() for e in ("weight", "bias")}


def channel_mix(p):
    """RWKV-6 and 7 write 1 - mu."""
    ours = {n: p[n] for n in ("key.weight", "value.weight", "receptance.weight") if n in p}
    for slot in "kr":
        if f"time_mix_{slot}" in p:
            ours[f"mu_{slot}"] = p[f"time_mix_{slot}"].flatten()
        for other in (f"time_maa_{slot}", f"x_{slot}"):
            if other in p:
                ours[f"mu_{slot}"] = 1 - p[other].flatten()
    return ours


NAMES = {"glu": glu, "swiglu": glu, "geglu": geglu, "mlp_relu": mlp} | dict.fromkeys(
    SHIFTED, channel_mix
)


def build(name, d, layer=0, depth=1):
    return CHANNEL_MIXERS[name](Place(d, layer, depth)).double()


def apply(module, x):
    y = module(x)
    return y[0] if isinstance(module, ChannelMix) else y


def perturbed(module):
    """Every parameter off its initial value, so that a matrix of zeros hides nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", NAMES)
def test_channel_mixer_and_every_gradient_are_the_official_ones(name):
    golden = read(name)
    module = build(name, golden["dims"]["d_model"], **golden["options"])
    leaves = {n: tensor(p).requires_grad_() for n, p in golden["parameters"].items()}
    x, ours = tensor(golden["x"]).requires_grad_(), NAMES[name](leaves)
    shapes = {n: p.shape for n, p in module.named_parameters()}
    assert {n: p.shape for n, p in ours.items()} == shapes
    y = functional_call(module, ours, (x,))
    y = y[0] if name in SHIFTED else y
    got = torch.autograd.grad((y * tensor(golden["w"])).sum(), [x, *leaves.values()])
    results = dict(zip(["y", "x", *leaves], [y, *got]))
    for n, packed in {"y": golden["y"], "x": golden["gradient_x"], **golden["gradients"]}.items():
        theirs = tensor(packed)
        assert (results[n] - theirs).norm() / theirs.norm() <= TOLERANCE, n


def test_every_golden_file_is_small_and_used():
    files = {file.stem: file for file in (FOLDER / "golden_blocks").glob("*.json")}
    assert set(files) == set(NAMES)
    for name, file in files.items():
        assert file.stat().st_size <= 150_000
        assert all(read(name)["source"][n] for n in ("repository", "commit", "file", "class"))


@pytest.mark.parametrize("place", ["0/2", "1/2", "1/3", "5/12"])
@pytest.mark.parametrize("name", SHIFTED)
def test_mu_starts_from_the_official_table(name, place):
    table = read(name)["initialisation"]["tables_d_model_8"][place]
    layer, depth = map(int, place.split("/"))
    module = build(name, 8, layer, depth)
    for slot, mu in channel_mix({n: torch.tensor(v).double() for n, v in table.items()}).items():
        torch.testing.assert_close(module.get_parameter(slot), mu, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", SHIFTED)
def test_shifted_matrices_start_as_the_official_model_leaves_them(name):
    official = read(name)["initialisation"]
    module = build(name, official["d_model"], official["layer"], official["depth"])
    eye = torch.eye(official["d_model"], dtype=torch.float64)
    key = module.get_parameter("key.weight")
    torch.testing.assert_close(key.T @ key, official["key_gain"] ** 2 * eye, atol=1e-5, rtol=0)
    for n, p in module.named_parameters():
        if n in ("value.weight", "receptance.weight"):
            assert official["in_model"][f"blocks.1.ffn.{n}"]["std"] == p.abs().max() == 0
            assert official["in_model"][f"blocks.1.ffn.{n}"]["shape"] == list(p.shape)


def test_geglu_starts_with_the_official_spread():
    official = read("geglu")["initialisation"]
    module = build("geglu", official["d_model"], 0, official["depth"])
    for ours, theirs in (("up.weight", "ffw_up.w"), ("down.weight", "ffw_down.weight")):
        p, s = module.get_parameter(ours), official["alone"][theirs]["std"]
        # Both are one draw: five standard errors of s / sqrt(2 n) each.
        assert abs(p.std().item() - s) <= 5 * s / math.sqrt(p.numel())
    assert module.get_parameter("up.bias").abs().max() == 0
    assert module.get_parameter("down.bias").abs().max() == 0


def inner(d):
    return 8 * math.ceil(8 * d / 3 / 8)


COUNTS = {
    "identity": lambda d: 0,
    "swiglu": lambda d: 3 * d * inner(d),
    "glu": lambda d: 3 * d * inner(d),
    "geglu": lambda d: 9 * d**2 + 7 * d,
    "mlp": lambda d: 8 * d**2 + 5 * d,
    "mlp_relu": lambda d: 8 * d**2 + 5 * d,
    "relu2": lambda d: 8 * d**2 + d,
    "relu2_receptance": lambda d: 9 * d**2 + 2 * d,
    "relu2_receptance_3.5": lambda d: 7 * d**2 + d**2 + 2 * d,
}


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_parameters_follow_the_formula(name):
    for d in (64, 128):  # 3.5 d is a multiple of 32
        assert sum(p.numel() for p in build(name, d).parameters()) == COUNTS[name](d)


@pytest.mark.parametrize("d", [8, 16, 40, 72])
def test_rwkv6_is_3_and_a_half_wide_in_steps_of_32(d):
    wide = build("relu2_receptance_3.5", d).get_parameter("key.weight").shape[0]
    assert wide % 32 == 0
    assert wide == 32 or 0 <= 3.5 * d - wide < 32


@pytest.mark.parametrize("t", [1, 7, 31])
@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_output_before_t_ignores_token_t(name, t):
    module = perturbed(build(name, 16, 1, 2))
    x = torch.randn(3, t, 16, dtype=torch.float64, requires_grad=True)
    y = apply(module, x)
    assert y.shape == x.shape
    (gradient,) = torch.autograd.grad(y[:, : t // 2].sum(), x)
    assert gradient[:, t // 2 :].abs().sum() == 0
    (gradient,) = torch.autograd.grad(apply(module, x)[:, -1].sum(), x)
    reached = gradient.abs().sum((0, 2)).nonzero().flatten().tolist()
    assert reached == list(range(max(0, t - 1 - (name in SHIFTED)), t))


@pytest.mark.parametrize("cut", [1, 8, 18])
@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_is_handed_over(name, cut):
    module, x = perturbed(build(name, 16, 1, 2)), torch.randn(2, 19, 16, dtype=torch.float64)
    whole, end = module(x)
    first, last = module(x[:, :cut])
    second, after = module(x[:, cut:], last)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-14)
    assert torch.equal(after, end)
    assert last.numel() == 2 * 16


def test_a_norm_without_weight_is_the_one_with_weights_of_1():
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    expected = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    for name in ("rms", "rms_plain"):
        torch.testing.assert_close(NORMS[name](8).double()(x), expected, rtol=0, atol=1e-14)
    assert not list(NORMS["rms_plain"](8).parameters())


def test_batch_norm_is_over_examples_and_tokens():
    x, norm = 3 + 2 * torch.randn(4, 6, 8, dtype=torch.float64), BatchNorm(8).double()
    mean, variance = x.mean((0, 1)), x.var((0, 1), correction=0)
    torch.testing.assert_close(norm(x), (x - mean) / (variance + 1e-5).sqrt())
    running_mean, running_variance = 0.05 * mean, 0.95 + 0.05 * x.var((0, 1))
    expected = (x - running_mean) / (running_variance + 1e-5).sqrt()
    torch.testing.assert_close(norm.eval()(x), expected)


def test_batch_norm_is_causal_in_eval_mode_alone():
    norm, x = BatchNorm(8).double(), torch.randn(2, 6, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(norm(x)[0, 0].square().sum(), x)
    assert gradient[0, 1:].abs().min() > 0
    (gradient,) = torch.autograd.grad(norm.eval()(x)[0, 0].square().sum(), x)
    assert gradient[0, 1:].abs().max() == 0
