"""Trained models on disk: whole or not there, equal after loading, and found by name."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import zoo
from runners import trained, trained_folder
from runners.commands import export, generate
from runners.trained_files import FILES
from tasks.lm import tokenisers
from tasks.lm.tokenisers import BYTES
from tests.tiny_trained import PLUGIN, model_of, stored, tiny
from zoo.model import Model

KEYS = ("3f9c000000000000", "3f9d000000000000", "aa00000000000000")


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.setattr(zoo, "_plugins", {})


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "models" / KEYS[0]


def logits(model: Model) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(40).reshape(2, 20) * 6)[0]


def test_a_loaded_model_has_the_same_logits_tokeniser_and_history(folder):
    model = stored(folder)
    before = torch.get_rng_state()
    found = trained.load(folder)
    assert torch.equal(logits(found.model), logits(model))
    assert torch.equal(torch.get_rng_state(), before)
    assert not found.model.training
    assert found.tokeniser is BYTES
    assert found.seq_len == 24
    assert found.about["value"] == 2.5
    assert found.about["key"] == tiny("metala").key
    assert found.about["tokens"] == tiny("metala").tokens
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("metala:no_aug", {"conv": "k3-silu", "tied": False, "channel_mixer": "geglu"}),
        ("retnet", {"initialisation": "authors", "norm": "own", "channel_mixer": "own"}),
        ("rwkv4", {"initialisation": "authors", "channel_mixer": "own", "depth": 1}),
        ("attention", {"positions": "learned", "dropout": 0.1, "attention_dropout": 0.2}),
        ("attention", {"positions": "rope", "match": "attention"}),
        ("performer", {"d_channel": 17}),
    ],
)
def test_every_option_of_a_run_survives(folder, name, fields):
    model, found = stored(folder, name, **fields), trained.load(folder).model
    assert torch.equal(logits(found), logits(model))
    assert found.dropout.p == model.dropout.p
    dropped = [[mixer.attention_dropout for mixer in each.mixers()] for each in (found, model)]
    assert dropped[0] == dropped[1]


def test_float64_stays_float64(folder):
    config = tiny("retnet")
    model = model_of(config).double()
    trained.save(folder, model, config, BYTES, {})
    assert torch.equal(logits(trained.load(folder).model), logits(model))


def test_a_trained_vocabulary_survives(folder):
    content = json.loads(BYTES.json)
    content["model"]["vocab"]["ab"] = 257
    bpe = tokenisers.from_json("bpe-300", json.dumps(content), vocabulary=300)
    config = tiny("metala", tokeniser="bpe-300")
    trained.save(folder, model_of(config), config, bpe, {})
    found = trained.load(folder).tokeniser
    assert (found.name, found.vocabulary, found.eos) == ("bpe-300", 300, 256)
    assert found.decode([257, 99, 256]) == "abc"


def test_replacing_a_model_keeps_what_others_put_there(folder):
    stored(folder)
    (folder / "README.md").write_text("mine")
    model = stored(folder, "gla")
    assert torch.equal(logits(trained.load(folder).model), logits(model))
    assert (folder / "README.md").read_text() == "mine"
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_what_a_killed_process_left_is_removed(folder):
    left = folder.with_name(f"{folder.name}.ab12.part")
    other = folder.with_name(f"{KEYS[1]}.ab12.part")
    left.mkdir(parents=True)
    other.mkdir()
    stored(folder)
    assert sorted(p.name for p in folder.parent.iterdir()) == [folder.name, other.name]


def test_a_link_stays_a_link(folder, tmp_path):
    stored(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    model = stored(link, "gla")
    assert link.is_symlink()
    assert torch.equal(logits(trained.load(folder).model), logits(model))


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "m").write_text("mine")
    with pytest.raises(OSError, match="Not a directory"):
        stored(tmp_path / "m")
    assert (tmp_path / "m").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("fails", ["durably", "take_place"])
def test_a_full_disk_loses_nothing(folder, monkeypatch, fails):
    model, calls = stored(folder), []

    def full(*arguments):
        calls.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trained_folder, fails, full)
    with pytest.raises(OSError, match="No space left") as raised:
        stored(folder, "gla")
    assert calls
    assert raised.value.filename == str(folder)
    monkeypatch.undo()
    assert torch.equal(logits(trained.load(folder).model), logits(model))
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_failed_rename_puts_the_old_model_back(folder, monkeypatch):
    model, rename = stored(folder), Path.rename

    def once(self, target):
        if self.suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(OSError, match="Input/output"):
        stored(folder, "gla")
    assert torch.equal(logits(trained.load(folder).model), logits(model))
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", FILES[:3])
def test_a_missing_file_is_named(folder, name):
    stored(folder)
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        trained.load(folder)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"\xff", "config.json is damaged"),
        ("config.json", b"[]", "of model_type 'list'"),
        ("config.json", b'{"model_type": "llama"}', "of model_type 'llama'"),
        ("config.json", b'{"model_type": "lazoo"}', "has no zoo_model"),
        ("model.safetensors", b"", "model.safetensors is damaged"),
        ("tokenizer.json", b"{}", "has no model.vocab"),
    ],
)
def test_damage_is_explained(folder, name, data, said):
    stored(folder)
    (folder / name).write_bytes(data)
    with pytest.raises(ValueError, match=said):
        trained.load(folder)


def test_cut_off_weights_are_explained(folder):
    stored(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        trained.load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d_model": 64}, r"embedding\.weight is \(257, 32\), and config\.json says \(257, 64\)"),
        ({"depth": 3}, r"lacks blocks\.2"),
        ({"depth": 1}, r"has too much: blocks\.1"),
        ({"conv": None}, "lacks conv"),
        ({"d_model": "wide"}, "is damaged"),
        ({"zoo_model": "metla"}, "did you mean metala"),
        ({"zoo_model": "metala:no_agu"}, "did you mean no_aug"),
    ],
)
def test_a_config_that_is_not_of_the_weights_is_refused(folder, change, said):
    stored(folder)
    told = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(told | change))
    with pytest.raises(ValueError, match=said):
        trained.load(folder)


def test_a_plugin_must_be_given_and_be_the_same(folder, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    zoo.plugin(path)
    model = stored(folder, "mine")
    assert torch.equal(logits(trained.load(folder).model), logits(model))
    path.write_text(PLUGIN + "# changed\n")
    with pytest.raises(ValueError, match="mine was trained with a plugin of sha256"):
        trained.load(folder)
    monkeypatch.setattr(zoo, "_plugins", {})
    with pytest.raises(ValueError, match="--plugin FILE"):
        trained.load(folder)


def test_names_stand_for_folders_keys_and_beginnings(tmp_path):
    out = tmp_path
    for key in KEYS:
        stored(out / "models" / key)
    assert trained.resolve("aa", out) == out / "models" / KEYS[2]
    assert trained.resolve(KEYS[1], out) == out / "models" / KEYS[1]
    assert trained.resolve(str(out / "models" / KEYS[0]), tmp_path / "none").name == KEYS[0]
    with pytest.raises(ValueError, match=r"2 models .*(\n.*)*3f9c.*metala, classics.*\n.*3f9d"):
        trained.resolve("3f9", out)
    with pytest.raises(ValueError, match="no trained model is called 'b'"):
        trained.resolve("b", out)
    with pytest.raises(ValueError, match="no trained model is called ''"):
        trained.resolve("", out)
    with pytest.raises(ValueError, match="holds no trained model"):
        trained.resolve(str(out), out)
    with pytest.raises(ValueError, match="lazoo lm puts one"):
        trained.resolve("aa", out / "none")


def test_a_folder_being_written_is_not_found(tmp_path):
    stored(tmp_path / "models" / KEYS[0])
    shutil.copytree(tmp_path / "models" / KEYS[0], tmp_path / "models" / f"{KEYS[1]}.ab.part")
    with pytest.raises(ValueError, match="no trained model"):
        trained.resolve(KEYS[1][:4], tmp_path)


def test_loading_and_generating_need_no_library_of_hugging_face(folder):
    stored(folder)
    code = (
        "import sys; from runners.commands import generate; generate.main(sys.argv[1:]);"
        "print([m for m in ('transformers', 'tokenizers', 'datasets') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(folder), "In", "--tokens", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_export_copies_and_refuses_to_mix(folder, tmp_path, capsys, monkeypatch):
    model, there = stored(folder), tmp_path / "there"
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    run = ["3f9c", str(there), "--out", str(tmp_path)]
    assert export.main(run) == 0
    said = capsys.readouterr()
    assert f"AutoModelForCausalLM.from_pretrained('{there}')" in said.out
    assert "transformers is not installed" in said.err
    assert torch.equal(logits(trained.load(there).model), logits(model))
    for target, more, why in (
        (there, [], "type --force"),
        (folder, ["--force"], "is the model itself"),
        (tmp_path, ["--force"], "holds no trained model"),
    ):
        with pytest.raises(SystemExit):
            export.main(["3f9c", str(target), "--out", str(tmp_path), *more])
        assert why in capsys.readouterr().err
    assert export.main([*run, "--force"]) == 0


def test_export_keeps_nothing_that_reads_differently(folder, tmp_path, capsys, monkeypatch):
    stored(folder)
    seen = iter(range(10))
    monkeypatch.setattr(export, "logits", lambda found, tokens: torch.tensor(next(seen)) + 0.0)
    assert export.main([str(folder), str(tmp_path / "there")]) == 1
    assert "differ by up to 1" in capsys.readouterr().err
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--samples", "0"], "samples 0"),
        (["--samples", "2", "--temperature", "0"], "the same text"),
        (["--temperature", "-1"], "temperature -1"),
        (["--top-p", "0"], "top_p 0"),
        (["--top-k", "-2"], "top_k -2"),
        (["--tokens", "-1"], "tokens -1"),
    ],
)
def test_generate_refuses_what_makes_no_text(folder, capsys, flags, said):
    stored(folder)
    with pytest.raises(SystemExit) as stop:
        generate.main([str(folder), "In", *flags])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
