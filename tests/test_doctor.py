"""What `lazoo doctor` says of libraries and backends, on machines with a GPU and without."""

import importlib.util

import pytest
import torch

import zoo.scan
from runners import doctor
from tasks import lra
from tasks.lra.data import cache_folder
from tests.peer_cases import MODULES, add
from zoo.scan import fla_delta


@pytest.fixture
def without(monkeypatch):
    """Makes a machine that has no library of that name, with a GPU or without."""

    def lack(library, gpu):
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == library else found(name)
        )
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        return {fact.what: fact for fact in doctor.libraries()}

    return lack


@pytest.mark.parametrize("gpu", [True, False])
def test_a_library_to_compare_with_is_no_fault_where_it_is_missing(without, monkeypatch, gpu):
    add(monkeypatch)
    fact = without("fla", gpu)["flash-linear-attention"]
    assert fact.good is None
    assert "fla_gla, fla_simple_gla, fla_hgrn" in fact.said
    assert fact.remedy.endswith("--editable '.[gpu]'")
    fact = without("mamba_ssm", gpu)["mamba-ssm"]
    assert fact.good is None
    assert "mamba_ssm" in fact.said
    assert "--no-build-isolation" in fact.remedy


@pytest.mark.parametrize("gpu", [True, False])
def test_triton_is_a_fault_only_where_it_is_missed_on_a_gpu(without, gpu):
    assert without("triton", gpu)["triton"].good is (False if gpu else None)


def test_numba_is_asked_for_with_its_extra_where_it_is_missing(without):
    assert doctor.numba().good is True
    without("numba", gpu=False)
    fact = doctor.numba()
    assert (fact.good, fact.remedy.endswith("--editable '.[lra]'")) == (None, True)


def test_data_sets_that_are_here_are_named_with_how_to_get_the_others(tmp_path):
    fact = doctor.data_sets(tmp_path)
    assert (fact.good, "none yet" in fact.said) == (None, True)
    assert fact.remedy.startswith(f"lazoo data --root {tmp_path}")
    for name in lra.DATASETS:
        cache_folder(name, tmp_path).mkdir(parents=True)
    fact = doctor.data_sets(tmp_path)
    assert (fact.good, fact.remedy) == (True, "")
    assert "pathx-20k" in fact.said


def test_every_backend_says_of_a_model_why_it_does_not_run_it(monkeypatch):
    add(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = doctor.served("hgrn")
    assert told.backend == "vector"
    assert {*told.refused, "vector"} == {module.NAME for module in zoo.scan.BACKENDS}
    assert all(told.refused[name] for name in MODULES)
    assert told.refused["loop"] == ""


def test_a_backend_that_could_run_is_found_without_running_it(monkeypatch):
    """Another library's kernel may tune itself for minutes, or be broken."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(fla_delta, "refuses", lambda case: "")
    told = doctor.served("delta_net")
    assert (told.backend, told.refused["fla_delta"]) == ("delta", "")
