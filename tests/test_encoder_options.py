"""Roles and initialisation of the classifier of the Long Range Arena, and what it refuses."""

import pytest
import torch

import zoo
from tests.tiny_encoders import rows, untouched
from zoo.encoder_options import KNOWN
from zoo.initialisation import ON_TOKENS
from zoo.model import decay_groups, parameters_by_role


@pytest.mark.parametrize("name", zoo.names())
def test_parameters_have_roles_and_only_norms_biases_and_listed_ones_are_spared(name):
    net = untouched(name, channel_mixer="swiglu", positions="learned", pooling="cls", head="lra")
    roles = parameters_by_role(net)
    assert sum(roles.values()) == sum(p.numel() for p in net.parameters())
    assert roles["embedding"] == (17 + 27 + 1) * 32
    assert roles["head"] == sum(p.numel() for p in net.head.parameters())
    names = {id(p): n for n, p in net.named_parameters()}
    decayed, spared = ({names[id(p)] for p in group} for group in decay_groups(net))
    assert len(decayed) + len(spared) == len(names)
    assert {"embedding.weight", "position.weight", "cls", "head.1.weight"} <= decayed
    assert {"head.1.bias", "norm.weight"} <= spared
    assert not [n for n in decayed if "norm" in n or n.endswith("bias")]


@pytest.mark.parametrize("name", zoo.names())
def test_the_authors_initialisation_is_for_tokens_and_where_it_draws_layers_for_values(name):
    spec = zoo.load(name)
    net = untouched(name, initialisation="authors", channel_mixer="own")
    assert net(*rows()).isfinite().all()
    assert (net.embedding_norm is not None) == (spec.model_init == "rwkv")
    if spec.model_init in ON_TOKENS:
        with pytest.raises(ValueError, match="is for embedded tokens, but inputs are values; type"):
            untouched(name, initialisation="authors", inputs="values")
    else:
        untouched(name, initialisation="authors", inputs="values")


@pytest.mark.parametrize(
    ("name", "initialisation", "embedding", "head"),
    [
        ("gla", "own", 1.0, (3 * 256) ** -0.5),
        ("metala", "authors", 0.02, 0.02),
        ("s5", "authors", 300**-0.5, 256**-0.5),
        ("griffin", "authors", 256**-0.5, (3 * 256) ** -0.5),
        ("gla", "zoology", 0.02, 0.02),
    ],
)
def test_how_embedding_and_head_start(name, initialisation, embedding, head):
    options = {"vocabulary": 300, "d_model": 256, "classes": 300, "depth": 1}
    net = untouched(name, initialisation=initialisation, **options)
    # 76,800 draws: the spread is known to 0.3 %.
    assert net.embedding.weight.std().item() == pytest.approx(embedding, rel=0.02)
    assert net.head[-1].weight.std().item() == pytest.approx(head, rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({n: "odd"}, f"{n} 'odd' is not known; type one of {k[0]}, ") for n, k in KNOWN.items()),
        ({"positions": "rope"}, "rope positions are for softmax attention; GLA takes none"),
        ({"pooling": "cls", "bidirectional": False}, "type pooling mean, or bidirectional"),
        ({"documents": 3}, "documents 3 of a row are not known; type 1 or 2"),
        ({"depth": 0}, "depth 0 is not positive; type depth 1 or more"),
        ({"d_channel": 8}, "d_channel 8 .* and channel_mixer is none; type d_channel 0, or a"),
        ({"initialisation": "zoology", "inputs": "values"}, "type initialisation own, or inputs"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        untouched("gla", **options)


@pytest.mark.parametrize(
    ("options", "shapes", "message"),
    [
        ({}, [(4, 2, 5), (4, 2)], r"inputs of 1 document\(s\) are b t, not \(4, 2, 5\)"),
        ({"documents": 2}, [(4, 3, 5), (4, 3)], r"are b 2 t, not \(4, 3, 5\)"),
        ({}, [(4, 5), (3,)], r"lengths \(3,\) do not go with inputs \(4, 5\)"),
        ({"inputs": "values"}, [(4, 5), (4,)], "inputs are values, and a tensor of torch.int64"),
        ({"positions": "learned"}, [(4, 27), (4,)], "27 tokens, but positions reach 26"),
        (
            {"positions": "sinusoidal", "pooling": "cls"},
            [(4, 27), (4,)],
            "28 tokens with the cls token, but positions reach 27",
        ),
    ],
    ids=str,
)
def test_inputs_of_another_shape_are_refused(options, shapes, message):
    with pytest.raises(ValueError, match=message):
        untouched("gla", **options)(*(torch.ones(shape, dtype=torch.int64) for shape in shapes))
