"""How whole models start: the schemes of the models' authors, against official numbers."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import zoo
from tests.golden_maps import MAPS
from zoo.initialisation import SCHEMES
from zoo.maps import Convolved, ShortConv
from zoo.model import Model, role

FOLDER = Path(__file__).parent
SHIFTED = ("relu2", "relu2_receptance", "relu2_receptance_3.5")


def read(name, folder="golden_blocks"):
    return json.loads((FOLDER / folder / f"{name.replace(':', '.')}.json").read_text())


def tensor(packed):
    return torch.tensor(packed["values"], dtype=torch.float64).reshape(packed["shape"])


def model(spec, **options):
    spec = zoo.load(spec) if isinstance(spec, str) else spec
    return Model(spec, **{"vocabulary": 32, "d_model": 32, "depth": 2, **options})


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
