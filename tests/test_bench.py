"""lazoo bench: each kind once end to end, its rows, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from results.store import Store
from runners import bench_forms, bench_op, bench_peers
from runners.bench_forms import UNASKED, forms_of, operator
from runners.bench_op_time import How, as_row
from runners.bench_roofline import Ceilings
from runners.bench_rows import MEASURED, WHAT, row
from runners.bench_shapes import BY_NAME, Shape, inputs
from runners.cli import main
from tests.peer_kernels import fused_recurrent_hgrn, selective_scan_fn

CPU = torch.device("cpu")
TINY = Shape("tiny", "head", 1, 4, 2, 1, 1)
MOST = Ceilings(1e10, 1e11, 1e9)
SMALL = "--d-model 16 --length 16 --pairs 2 --batch 4 --steps 2"
KINDS = {
    "op": "op vector-quick --repeats 1 --seconds 9",
    "mixer": "mixer gla --d-model 32 --batch 2 --length 8 --repeats 2 --threads 1",
    "step": f"step linformer {SMALL} --threads 1",
    "sweep": "sweep gla --d-model 16 --lr 0.01 --seeds 2 --updates 1 --threads 1",
    "efficiency": "efficiency gla --d-model 32 --length 8 16 --tokens 16 --repeats 1",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_prints_a_table_and_stores_its_rows(capsys, kind):
    assert main(["bench", *KINDS[kind].split()]) == 0
    said = capsys.readouterr().out
    assert "1 thread" in said
    found = Store("runs").read("bench")
    assert found
    assert {each["kind"] for each in found} == {kind}
    for each in found:
        assert {*WHAT, *MEASURED} <= {*each}
        assert (each["status"], each["device"], each["threads"]) == ("ok", found[0]["device"], 1)
        assert 0 < each["p20"] <= each["median_seconds"] <= each["p80"]
        assert each["peak_memory_bytes"] > 0
    assert len({each["key"] for each in found}) == len(found)


def test_every_form_of_a_scan_is_timed_beside_the_chosen_backend():
    first, *others = bench_op.bench_shape(TINY, How(CPU, repeats=2), MOST)
    assert (first.form, first.slower, first.repeats) == ("vector", 1.0, 2)
    assert {"loop, unbind", "loop, indexing"} <= {other.form for other in others}
    assert first.median
    assert first.share == pytest.approx(first.floor_seconds / first.median)
    for other in others:
        assert other.median
        assert other.slower == other.median / first.median


def test_named_backends_stand_beside_the_chosen_one():
    how = How(CPU, "bf16", repeats=1, backends=("loop", "parallel"), loops=False)
    found = list(bench_op.bench_shape(TINY, how, MOST))
    assert [each.form for each in found] == ["vector", "loop", "parallel"]
    assert {as_row(each, CPU)["dtype"] for each in found} == {"bf16"}


def test_lengths_keep_the_tokens_and_leave_out_the_loops():
    found = list(bench_op.bench_lengths(TINY, (8, 2, 4), How(CPU, repeats=1), MOST))
    assert [(each.shape.t, each.shape.b) for each in found] == [(2, 4), (4, 2), (8, 1)]
    assert {each.form for each in found} == {"vector"}


def test_a_length_without_hope_is_left_out_and_says_so(monkeypatch):
    monkeypatch.setattr(bench_op, "expected", lambda known, length: 9.0 if known else 0.0)
    how = How(CPU, repeats=1, backends=("loop",))
    found = list(bench_op.bench_lengths(TINY, (2, 4), how, MOST))
    assert [(each.form, each.status) for each in found] == [
        *(("vector", "ok"), ("loop", "ok")),
        *(("vector", "timeout"), ("loop", "timeout")),
    ]
    assert found[3].error == "left out: 9.0 s expected, limit 3 s"
    assert as_row(found[3], CPU)["tokens_per_second"] is None


def test_a_form_that_fails_is_a_row_and_the_others_go_on(monkeypatch):
    forward_backward = bench_op.forward_backward

    def failing(form, x, d_o):
        if form is failing_form:
            raise RuntimeError("no such kernel\nmore")
        forward_backward(form, x, d_o)

    failing_form = bench_op.named_forms(TINY, How(CPU))[1].run
    named = bench_op.named_forms(TINY, How(CPU))
    forms = [replace(each, run=failing_form) if i == 1 else each for i, each in enumerate(named)]
    monkeypatch.setattr(bench_op, "named_forms", lambda *_: forms)
    monkeypatch.setattr(bench_op, "forward_backward", failing)
    found = list(bench_op.bench_shape(TINY, How(CPU, repeats=1), MOST))
    assert [each.status for each in found][:3] == ["ok", "failed", "ok"]
    assert (found[1].error, found[1].median, found[1].slower) == ("no such kernel", None, None)


def test_the_same_measurement_has_the_same_key_and_another_device_another(monkeypatch):
    what = {"kind": "op", "name": "tiny", "backend": "vector"}
    first = row(CPU, what, median_seconds=1.0)
    assert row(CPU, what, median_seconds=2.0)["key"] == first["key"]
    assert row(CPU, {**what, "label": "Tiny"})["key"] == first["key"]
    assert row(CPU, {**what, "backend": "loop"})["key"] != first["key"]
    for name in ("device_name", "torch.get_num_threads"):
        with monkeypatch.context() as patch:
            patch.setattr(f"runners.provenance.{name}", lambda *_: 77)
            assert row(CPU, what)["key"] != first["key"]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("op matirx", "did you mean matrix?"),
        ("op matrix --backend ssm", "ssm: needs a step per head"),
        ("op matrix --backend nope", "backend 'nope' is not known"),
        ("op matrix --repeats 0", "type --repeats 1"),
        ("op matrix --length 0", "length 0"),
        ("op --device cuda", "torch sees no GPU here"),
        ("mixer metla", "did you mean metala?"),
        ("mixer metala --d-model 30", "30"),
        ("step attention --steps 0", "steps 0 leaves nothing to time"),
        ("step attention --length 8", "8"),
        ("sweep metla", "did you mean metala?"),
        ("sweep gla --seeds 0", "seeds 0 leaves nothing to time"),
        ("efficiency --preset quik", "did you mean quick?"),
        ("efficiency metla", "did you mean metala?"),
        ("efficiency rwkv6 --d-model 32", "type another --d-model or --parameters"),
        ("efficiency --length 8192", "length 8192 does not go with 4096 tokens"),
        ("efficiency gla --backend nope", "nope"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_timed(capsys, line, hint):
    if "cuda" in line and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["bench", *line.split()]) == 2
    said = capsys.readouterr()
    assert hint in said.err
    assert not said.out
    assert not Path("runs").exists()


def test_json_has_the_numbers_and_nothing_else(capsys):
    assert main(["bench", *KINDS["op"].split(), "--json", "--out", "else"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[0]["shape"]["name"] == "vector-quick"
    assert told[0]["slower"] == 1.0
    assert Store("else").read("bench")


def test_the_large_shapes_have_the_sizes_of_a_layer_of_width_1024():
    large = [shape for name, shape in BY_NAME.items() if name.endswith("-large")]
    assert {(shape.b, shape.t, shape.h * shape.d_v) for shape in large} == {(8, 2048, 1024)}


def test_mamba_ssm_is_timed_in_its_own_terms_and_layout(monkeypatch):
    monkeypatch.setattr(bench_peers.peers, "function", lambda module, name: selective_scan_fn)
    monkeypatch.setattr(bench_peers, "mamba_ssm_fits", lambda shape, device: shape.kind == "ssm")
    shape = Shape("tiny", "ssm", 2, 7, 3, 4, 1)
    x = inputs(shape)
    form = next(form for form in forms_of(shape, x) if form.name == "mamba-ssm")
    own = form.layout(x)
    # It is handed v and the step, ours their product.
    product = {name: y.detach() for name, y in x.items()} | {"v": x["step"] * x["v"]}
    torch.testing.assert_close(form.run(own).mT.unsqueeze(3), operator(product))
    assert set(own) == set(x)
    found = {each.form: each for each in bench_op.bench_shape(shape, How(CPU, repeats=1), MOST)}
    assert found["mamba-ssm"].status == "ok"


def test_the_chunked_hgrn_kernel_is_timed_in_its_own_terms(monkeypatch):
    def chunk_hgrn(x, g):
        return fused_recurrent_hgrn(x, g, initial_state=None, output_final_state=True)

    monkeypatch.setattr(bench_peers.peers, "function", lambda module, name: chunk_hgrn)
    monkeypatch.setattr(bench_peers, "chunk_hgrn_fits", lambda shape, device: True)
    x = inputs(TINY)
    form = next(form for form in forms_of(TINY, x) if form.name == "fla, chunk_hgrn")
    ones = {name: y.detach() for name, y in x.items()} | dict.fromkeys(
        "qk", torch.ones_like(x["q"])
    )
    torch.testing.assert_close(form.run(form.layout(x)).unsqueeze(3), operator(ones))
    found = {each.form: each for each in bench_op.bench_shape(TINY, How(CPU, repeats=1), MOST)}
    assert found["fla, chunk_hgrn"].status == "ok"


def test_what_stands_in_for_others_is_timed_only_where_it_is_asked_for(monkeypatch):
    x = inputs(TINY)
    monkeypatch.setattr(bench_forms, "explain", lambda case: dict.fromkeys((*UNASKED, "loop"), ""))
    monkeypatch.setattr(bench_forms, "choose", lambda *given, **order: "vector")
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    names = {form.name for form in forms_of(TINY, x, loops=False)}
    assert "loop" in names
    assert not names & set(UNASKED)
    assert {form.name for form in forms_of(TINY, x, graph=True)} == {"vector"}


@pytest.mark.parametrize("shape", BY_NAME.values(), ids=lambda shape: shape.name)
def test_what_the_benchmark_compares_computes_the_same(shape: Shape) -> None:
    x = inputs(replace(shape, b=1, t=9))
    expected = bench_forms.operator(x)
    for form in bench_forms.forms_of(shape, x):
        error = (form.run(x) - expected).norm() / expected.norm()
        assert error < 1e-5, form.name
