"""Configs of language models: what is refused, what has equal size, what the rate does."""

import pytest

import zoo
from runners.grids import changed
from runners.lm_config import Lm, build
from runners.train import learning_rate
from zoo.matching import matched_width
from zoo.model import parameters_by_role

BASE = Lm(model="metala", d_model=32, depth=2)


def blocks(run: Lm) -> int:
    """Parameters without embedding and head."""
    roles = parameters_by_role(build(run))
    return sum(roles.values()) - roles["embedding"] - roles["head"]


@pytest.mark.parametrize("model", zoo.names())
def test_every_model_is_as_large_as_attention(model):
    reference = changed(BASE, model="attention", d_model=64)
    assert blocks(changed(reference, model=model)) == pytest.approx(blocks(reference), rel=0.01)


def test_attention_has_the_usual_width_and_is_matched_to_nothing():
    run = changed(BASE, model="attention", d_model=128)
    assert run.inner == 344  # 8/3 of 128, up to a multiple of 8
    assert build(run).blocks[0].channel.inner == 344


@pytest.mark.parametrize(("d_model", "step"), [(1024, 8), (64, 1)])
def test_widths_suit_a_gpu_where_that_is_fine_enough(d_model, step):
    widths = [
        matched_width(model, d_model, 1, "own", "swiglu", "rms", "none")
        for model in ("metala", "gla", "mamba", "hgrn", "rwkv4")
    ]
    assert all(width % step == 0 for width in widths)
    assert any(width % 8 for width in widths) == (step == 1)


def test_a_named_convolution_is_part_of_what_is_matched():
    plain, conv = BASE, changed(BASE, conv="k4-silu", model="linformer")
    assert blocks(conv) == pytest.approx(blocks(plain), rel=0.01)


def test_without_matching_the_width_is_what_is_typed():
    run = changed(BASE, match="none", d_channel=40)
    assert build(run).blocks[0].channel.inner == run.inner == 40
    assert changed(BASE, match="none", channel_mixer="none").inner == 0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"d_channel": 40}, "d_channel 40 has no effect with match attention"),
        ({"channel_mixer": "none"}, "chooses the width of a channel mixer, which none has not"),
        ({"accumulate": 17}, "accumulate 17 is more than the 16 windows"),
        ({"corpus": "clasics"}, "did you mean classics?"),
        ({"tokeniser": "bite"}, "'bite' is not known"),
        ({"tokeniser": "bpe-12"}, "expected 300"),
        ({"warmup": 1000}, "warmup 1000 leaves nothing of 1000 updates"),
        ({"attention_dropout": 0.1}, "has no effect on metala"),
        ({"norm": "batch"}, "Input should be"),
        ({"schedule": "cosine-epoch"}, "Input should be"),
        ({"d_model": 33}, "width 33"),
        ({"lr_end": 2.0}, "less than or equal to 1"),
        ({"stop_at": 0.5}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused(fields, said):
    with pytest.raises(ValueError) as refused:
        Lm(**{**BASE.model_dump(), **fields})
    assert said in str(refused.value)


def test_a_model_that_is_larger_without_a_channel_mixer_cannot_be_matched():
    with pytest.raises(ValueError, match=r"mamba2 has .* parameters before its channel mixer"):
        changed(BASE, model="mamba2", d_model=16, depth=1)


def test_every_field_is_part_of_the_key():
    other = {"seq_len": 128, "text_sha256": "ab", "lr_end": 0.0, "valid_tokens": 9, "tied": False}
    keys = {changed(BASE, **{name: value}).key for name, value in other.items()} | {BASE.key}
    assert len(keys) == len(other) + 1


def test_the_key_of_a_run_does_not_change_by_accident():
    assert Lm(model="metala").key == "2cbdbc1ad5221c20"


def test_a_cosine_ends_at_its_share_of_the_rate():
    run = changed(BASE, updates=100, warmup=10, lr=1.0, lr_end=0.1)
    rates = [learning_rate(run, done, 1) for done in range(101)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_wsd_is_constant_and_then_falls_along_a_line():
    run = changed(BASE, schedule="wsd", updates=100, warmup=10, lr=1.0, lr_end=0.1, decay_share=0.2)
    rates = [learning_rate(run, done, 1) for done in range(100)]
    assert set(rates[9:80]) == {1.0}
    assert rates[80] == pytest.approx(1 - 0.9 / 20)
    assert rates[89] == pytest.approx(0.55)
    assert rates[99] == pytest.approx(0.1)
