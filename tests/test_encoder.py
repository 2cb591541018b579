"""The classifier of the Long Range Arena over the whole zoo: gradients, padding, pooling."""

import pytest
import torch
import torch.nn.functional as F

import zoo
from tests.tiny_encoders import LENGTHS, encoder, rows, untouched

OWN = {"channel_mixer": "own", "norm": "own"}


def assert_close(found, expected):
    """Rounding in float64, through two layers and sums over 13 or 26 tokens."""
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def other_pads(x, lengths):
    """The same rows with other pads, and with more of them."""
    pads = torch.arange(x.shape[-1]) >= lengths.unsqueeze(-1)
    return x.masked_fill(pads, 0), torch.cat([x, x], -1)


@pytest.mark.parametrize("documents", [1, 2])
@pytest.mark.parametrize("inputs", ["tokens", "values"])
@pytest.mark.parametrize("name", zoo.names())
def test_every_parameter_has_a_finite_gradient(name, inputs, documents):
    options = {"positions": "learned", "pooling": "cls", **OWN}
    net = encoder(name, inputs=inputs, documents=documents, **options)
    logits = net(*rows(inputs, documents))
    assert logits.shape == (4, 3)
    F.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    wrong = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not wrong
    assert len(net.mixers()) == 2
    assert net.backends()


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("name", zoo.names())
def test_a_row_gives_the_same_logits_alone_and_in_any_padded_batch(name, bidirectional):
    net = encoder(name, bidirectional=bidirectional, positions="sinusoidal", **OWN).eval()
    x, lengths = rows()
    logits = net(x, lengths)
    for padded in other_pads(x, lengths):
        assert_close(net(padded, lengths), logits)
    for i, n in enumerate(LENGTHS.tolist()):
        assert_close(net(x[i : i + 1, :n]), logits[i : i + 1])


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_two_documents_are_encoded_as_each_one_alone(pooling):
    net, (x, lengths) = encoder(documents=2, pooling=pooling), rows(documents=2)
    logits = net(x, lengths)
    for i in range(4):
        pair = [net.pooled(x[i, j : j + 1, : lengths[i, j]], None) for j in (0, 1)]
        expected = net.head(torch.stack(pair, 1))
        assert_close(logits[i : i + 1], expected)
    for padded in other_pads(x, lengths):
        assert_close(net(padded, lengths), logits)


@pytest.mark.parametrize("block", ["pre", "post"])
def test_under_batch_norm_pads_change_neither_results_nor_gradients_nor_statistics(block):
    net, (x, lengths) = encoder(norm="batch", channel_mixer="swiglu", block=block), rows()
    start, found = {n: y.clone() for n, y in net.state_dict().items()}, []
    for padded in (x, *other_pads(x, lengths)):
        net.load_state_dict(start)
        net.zero_grad()
        logits = net(padded, lengths)
        logits.square().sum().backward()
        gradients = {n: p.grad.clone() for n, p in net.named_parameters()}
        statistics = {n: y.clone() for n, y in net.named_buffers()}
        found.append({"logits": logits.detach(), **gradients, **statistics})
    assert found[0]["blocks.1.channel_norm.num_batches_tracked"] == 1
    assert_close(found[1], found[0])
    assert_close(found[2], found[0])


@pytest.mark.parametrize("inputs", ["tokens", "values"])
def test_cls_stands_in_front_of_scaled_inputs_and_has_a_position_of_its_own(inputs):
    net = encoder(inputs=inputs, positions="learned", pooling="cls")
    net.embedding_scale, net.embedding_norm = 3.0, torch.nn.LayerNorm(32).double()
    x, _ = rows(inputs)
    table = net.embedding.weight
    given = table[x] if inputs == "tokens" else x[..., None] * table[:, 0] + net.embedding.bias
    front = net.cls.expand(4, 1, 32)
    expected = torch.cat([front, 3 * given], 1) + net.position.weight[:14]  # b 1+t d
    torch.testing.assert_close(net.embedded(x), F.layer_norm(expected, (32,)))


@pytest.mark.parametrize("block", ["pre", "post"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_last_norm_stands_before_the_pooling_of_pre_norm_blocks_alone(pooling, block):
    net, (x, lengths) = encoder(depth=1, pooling=pooling, block=block), rows()
    mine = lengths + (pooling == "cls")
    y = net.blocks[0](net.embedded(x), mine, None, {})
    y = F.layer_norm(y, (32,), net.norm.weight, net.norm.bias) if block == "pre" else y
    kept = [row[:1] if pooling == "cls" else row[:n] for row, n in zip(y, mine, strict=True)]
    expected = torch.stack([row.mean(0) for row in kept])
    torch.testing.assert_close(net.pooled(x, lengths), expected)


def test_dropout_follows_positions_and_the_other_one_is_on_sub_layers():
    net = encoder(positions="sinusoidal", dropout=0.5, sublayer_dropout=0.25)
    x, _ = rows()
    # 1,664 numbers: the share is known to 1.2 %.
    assert (net.embedded(x) == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert [layer.dropout.p for layer in net.blocks] == [0.25, 0.25]
    assert not (net.eval().embedded(x) == 0).any()


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("name", ["gla", "attention"])
def test_a_token_reads_those_that_follow_only_when_bidirectional(name, bidirectional):
    net = encoder(name, bidirectional=bidirectional)
    y = x = net.embedded(rows()[0]).detach().requires_grad_()
    for layer in net.blocks:
        y = layer(y, None, None, {})
    (gradient,) = torch.autograd.grad(y[:, 5].sum(), x)
    assert gradient[:, :6].abs().min() > 0
    assert (gradient[:, 6:].abs().max() > 0) == bidirectional


@pytest.mark.parametrize("options", [{}, {"pooling": "cls"}, {"norm": "batch"}], ids=str)
def test_without_lengths_every_token_counts(options):
    net, (x, _) = encoder(**options), rows()
    assert_close(net(x), net(x, torch.full((4,), 13)))


@pytest.mark.parametrize("name", ["metala", "hgrn", "mamba", "attention", "rwkv4"])
def test_no_step_waits_for_a_number(name):
    with torch.device("meta"):  # whose tensors hold none
        net = untouched(name, norm="batch", channel_mixer="swiglu")
        lengths = torch.ones(4, dtype=torch.int64)
        net(torch.ones(4, 13, dtype=torch.int64), lengths).sum().backward()
