"""Channel mixers, block norms and whole-model initialisations, against official code and formulas.

golden_blocks/<channel mixer>.json holds what the official class returned for random weights, in the
format of golden/: float64, weights and inputs exact decimals, results with 12 significant digits.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.func import functional_call

import zoo
from runners.config import Mqar
from tests.golden_maps import MAPS
from zoo.blocks import CHANNEL_MIXERS, NORMS, BatchNorm, ChannelMix, Place
from zoo.initialisation import SCHEMES
from zoo.maps import Convolved, ShortConv
from zoo.model import Model, decay_groups, parameters_by_role, role, state_bytes
from zoo.probes import declared_state_bytes

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


def model(spec, **options):
    spec = zoo.load(spec) if isinstance(spec, str) else spec
    return Model(spec, **{"vocabulary": 32, "d_model": 32, "depth": 2, **options})


def in_steps(net, tokens):
    state, steps = None, []
    for t in range(tokens.shape[1]):
        logits, state = net(tokens[:, t : t + 1], state)
        steps.append(logits)
    return torch.cat(steps, 1)


# -- against official code


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


# -- formulas


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
        counted = parameters_by_role(model("gla", d_model=d, channel_mixer=name))["channel"]
        assert counted == 2 * COUNTS[name](d)


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


# -- in a model


@pytest.mark.parametrize(
    "options",
    [
        *({"channel_mixer": name} for name in CHANNEL_MIXERS),
        *({"norm": name, "channel_mixer": "relu2"} for name in NORMS),
        {"channel_mixer": "relu2_receptance", "first_mixer": "base_conv"},
        {"channel_mixer": "relu2", "norm": "layer", "model": "attention"},
        {"channel_mixer": "relu2_receptance", "model": "rwkv4", "conv": "k3"},
    ],
    ids=str,
)
def test_decoding_token_by_token_gives_the_same_logits(options):
    options = dict(options)
    net = perturbed(model(options.pop("model", "gla"), **options)).double()
    tokens = torch.arange(18).reshape(2, 9) % 32
    net(tokens)  # batch statistics of its own
    whole, _ = net.eval()(tokens)
    torch.testing.assert_close(in_steps(net, tokens), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_state_bytes_count_what_the_channel_mixer_remembers(name):
    with_it, without = model("gla", channel_mixer=name), model("gla")
    remembered = 4 * 2 * 32 if name in SHIFTED else 0  # float32, two layers, one token each
    for length in (1, 64):
        assert state_bytes(with_it, length) == state_bytes(without, length) + remembered
        assert state_bytes(with_it, length) == declared_state_bytes(with_it, length)


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_gradients_are_finite(name):
    net = model("gla", channel_mixer=name)
    net(torch.arange(24).reshape(2, 12))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", CHANNEL_MIXERS)
def test_weight_decay_spares_biases_norms_and_mu(name):
    net = model("gla", channel_mixer=name, norm="batch")
    spared = {id(p) for p in decay_groups(net)[1]}
    for n, p in net.named_parameters():
        if role(n) in ("channel", "norm"):
            last = n.rpartition(".")[2]
            assert (id(p) in spared) == (p.dim() == 1), n
            assert (p.dim() == 1) == (last in ("mu_k", "mu_r", "bias") or role(n) == "norm"), n


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_builds_as_its_authors_have_it(name):
    spec = zoo.load(name)
    assert spec.channel in ("none", *CHANNEL_MIXERS)
    assert spec.block_norm in NORMS
    assert spec.model_init in SCHEMES
    own = {"channel_mixer": "own", "norm": "own", "initialisation": "authors"}
    net, tokens = model(spec, **own), torch.arange(18).reshape(2, 9)
    net(tokens)[0].logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    roles = parameters_by_role(net)
    assert sum(roles.values()) == sum(p.numel() for p in net.parameters())
    assert (roles["channel"] > 0) == (spec.channel not in ("none", "identity"))
    assert state_bytes(net.eval(), 64) == declared_state_bytes(net, 64)


def carries_on(name):
    """Models whose published form can be cut between two tokens, or else their variants."""
    names = [name, *(f"{name}:{v}" for v in zoo.variants(name))]
    whole = [n for n in names if "state hand-over" not in zoo.load(n).by_design]
    assert whole, f"{name} has no form that decodes"
    return whole[0]


@pytest.mark.parametrize("name", [carries_on(name) for name in zoo.names()])
def test_every_model_as_its_authors_have_it_decodes_token_by_token(name):
    own = {"channel_mixer": "own", "norm": "own", "initialisation": "authors"}
    net, tokens = perturbed(model(name, **own)).double(), torch.arange(18).reshape(2, 9)
    net(tokens)
    whole, _ = net.eval()(tokens)
    torch.testing.assert_close(in_steps(net, tokens), whole, rtol=1e-10, atol=1e-10)


def test_a_run_can_have_every_channel_mixer_and_norm():
    fields = {n: set(get_args(f.annotation)) for n, f in Mqar.model_fields.items()}
    assert fields["channel_mixer"] == {"none", "own", *CHANNEL_MIXERS}
    assert fields["norm"] == {"own", *NORMS}


def test_own_takes_what_the_spec_says():
    spec = replace(zoo.load("gla"), channel="relu2_receptance", block_norm="batch")
    block = model(spec, channel_mixer="own", norm="own").blocks[1]
    assert isinstance(block.channel, ChannelMix)
    assert isinstance(block.mixer_norm, BatchNorm)
    assert model(spec).blocks[0].channel is None


# -- initialisation of the whole model


@pytest.mark.parametrize(
    ("name", "scheme"),
    [("gla", "fla"), ("hgrn:real", "fla"), ("metala", "normal"), ("gla:original", "gla")],
)
def test_the_mixers_of_a_whole_model_start_as_the_official_ones(name, scheme):
    spec = replace(zoo.load(name), model_init=scheme)
    net = model(spec, d_model=256, initialisation="authors", channel_mixer="swiglu", tied=False)
    mixer, facts = net.mixers()[1], read(name, "golden")["initialisation"]["in_model"]
    stds = {n: torch.full(s["shape"], s["std"]) for n, s in facts.items()}
    stds["lower_bounds"] = torch.zeros(1, 256)
    official = MAPS[name](stds, {"heads": mixer.dims.heads})
    for n, p in mixer.named_parameters():
        s = official[n].mean().item()
        assert abs(p.std(correction=0).item() - s) <= 5 * math.sqrt(2 / p.numel()) * s, n
    others = [p for n, p in net.named_parameters() if role(n) in ("channel", "embedding", "head")]
    assert all(abs(p.std().item() / 0.02 - 1) < 0.05 for p in others)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_sets_embedding_head_and_outputs(scheme):
    d, depth, vocabulary = 64, 8, 256
    torch.manual_seed(0)
    net = model(
        replace(zoo.load("based"), model_init=scheme, channel="mlp", block_norm="layer"),
        d_model=d,
        depth=depth,
        vocabulary=vocabulary,
        tied=False,
        channel_mixer="own",
        norm="own",
        initialisation="authors",
    )
    small = 0.02 / math.sqrt(2 * depth)
    torch_default = d**-0.5 / math.sqrt(3)
    drawn = {"embedding": 0.02, "head": 0.02, "w_o": 0.02, "fc1": 0.02, "fc2": 0.02}
    other = {"w_o": torch_default, "fc1": torch_default, "fc2": torch_default / 2}
    expected = {
        "own": {"embedding": 0.02, "head": torch_default, **other},
        "gpt2": {**drawn, "w_o": small, "fc2": small},
        "h3": {**drawn, "fc2": small},
        "retnet": {"embedding": d**-0.5, "head": d**-0.5, **other},
        "griffin": {"embedding": d**-0.5, "head": d**-0.5, **other},
        "torch": {"embedding": 1.0, "head": torch_default, **other},
        "flax": {"embedding": vocabulary**-0.5, "head": d**-0.5, **other},
        "rwkv": {"embedding": 1e-4 / math.sqrt(3), "head": vocabulary**-0.5, **other},
    }.get(scheme, drawn)
    places = {"embedding": "embedding", "head": "unembedding", "w_o": "blocks.3.mixer.w_o"}
    places |= {n: f"blocks.3.channel.{n}" for n in ("fc1", "fc2")}
    for n, place in places.items():
        # The smallest has 4,096 entries: their spread is known to 1.1 %.
        spread = net.get_parameter(f"{place}.weight").std().item()
        assert spread == pytest.approx(expected[n], rel=0.05), n
    assert net.embedding_scale == (8.0 if scheme in ("transnormer", "retnet") else 1.0)
    assert (net.embedding_norm is not None) == (scheme == "rwkv")


@pytest.mark.parametrize("name", SHIFTED)
def test_embedding_and_head_start_as_in_rwkv(name):
    official = read(name)["initialisation"]
    d, vocabulary = official["d_model"], official["vocabulary"]
    spec = replace(zoo.load("gla"), model_init="rwkv")
    net = model(
        spec, d_model=d, vocabulary=vocabulary, depth=2, tied=False, initialisation="authors"
    )
    head = net.head_weight.double()
    eye = torch.eye(d, dtype=torch.float64)
    torch.testing.assert_close(head.T @ head, official["head_gain"] ** 2 * eye, atol=1e-5, rtol=0)
    theirs = official["in_model"]["emb.weight"]
    if name != "relu2_receptance":  # RWKV-4 neo has its learning rate, 6e-4 in the file, for 1e-4
        assert net.embedding.weight.abs().max().item() == pytest.approx(theirs["max"], rel=1e-2)
        assert net.embedding.weight.std().item() == pytest.approx(theirs["std"], rel=5e-2)


def test_a_factor_on_embeddings_reaches_the_first_block():
    net = model(
        replace(zoo.load("gla"), model_init="transnormer"), initialisation="authors", norm="layer"
    )
    seen = []
    net.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(torch.arange(4).reshape(1, 4))
    torch.testing.assert_close(seen[0], net.embedding.weight[:4].unsqueeze(0) * math.sqrt(32))


def test_only_fla_draws_convolutions():
    for scheme, spread in (("normal", 0.5 / math.sqrt(3)), ("fla", 0.02)):
        spec = replace(zoo.load("metala"), model_init=scheme)
        net = model(spec, d_model=256, initialisation="authors")
        convs = [m for m in net.modules() if isinstance(m, ShortConv | Convolved)]
        assert convs
        found = [c.get_parameter("weight").std().item() for c in convs]
        assert found == pytest.approx([spread] * 2, rel=0.1)


def test_a_scheme_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="MetaLA: model_init 'gpt3' is not one of own, normal"):
        model(replace(zoo.load("metala"), model_init="gpt3"), initialisation="authors")
