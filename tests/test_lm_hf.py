"""Trained models in transformers: the same bits in a fresh process, generation, and padding."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import zoo
from runners import trained
from runners.commands import export
from runners.generation import generate
from tests.tiny_trained import PLUGIN, stored
from zoo.rebuild import rebuilt

pytestmark = pytest.mark.skipif(
    find_spec("transformers") is None, reason="needs transformers (the extra lm)"
)

CASES = {
    **{name: (name, {"initialisation": "authors"}) for name in zoo.names()},
    "tied_not": ("metala", {"tied": False, "conv": "k2"}),
    "rope": ("attention", {"positions": "rope"}),
    "learned": ("attention", {"positions": "learned"}),
    "matched": ("gla", {"match": "attention", "norm": "layer"}),
    "mine": ("mine", {}),
}
TOKENS = (torch.arange(26).reshape(2, 13) * 9) % 257
SCRIPT = """
import json, sys
from pathlib import Path
from typing import Any
import safetensors.torch, torch
import zoo, zoo.hf
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
root, said = Path(sys.argv[1]), {}
zoo.plugin(root / "mine.py")
torch.set_flush_denormal(True)
expected = safetensors.torch.load_file(root / "expected.safetensors")
tokens = expected.pop("tokens")
for name, logits in expected.items():
    model = AutoModelForCausalLM.from_pretrained(root / name)
    model.save_pretrained(root / "again")
    again = AutoModelForCausalLM.from_pretrained(root / "again")
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    text = model.generate(tokens[:1], attention_mask=torch.ones_like(tokens[:1]), **options)
    embedding = model.get_input_embeddings().weight
    said[name] = {
        "equal": torch.equal(model(tokens).logits, logits),
        "equal_again": torch.equal(again(tokens).logits, logits),
        "text": text[0].tolist(),
        "tied": model.model.head_weight is embedding,
        "stored": sorted(safetensors.torch.load_file(root / "again" / "model.safetensors")),
    }
kinds = {"AutoTokenizer": AutoTokenizer, "PreTrainedTokenizerFast": PreTrainedTokenizerFast}
for name, kind in kinds.items():
    tokenizer = kind.from_pretrained(root / "metala")
    ids = tokenizer("h\\u00e9 <|endoftext|>")
    said[name] = [ids["input_ids"], sorted(ids), tokenizer.decode(ids["input_ids"]),
                  tokenizer.eos_token_id, tokenizer.bos_token, tokenizer.model_max_length]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def hf():
    """The classes, once imported. What transformers warns of is its own affair."""
    from transformers.utils import logging

    import zoo.hf

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    return zoo.hf


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What another process says of a folder of each case, the models here, and the root."""
    root = tmp_path_factory.mktemp("hf")
    (root / "mine.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "_plugins", {})
        zoo.plugin(root / "mine.py")
        own = {"channel_mixer": "own", "norm": "own"}
        models = {
            case: stored(root / case, name, **{**({} if case == "matched" else own), **fields})
            for case, (name, fields) in CASES.items()
        }
    torch.set_flush_denormal(True)
    with torch.no_grad():
        expected = {case: model(TOKENS)[0] for case, model in models.items()}
    safetensors.torch.save_file({**expected, "tokens": TOKENS}, root / "expected.safetensors")
    command = [sys.executable, "-c", SCRIPT, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), models, root


def from_folder(root: Path, case: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(root / case)


@pytest.mark.parametrize("case", CASES)
def test_a_fresh_process_reads_the_same_bits_and_writes_them_again(elsewhere, case):
    said = elsewhere[0][case]
    assert said["equal"]
    assert said["equal_again"]
    assert said["tied"] == (case != "tied_not")
    names = safetensors.torch.load_file(elsewhere[2] / case / "model.safetensors")
    assert sorted(names) == said["stored"]


@pytest.mark.parametrize("case", CASES)
def test_generate_gives_the_tokens_of_our_own_generation(elsewhere, case):
    said, models, _ = elsewhere
    expected = generate(models[case], TOKENS[0].tolist(), tokens=6)
    assert said[case]["text"] == [*TOKENS[0].tolist(), *expected]


@pytest.mark.parametrize("kind", ["AutoTokenizer", "PreTrainedTokenizerFast"])
def test_the_tokeniser_is_read_too(elsewhere, kind):
    ids, names, text, eos, bos, longest = elsewhere[0][kind]
    assert ids == [*"hé ".encode(), 256]
    assert names == ["attention_mask", "input_ids"]
    assert text == "hé <|endoftext|>"
    assert (eos, bos, longest) == (256, None, 24)


def test_what_transformers_wrote_is_read_without_it(hf, elsewhere, tmp_path):
    _, models, root = elsewhere
    from_folder(root, "retnet").save_pretrained(tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "again" / name).write_bytes((root / "retnet" / name).read_bytes())
    found = trained.load(tmp_path / "again")
    with torch.no_grad():
        assert torch.equal(found.model(TOKENS)[0], models["retnet"](TOKENS)[0])
    assert found.about["value"] == 2.5


@pytest.mark.parametrize("case", ["metala", "attention", "rwkv6", "cosformer", "performer", "h3"])
def test_rows_with_pads_read_as_they_do_alone(hf, elsewhere, case):
    model = from_folder(elsewhere[2], case).double()
    spans = [(0, 9), (2, 9), (5, 9), (2, 9), (0, 4)]  # pads in front; behind the last one
    mask = torch.zeros(5, 9, dtype=torch.int64)
    tokens = torch.randint(0, 257, (5, 9))
    for row, (begin, end) in enumerate(spans):
        mask[row, begin:end] = 1
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask).logits
        for row, (begin, end) in enumerate(spans):
            alone = model(tokens[row : row + 1, begin:end]).logits[0]
            torch.testing.assert_close(logits[row, begin:end], alone, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", ["metala", "attention", "rwkv4", "cosformer"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_padded_batch_generates_what_each_prompt_does_alone(hf, elsewhere, case, beams):
    model = from_folder(elsewhere[2], case).double()
    options = {"max_new_tokens": 7, "do_sample": False, "num_beams": beams, "eos_token_id": None}
    tokens = torch.randint(0, 256, (3, 6))
    mask = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1], [1] * 6])
    found = model.generate(tokens, attention_mask=mask, **options)
    for row in range(3):
        own = tokens[row : row + 1, mask[row] == 1]
        alone = model.generate(own, attention_mask=torch.ones_like(own), **options)
        assert found[row, 6:].tolist() == alone[0, own.shape[1] :].tolist()


@pytest.mark.parametrize("case", ["metala", "rwkv4", "attention", "cosformer"])
def test_the_state_is_the_cache_and_grows_for_some_models_only(hf, elsewhere, case):
    model = from_folder(elsewhere[2], case).double()
    with torch.no_grad():
        cache = model(TOKENS[:, :5], use_cache=True).past_key_values
        size = cache.state_bytes()
        rest = model(TOKENS[:, 5:], past_key_values=cache, use_cache=True)
        whole = model(TOKENS, use_cache=False)
    assert whole.past_key_values is None
    assert rest.past_key_values.get_seq_length() == 13
    assert (rest.past_key_values.state_bytes() > size) == (case in ("attention", "cosformer"))
    torch.testing.assert_close(rest.logits, whole.logits[:, 5:], rtol=1e-9, atol=1e-9)


def test_sampling_draws_by_torchs_seed_and_the_cache_changes_nothing(hf, elsewhere):
    model, mask = from_folder(elsewhere[2], "gla").double(), torch.ones_like(TOKENS)
    found = []
    for use_cache in (True, False, True):
        torch.manual_seed(3 if len(found) < 2 else 4)
        options = {"max_new_tokens": 8, "do_sample": True, "use_cache": use_cache}
        found.append(model.generate(TOKENS, attention_mask=mask, **options).tolist())
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("mask", "options", "said"),
    [
        ([[1, 0, 1]], {}, "zeros between tokens"),
        ([[0, 0, 0]], {}, "a row without tokens"),
        ([[1, 1]], {}, r"attention_mask is \(1, 2\), expected b t = \(1, 3\)"),
        ([[1, 1, 0]], {"use_cache": True}, "padding_side = 'left'"),
        ([[1, 1, 1]], {"output_hidden_states": True}, "output_hidden_states is not supported"),
        ([[1, 1, 1]], {"output_attentions": True}, "output_attentions is not supported"),
    ],
)
def test_what_is_not_supported_is_refused(hf, elsewhere, mask, options, said):
    model = from_folder(elsewhere[2], "metala")
    with pytest.raises(ValueError, match=said):
        model(TOKENS[:1, :3], attention_mask=torch.tensor(mask), **options)


def test_gradient_checkpointing_is_refused(hf, elsewhere):
    with pytest.raises(ValueError, match="does not support"):
        from_folder(elsewhere[2], "metala").activation_checkpointing_enable()


def test_the_loss_is_of_the_next_token_and_has_gradients(hf, elsewhere):
    model = from_folder(elsewhere[2], "metala").train()
    labels = TOKENS.clone()
    labels[:, :4] = -100
    out = model(TOKENS, labels=labels)
    expected = torch.nn.functional.cross_entropy(
        out.logits[:, 3:-1].flatten(0, 1), TOKENS[:, 4:].flatten()
    )
    torch.testing.assert_close(out.loss, expected)
    assert out.past_key_values is None
    out.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bfloat16_keeps_the_buffers_that_decays_are_made_of(hf, elsewhere):
    from transformers import AutoModelForCausalLM

    _, models, root = elsewhere
    model = AutoModelForCausalLM.from_pretrained(root / "retnet", dtype=torch.bfloat16)
    assert model.get_input_embeddings().weight.dtype is torch.bfloat16
    for name, buffer in models["retnet"].named_buffers():
        assert torch.equal(model.model.get_buffer(name), buffer)


def test_weights_that_lack_a_tensor_are_refused(hf, elsewhere, tmp_path):
    stored(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    del weights["model.blocks.1.mixer.w_o.weight"]
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks model\.blocks\.1\.mixer\.w_o\.weight"):
        from_folder(tmp_path, "m")


def test_a_model_drawn_here_keeps_its_own_initialisation(hf):
    config = hf.ZooConfig(zoo_model="rwkv4", vocab_size=11, d_model=32, depth=2)
    torch.manual_seed(7)
    model = hf.ZooForCausalLM(config)
    torch.manual_seed(7)
    expected = rebuilt(config.to_dict())
    for name, parameter in expected.named_parameters():
        assert torch.equal(model.model.get_parameter(name), parameter)


def test_export_tries_transformers(hf, elsewhere, tmp_path, capsys):
    assert export.main([str(elsewhere[2] / "rwkv7"), str(tmp_path / "there")]) == 0
    assert "and by transformers: the same logits" in capsys.readouterr().err


def test_importing_the_zoo_imports_no_transformers():
    code = "import sys, zoo, runners.trained; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
