"""Steps on the device: the host's numbers, nothing read back, one capture a shape of batch."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import zoo
from runners import mqar
from runners.config import Mqar, build
from runners.device_step import DeviceStep
from runners.execution import Execution
from runners.forms import Compiled, form_of, make_step, through
from runners.graph_step import CudaGraphs, GraphStep
from runners.step import WARM_UP_STEPS, Alone, HostStep
from tests.captures import Again

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "vocabulary": 64,
    "length": 20,
    "pairs": 3,
    "d_model": 16,
    "batch": 8,
    "train_rows": 20,
    "valid_rows": 4,
    "test_rows": 4,
    "updates": 12,
}


def config(**fields: Any) -> Mqar:
    return Mqar(**{"model": "attention", **SMALL, **fields})


def made(kind, of: Mqar, loss=mqar.loss, **options):
    torch.manual_seed(of.seed)
    model = build(of)
    if kind is HostStep:
        return model, HostStep(model, of, loss, epoch=3)
    return model, kind(Alone(model, loss), [of], device=CPU, epoch=3, **options)


def followed(kind, of: Mqar, **options):
    """Losses, norms and final parameters of of.updates updates; batches of 8, 8 and 4 rows."""
    model, step = made(kind, of, **options)
    for update, batch in zip(range(1, of.updates + 1), batches(of)):
        step(batch, update)
    return step.look(), list(model.parameters())


def batches(of: Mqar, device: torch.device = CPU):
    return mqar.batches(of, mqar.splits(of, device).train)


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"dropout": 0.2},
    {"clip": 0.0},
    {"clip": 0.3, "decay_all": True, "model": "gla"},
    {"schedule": "cosine-epoch", "model": "mamba"},
    {"warmup": 5, "precision": "bf16", "model": "metala"},
)


@pytest.mark.parametrize("fields", VARIANTS)
@pytest.mark.parametrize("kind", [DeviceStep, GraphStep])
def test_steps_on_the_device_are_those_of_the_host_bit_by_bit(kind, fields):
    options = {"graphs": Again()} if kind is GraphStep else {}
    of = config(**fields)
    seen, ours = followed(kind, of, **options)
    expected, theirs = followed(HostStep, of)
    assert seen == expected
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_norm_of_exactly_the_limit_is_not_clipped():
    of = config(updates=1)
    norm = followed(HostStep, of)[0][0][1][0]
    (seen, ours), (_, theirs) = (
        followed(k, config(updates=1, clip=norm)) for k in (DeviceStep, HostStep)
    )
    assert seen[0][1] == [norm]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_after_the_first_bad_update_nothing_changes():
    def loss(model, batch):
        bad = torch.where((batch[0] == -1).any(), float("nan"), 1.0)
        return mqar.loss(model, (batch[0].abs(), *batch[1:])) * bad

    of = config()
    model, step = made(DeviceStep, of, loss)
    tokens, *rest = next(batches(of))
    marked = torch.where(torch.arange(20) == 7, -1, tokens)
    step((tokens, *rest), 1)
    before = [p.clone() for p in model.parameters()]
    for update, x in enumerate((marked, tokens, tokens), 2):
        step((x, *rest), update)
    assert [loss == loss for (loss,), _ in step.look()] == [True, False, True, True]
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_frozen_model_stays_as_it_is():
    of = config()
    model, step = made(DeviceStep, of)
    step.freeze(0)
    before = [p.clone() for p in model.parameters()]
    step(next(batches(of)), 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_every_shape_of_batch_is_captured_once_after_updates_that_count():
    graphs, of = Again(), config(updates=24)
    followed(GraphStep, of, graphs=graphs)
    assert len({batch[0].shape for batch, _ in zip(batches(of), range(3))}) == 2
    assert (graphs.captures, graphs.eager) == (2, 2 * WARM_UP_STEPS)


def test_a_replay_reads_its_buffers_and_not_the_batch_it_was_captured_with():
    class Recorded(Again):
        def capture(self, work):
            self.inputs = work.args[0]
            return super().capture(work)

    graphs, of = Recorded(), config(batch=10)
    _, step = made(GraphStep, of, graphs=graphs)
    for update, batch in zip(range(1, 7), batches(of)):
        step(batch, update)
        if update > WARM_UP_STEPS:
            assert all(torch.equal(x, y) for x, y in zip(graphs.inputs, batch, strict=True))
            assert all(x is not y for x, y in zip(graphs.inputs, batch, strict=True))


class Failing(Again):
    def __init__(self, error):
        super().__init__()
        self.error, self.groups = error, list[Any]()

    def capture(self, work):
        assert all(group["capturable"] for group in self.groups)
        try:
            raise self.error
        finally:
            # What the end of a capture that failed says.
            raise RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            RuntimeError("operation not permitted when stream is capturing\nmore"),
            RuntimeError,
            "the training step of attention cannot be captured as a CUDA graph: operation not"
            " permitted when stream is capturing; type --no-graph",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            torch.OutOfMemoryError,
            "CUDA out of memory",
        ),
    ],
)
def test_a_failed_capture_says_why(error, kind, text):
    graphs, of = Failing(error), config(batch=10)
    _, step = made(GraphStep, of, graphs=graphs)
    assert isinstance(step, GraphStep)
    graphs.groups = step.optimisers[0].param_groups
    source = batches(of)
    for update in range(1, WARM_UP_STEPS + 1):
        step(next(source), update)
    with pytest.raises(kind) as caught:
        step(next(source), WARM_UP_STEPS + 1)
    assert str(caught.value) == text
    assert [group["capturable"] for group in graphs.groups] == [False, False]


class Unread(TorchDispatchMode):
    """Refuses what makes the host wait for a GPU, or cannot be captured."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in self.WAITS, f"{name} reads a value"
        # torch.tensor([...]) copies from the host; a single number goes along with its operation.
        made = name == "lift_fresh" and args[0].dim() > 0
        assert not made, "a tensor is made from numbers of the host"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", zoo.names())
def test_no_model_reads_a_value_in_its_update(model):
    of = config(model=model, precision="fp32")
    _, step = made(DeviceStep, of)
    batch = next(batches(of))
    with Unread():
        step(batch, 1)


@pytest.mark.parametrize(
    "factor", [lambda x: float(x.sum() > 0), lambda x: torch.tensor([1.0, 2.0])[0]]
)
def test_a_step_that_the_host_must_serve_is_found(factor):
    of = config()
    _, step = made(DeviceStep, of, lambda m, b: mqar.loss(m, b) * factor(b[0]))
    batch = next(batches(of))
    with pytest.raises(AssertionError, match=r"reads a value|numbers of the host"), Unread():
        step(batch, 1)


def test_the_row_names_every_form():
    cuda = torch.device("cuda")
    assert form_of(Execution(), CPU) == "eager"
    assert form_of(Execution(), cuda) == "cuda graph"
    assert form_of(Execution(graph=False), cuda) == "eager"
    assert form_of(Execution(compile=True), CPU) == "compiled"
    assert form_of(Execution(compile=True), cuda) == "compiled cuda graph"


def test_a_compiled_model_trains_like_the_plain_one():
    of = config(batch=10, updates=2)
    model, step = made(HostStep, of)
    step.loss = through(Compiled(model, backend="aot_eager"), mqar.loss)
    expected, theirs = followed(HostStep, of)
    for update, batch in zip((1, 2), batches(of)):
        step(batch, update)
    for (a, _), (b, _) in zip(step.look(), expected, strict=True):
        # The same operations; float32 sums may be ordered otherwise.
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("fields", VARIANTS)
def test_on_a_gpu_graphs_are_the_eager_step(fields):
    of, cuda = config(**fields), torch.device("cuda")
    seen, parameters = [], []
    for graph in (True, False):
        torch.manual_seed(of.seed)
        model = build(of, cuda)
        step = make_step(
            model, of, mqar.loss, device=cuda, execution=Execution(graph=graph), epoch=3
        )
        assert isinstance(getattr(step, "graphs", None), CudaGraphs) == graph
        for update, batch in zip(range(1, of.updates + 1), batches(of, cuda)):
            step(batch, update)
        seen.append(step.look())
        parameters.append(list(model.parameters()))
    assert seen[0] == seen[1]
    assert all(torch.equal(a, b) for a, b in zip(*parameters, strict=True))
