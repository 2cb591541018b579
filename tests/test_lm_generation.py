"""Generation: the parallel form's own choices, at constant memory, as valid text."""

from __future__ import annotations

import io
import itertools
import re
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from runners import trained
from runners.commands import generate as command
from runners.generation import Choice, generate
from tasks.lm.tokenisers import BYTES
from tests.tiny_trained import model_of, stored, tiny
from zoo.decoding import rereads
from zoo.model import Model

# Whose state is a list: of keys and values, of chunks, or of all tokens.
GROWING = {
    "attention",
    "eva",
    *(n for n in zoo.names() if "state hand-over" in zoo.load(n).by_design),
}


def double(name: str, **fields: object) -> Model:
    return model_of(tiny(name, channel_mixer="own", norm="own", **fields)).double()


@pytest.mark.parametrize("name", zoo.names())
@settings(max_examples=3)
@given(data=st.data())
def test_greedy_tokens_are_the_parallel_forms_choices(name, data):
    model = double(name)
    prompt = data.draw(st.lists(st.integers(0, 256), min_size=1, max_size=7))
    found = list(generate(model, prompt, tokens=9))
    text = torch.tensor([prompt + found])
    for n, chosen in enumerate(found, start=len(prompt)):
        # Where the length counts, the text ends before the token that is chosen.
        seen = text[:, :n] if rereads(model) else text
        with torch.no_grad():
            logits = model(seen)[0][0, n - 1]  # vocabulary
        # Of two tokens within rounding of each other either one may be chosen.
        assert logits[chosen] >= logits.max() - 1e-9


@pytest.mark.parametrize("name", zoo.names())
def test_the_state_stays_as_large_as_after_the_first_token(name):
    generation = generate(double(name), [1, 2, 3], tokens=40)
    sizes = [generation.state_bytes for _ in generation]
    assert len(sizes) == 40
    assert (sizes[-1] > sizes[0]) == (name in GROWING)
    assert name in GROWING or len(set(sizes)) == 1


@pytest.mark.parametrize("name", ["metala", "attention", "rwkv6", "cosformer"])
def test_a_text_goes_on_from_a_state(name):
    model = double(name)
    first = generate(model, [5, 6], tokens=4)
    begun = list(first)
    rest = generate(model, [*begun[-1:]], tokens=5, state=first.state)
    assert [*begun, *rest] == list(generate(model, [5, 6], tokens=9))


def test_a_seed_decides_the_draws_and_nothing_else_does():
    model = double("metala")
    options = {"tokens": 20, "temperature": 1.0}
    first = list(generate(model, [1], **options, seed=3))
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert list(generate(model, [1], **options, seed=3)) == first
    assert list(generate(model, [1], **options, seed=4)) != first
    assert torch.equal(torch.get_rng_state(), before)


def test_generating_leaves_the_training_mode_and_drops_nothing():
    model = model_of(tiny("metala", dropout=0.5))
    expected = list(generate(model, [1], tokens=9))
    model.train()
    assert list(generate(model, [1], tokens=9)) == expected
    assert model.training


def test_draws_have_the_probabilities_of_the_model():
    shares = torch.tensor([0.1, 0.6, 0.3])
    counts = torch.zeros(3)
    choose = Choice(1.0, 1.0, 0, seed=0)
    for _ in range(3000):
        counts[choose(shares.log())] += 1
    # Three standard deviations of a count of 3000 draws are at most 81.
    assert (counts - 3000 * shares).abs().max() < 81


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k", "expected"),
    [
        (1.0, 1.0, 1, {1}),
        (1.0, 1.0, 2, {1, 2}),
        (1.0, 0.6, 0, {1}),
        (1.0, 0.61, 0, {1, 2}),
        (1.0, 0.05, 0, {1}),
        (0.0, 1.0, 0, {1}),
        (0.01, 1.0, 0, {1}),
        (9.0, 1.0, 0, {0, 1, 2}),
        (1.0, 0.7, 2, {1, 2}),
        (1.0, 0.6, 2, {1}),
    ],
)
def test_top_p_top_k_and_temperature_choose_among_these(temperature, top_p, top_k, expected):
    choose = Choice(temperature, top_p, top_k, seed=0)
    logits = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64).log()
    assert {choose(logits) for _ in range(200)} == expected


def test_weights_that_diverged_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        Choice(1.0, 1.0, 0, 0)(torch.tensor([0.0, float("nan")]))


def test_it_stops_at_the_token_that_ends_a_text():
    model = double("metala")
    whole = list(generate(model, [1], tokens=30, temperature=1.0))
    stop = whole[7]
    found = list(generate(model, [1], tokens=30, temperature=1.0, stop=stop))
    assert found == whole[: whole.index(stop) + 1]


def test_no_tokens_are_none():
    assert list(generate(double("metala"), [1], tokens=0)) == []


@pytest.mark.parametrize(
    ("ids", "said"), [([], "no token"), ([257], "257 is not one"), ([-1], "-1")]
)
def test_a_prompt_that_is_none_is_refused(ids, said):
    with pytest.raises(ValueError, match=said):
        generate(double("metala"), ids, tokens=1)


def test_learned_positions_end_and_say_so_before_the_first_token():
    model = double("attention", positions="learned")
    assert len(list(generate(model, [1] * 4, tokens=21))) == 21
    with pytest.raises(ValueError, match="24 were learned; type tokens 21 or less"):
        generate(model, [1] * 4, tokens=22)
    with pytest.raises(ValueError, match="give a shorter prompt"):
        generate(model, [1] * 26, tokens=1)
    assert len(list(generate(double("attention", positions="rope"), [1] * 4, tokens=60))) == 60


class Scripted:
    """A tokeniser's bytes in a fixed order, in place of what a model would say."""

    def __init__(self, data: bytes) -> None:
        self.ids, self.state_bytes = iter(data), 8

    def __iter__(self):
        return self.ids


class Pieces(io.StringIO):
    """Standard output, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return super().write(text)


@given(st.text(max_size=30))
def test_characters_are_printed_whole_as_soon_as_they_are_complete(text):
    out, before = Pieces(), sys.stdout
    found = trained.Trained(None, BYTES, 8, {})  # pyright: ignore[reportArgumentType]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", io.StringIO())
        patch.setattr(command, "generate", lambda *a, **k: Scripted(text.encode()))
        command.write(found, command.Arguments("m", "é"), 0)
    assert sys.stdout is before
    assert out.getvalue() == "é" + text + "\n"
    assert [part for part in out.parts if part][1:-1] == list(text)


def test_bytes_that_are_no_text_become_replacement_characters(monkeypatch, capsys):
    broken = b"\xffa\xe2\x82b\xc3"
    monkeypatch.setattr(command, "generate", lambda *a, **k: Scripted(broken))
    command.write(trained.Trained(None, BYTES, 8, {}), command.Arguments("m"), 0)  # pyright: ignore
    assert capsys.readouterr().out == broken.decode("utf-8", errors="replace") + "\n"


def test_the_command_prints_text_and_what_it_took(tmp_path, capsys):
    stored(tmp_path / "models" / "3f9c")
    run = ["3f", "In the", "--tokens", "12", "--out", str(tmp_path), "--seed", "5", "--beyond"]
    assert command.main(run) == 0
    first = capsys.readouterr()
    assert first.out.startswith("In the")
    assert first.out.encode().decode() == first.out
    assert re.search(r"prompt of 6 tokens .* 11 more: .* tokens/s; state [\d,]+ bytes$", first.err)
    assert command.main(run) == 0
    assert capsys.readouterr().out == first.out
    assert command.main([*run, "--samples", "2"]) == 0
    both = capsys.readouterr().out
    assert command.main([*run[:-3], "--seed", "6", "--beyond"]) == 0
    assert both == f"--- 1\n{first.out}--- 2\n{capsys.readouterr().out}" != first.out


@pytest.mark.parametrize(("flags", "stop"), [([], 256), (["--beyond"], None)])
def test_the_command_stops_where_a_text_ends_unless_asked_not_to(
    tmp_path, monkeypatch, flags, stop
):
    stored(tmp_path / "m")
    asked = {}

    def record(model, ids, **options):
        asked.update(options)
        return generate(model, ids, **options)

    monkeypatch.setattr(command, "generate", record)
    assert command.main([str(tmp_path / "m"), "In", "--tokens", "2", "--top-k", "3", *flags]) == 0
    assert asked == {"stop": stop, "seed": 0, "top_k": 3, "top_p": 1.0} | {
        "tokens": 2,
        "temperature": 0.8,
    }


def test_an_empty_prompt_starts_as_after_the_end_of_a_text(tmp_path, capsys):
    model = stored(tmp_path / "m")
    assert command.main([str(tmp_path / "m"), "--tokens", "9", "--temperature", "0"]) == 0
    ids = list(itertools.takewhile(lambda id: id != 256, generate(model, [256], tokens=9)))
    assert capsys.readouterr().out == BYTES.decode(ids) + "\n"
