"""The associative recall data: every row is well formed and the draws follow the published law."""

import hashlib
import re
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks import mqar
from tasks.mqar import BLOCK, METRIC, MIXTURES, Data, Setting, Split, accuracy, generate

SMALL = Setting(vocabulary=64, length=32, pairs=4)
NOISY = Setting(vocabulary=64, length=32, pairs=4, filler="random")
LARGE = Setting(length=256, pairs=16, filler="random")
HARD = Setting(length=512, pairs=64)
WIDE = Setting(vocabulary=70_000, length=42, pairs=7, power=1.0, filler="random")  # int32 tokens
FULL = Setting(vocabulary=65, length=64, pairs=16, filler="random")  # all slots, odd vocabulary
LEAST = Setting(vocabulary=5, length=4, pairs=1)
SETTINGS = [SMALL, NOISY, LARGE, HARD, WIDE, FULL, LEAST]


@st.composite
def possible_settings(draw):
    pairs = draw(st.integers(1, 20))
    length = 4 * pairs + 2 * draw(st.integers(0, 30))
    return Setting(
        vocabulary=length + draw(st.one_of(st.integers(1, 40), st.integers(1, 100_000))),
        length=length,
        pairs=pairs,
        power=draw(st.floats(0, 2, allow_subnormal=False)),
        filler=draw(st.sampled_from(["zeros", "random"])),
    )


@given(possible_settings(), st.integers(0, 2**40))
@examples(max_examples=60)
def test_every_query_is_a_key_of_the_row_and_its_label_that_keys_value(setting, seed):
    data = generate(setting, 50, seed)
    tokens, positions, targets = data.batch(torch.arange(50))
    for row, places, labels in zip(tokens.tolist(), positions.tolist(), targets.tolist()):
        block = row[: 2 * setting.pairs]
        value = dict(zip(block[0::2], block[1::2]))
        assert len(value) == setting.pairs
        assert [value[row[place]] for place in places] == labels
        assert {row[place] for place in places} == set(value)


@given(possible_settings(), st.integers(0, 2**40))
@examples(max_examples=60)
def test_keys_and_values_are_distinct_and_from_their_halves(setting, seed):
    pairs = generate(setting, 50, seed).batch(slice(None))[0][:, : 2 * setting.pairs]
    keys, values, half = pairs[:, 0::2], pairs[:, 1::2], setting.vocabulary // 2
    assert keys.min() >= 1
    assert keys.max() < half
    assert values.min() >= half
    assert values.max() < setting.vocabulary
    for part in (keys, values):
        assert (part.sort(dim=1).values.diff(dim=1) > 0).all()


@given(possible_settings(), st.integers(0, 2**40))
@examples(max_examples=60)
def test_queries_stand_sorted_at_distinct_even_offsets_after_the_pairs(setting, seed):
    data = generate(setting, 50, seed)
    _, positions, _ = data.batch(slice(None))
    offsets = positions - 2 * setting.pairs
    assert data.positions.shape == data.targets.shape == (50, setting.pairs)
    assert (offsets % 2 == 0).all()
    assert offsets.min() >= 0
    assert positions.max() < setting.length
    assert (positions.diff(dim=1) > 0).all()


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_integers_are_as_small_as_they_can_be(setting):
    data = generate(setting, 3, seed=0)
    assert data.inputs.dtype == (torch.int16 if setting.vocabulary <= 2**15 else torch.int32)
    assert data.targets.dtype == data.inputs.dtype
    assert data.positions.dtype == torch.int16
    assert all(part.dtype == torch.int64 for part in data.batch([0, 2]))


def test_the_largest_token_of_a_full_int16_vocabulary_stays_positive():
    setting = Setting(vocabulary=2**15, length=2048, pairs=512, filler="random")
    data = generate(setting, 100, seed=0)
    assert data.inputs.dtype == torch.int16
    assert data.inputs.min() == 0
    assert data.inputs.max() == 2**15 - 1


def test_the_example_in_the_docstring_is_true():
    lines = re.findall(r"^    (\w+) +((?:[\d.]+ *)+)$", mqar.__doc__ or "", re.MULTILINE)
    shown = {name: line.split() for name, line in lines}
    data = generate(Setting(vocabulary=20, length=16, pairs=2), rows=1, seed=5)
    labels = dict(zip(data.positions[0].tolist(), data.targets[0].tolist()))
    assert shown["position"] == [str(i) for i in range(16)]
    assert shown["inputs"] == [str(token) for token in data.inputs[0].tolist()]
    assert shown["targets"] == [str(labels.get(i, ".")) for i in range(16)]


def test_the_filler_changes_nothing_else():
    zeros = generate(SMALL, 2000, seed=8)
    random = generate(NOISY, 2000, seed=8)
    asked = zeros.inputs != 0
    assert torch.equal(zeros.inputs[asked], random.inputs[asked])
    assert torch.equal(zeros.positions, random.positions)
    assert torch.equal(zeros.targets, random.targets)
    assert (random.inputs[~asked] == 0).double().mean() < 0.1


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_a_row_does_not_depend_on_how_many_are_asked_for(setting, rows):
    few, many = generate(setting, rows, seed=9), generate(setting, 3 * BLOCK, seed=9)
    assert few.rows == rows
    assert torch.equal(few.inputs, many.inputs[:rows])
    assert torch.equal(few.positions, many.positions[:rows])
    assert torch.equal(few.targets, many.targets[:rows])


@pytest.mark.parametrize(
    "other",
    [
        (Setting(length=64, pairs=8), 0, "train"),
        (Setting(length=66, pairs=4), 0, "train"),
        (Setting(length=64, pairs=4, power=1.0), 0, "train"),
        (Setting(length=64, pairs=4), 1, "train"),
        (Setting(length=64, pairs=4), 2**32, "train"),
        (Setting(length=64, pairs=4), 0, "valid"),
        (Setting(length=64, pairs=4), 0, "test"),
    ],
    ids=str,
)
def test_another_setting_seed_or_split_is_another_sequence(other: tuple[Setting, int, Split]):
    setting, seed, split = other
    one = generate(Setting(length=64, pairs=4), 3 * BLOCK, 0).inputs[:, 0]
    two = generate(setting, 3 * BLOCK, seed, split).inputs[:, 0]
    # Equal first keys: one row in 4095, 0.75 rows expected.
    assert (one == two).sum() < 10


def test_no_row_occurs_twice_within_or_across_splits():
    rows: dict[Split, int] = {"train": 20_000, "valid": 3000, "test": 3000}
    seen = {
        row.tobytes()
        for split, count in rows.items()
        for row in generate(SMALL, count, 0, split).inputs.numpy()
    }
    assert len(seen) == sum(rows.values())


@pytest.mark.parametrize(
    ("setting", "split", "expected"),
    [
        (SMALL, "train", "c1e79120f7551143b4da9c5da6d95154c1c3f22c4711619d0ccac14e46a2906f"),
        (NOISY, "test", "30b7f22189f7e0acdf037865820a5a7313c0cbfe49ed11d0514fd9ec276f75dc"),
        (LARGE, "valid", "d0ce9abdbbba7b789e7f382a9a250305347cbb9d3e1c0bc444a2cbdf161d1853"),
        (HARD, "train", "5003f8482f7ddc7c8129de11be201e6bb529f1e32cb3ce15122a86b3d221c4a1"),
        (WIDE, "test", "e2a5b763c1351f50c0ae24f760eb230f46ae77b1d6e49f6204a6ccfd72e1eacf"),
    ],
    ids=str,
)
def test_the_same_seed_gives_the_same_data_everywhere(setting, split, expected):
    # Other data under the same settings is another task: raise mqar.VERSION with new hashes.
    assert mqar.VERSION == 1
    assert generate(setting, BLOCK + 500, seed=0, split=split).sha256 == expected


def test_the_hash_is_of_little_endian_bytes():
    data = Data(torch.tensor([[1, 258]]), torch.tensor([[4]]), torch.tensor([[7]]))
    narrow = Data(data.inputs.short(), data.positions.short(), data.targets.int())
    digest = hashlib.sha256(b"inputs (1, 2) 2\n" + struct.pack("<2h", 1, 258))
    digest.update(b"positions (1, 1) 2\n" + struct.pack("<h", 4))
    digest.update(b"targets (1, 1) 4\n" + struct.pack("<i", 7))
    assert narrow.sha256 == digest.hexdigest()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"length": 63, "pairs": 4}, "length 63 is odd; use 64"),
        ({"length": 32, "pairs": 16}, r"length 32 is below 4 \* 16 pairs = 64.*at most 8 pairs"),
        ({"vocabulary": 256, "length": 256, "pairs": 4}, "vocabulary 256 .* 256; .*257 or more"),
        ({"length": 64, "pairs": 0}, "greater than or equal to 1"),
        ({"length": 64, "pairs": 4, "power": -0.5}, "greater than or equal to 0"),
        ({"length": 64, "pairs": 4, "filler": "noise"}, "'zeros' or 'random'"),
        ({"length": 64, "pairs": 4, "seed": 0}, "seed"),
    ],
    ids=str,
)
def test_an_impossible_setting_is_refused_with_the_numbers(fields, words):
    with pytest.raises(ValidationError, match=words):
        Setting(**fields)


def test_no_rows_and_unknown_splits_are_refused():
    with pytest.raises(ValueError, match="rows 0 is below 1"):
        generate(SMALL, 0, seed=0)
    with pytest.raises(ValueError, match="'dev' is unknown; use one of train, valid, test"):
        generate(SMALL, 1, seed=0, split="dev")  # pyright: ignore[reportArgumentType]


def test_chance_is_one_value_of_the_row():
    assert SMALL.chance == 0.25


def test_the_zoology_mixture_is_the_published_one():
    segments = [(s.length, s.pairs, rows // 1000) for s, rows in MIXTURES["zoology"].train]
    assert segments == [(64, 4, 100), (128, 8, 20), (256, 16, 20), (256, 32, 20), (256, 64, 20)]
    segments = [(s.length, s.pairs, rows) for s, rows in MIXTURES["zoology"].test]
    assert segments[:4] == [(64, 4, 1000), (64, 8, 1000), (64, 16, 1000), (128, 32, 1000)]
    assert segments[4:] == [(256, 64, 1000), (512, 128, 1000), (1024, 256, 1000)]
    assert {s.filler for s, _ in MIXTURES["zoology"].train} == {"random"}
    assert {s.vocabulary for s, _ in MIXTURES["zoology"].test} == {8192}


def test_accuracy_is_the_share_of_each_rows_queries():
    predictions = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4]])
    targets = torch.tensor([[1, 2, 3, 4], [4, 2, 1, 3]])
    assert accuracy(predictions, targets).tolist() == [1.0, 0.25]
    assert METRIC.higher_is_better
