"""What a timing is compared with: counted bytes and operations, the roofline, and fits."""

import math
from types import SimpleNamespace

import pytest
import torch

from results import bench_growth
from runners import bench_roofline, bench_timing
from runners.bench_counts import Counts, exponentials, flops, input_bytes, least_bytes
from runners.bench_length import expected
from runners.bench_memory import peak_bytes
from runners.bench_roofline import Ceilings
from runners.bench_shapes import BY_NAME, Shape, inputs

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("shape", "itemsize", "wanted"),
    [
        # q, k, v of 2 3 1 4 in bf16, log decays of the same shape in float32; o like v.
        (Shape("a", "channel", 2, 3, 1, 4, 4), 2, 3 * (3 * 48 + 96) + 2 * 48),
        # Without keys.
        (Shape("a", "channel", 2, 3, 1, 4, 4, tied=True), 2, 3 * (2 * 48 + 96) + 2 * 48),
        # One step per head: 2 3 5 1.
        (Shape("a", "head", 2, 3, 5, 1, 1), 4, 3 * (3 * 120 + 120) + 2 * 120),
        # q and k of one head, 2 3 1 8; v 2 3 5 1; a step per head; a rate for 5 heads and 8 keys.
        (Shape("a", "ssm", 2, 3, 5, 8, 1), 4, 3 * (2 * 192 + 120 + 120 + 160) + 2 * 120),
        # q and k of 1 1 5 8, v 2 3 5 1, rates 5 8, angles 5 4.
        (Shape("a", "static", 2, 3, 5, 8, 1), 4, 3 * (2 * 160 + 120 + 160 + 80) + 2 * 120),
        # q, k, write and read, no decay.
        (Shape("a", "keep", 1, 2, 1, 4, 6, erases=True), 4, 3 * (4 * 32 + 48) + 2 * 48),
    ],
)
def test_least_bytes_are_each_input_three_times_and_each_output_twice(shape, itemsize, wanted):
    assert least_bytes(shape, itemsize) == wanted


@pytest.mark.parametrize("name", BY_NAME)
def test_the_counted_inputs_are_those_that_are_timed(name):
    given = BY_NAME[name]
    shape = Shape(name, given.kind, 1, 3, given.h, given.d_k, given.d_v, given.erases, given.tied)
    x = inputs(shape, torch.bfloat16)
    assert {n: y.numel() * y.element_size() for n, y in x.items()} == input_bytes(shape, 2)


def test_the_large_matrix_shape_moves_and_computes_what_is_known():
    shape = BY_NAME["matrix-large"]
    q, v, decay = 8 * 2048 * 4 * 128 * 2, 8 * 2048 * 4 * 256 * 2, 8 * 2048 * 4 * 128 * 4
    forward, backward = 2 * q + v + decay + v, 2 * (2 * q + v + decay) + v
    assert least_bytes(shape, 2) == forward + backward == 369_098_752
    assert flops(shape) == 3 * 4 * 8 * 2048 * 4 * 128 * 256  # forward is a third of both


def test_operations_are_counted_by_products_of_the_recurrence():
    assert flops(Shape("a", "channel", 2, 3, 5, 7, 11)) == 12 * 2 * 3 * 5 * 7 * 11
    assert flops(Shape("a", "keep", 2, 3, 5, 7, 11, erases=True)) == 24 * 2 * 3 * 5 * 7 * 11
    # 4 transforms of 16 points, 2.5 * 16 * 4 operations each, for 2 rows and 3 channels.
    assert flops(Shape("a", "static", 2, 8, 3, 64, 1)) == 2 * 3 * 4 * 160


def test_an_exponential_is_counted_for_each_decay_and_pass():
    assert exponentials(Shape("a", "channel", 2, 3, 5, 7, 11)) == 2 * 2 * 3 * 5 * 7
    assert exponentials(Shape("a", "ssm", 2, 3, 5, 7, 1)) == 2 * 2 * 3 * 5 * 7
    assert exponentials(Shape("a", "head", 2, 3, 5, 7, 11)) == 2 * 2 * 3 * 5
    assert exponentials(Shape("a", "keep", 2, 3, 5, 7, 11)) == 0


def test_the_floor_is_the_largest_of_moving_multiplying_and_exponentials():
    most = Ceilings(100.0, flops_per_second=1000.0, exponentials_per_second=10.0)
    assert bench_roofline.floor_seconds(Counts(200, 1000, 0), most) == 2.0
    assert bench_roofline.floor_seconds(Counts(100, 3000, 0), most) == 3.0
    assert bench_roofline.floor_seconds(Counts(100, 3000, 40), most) == 4.0
    assert bench_roofline.share(2.0, 8.0) == 0.25
    assert math.isnan(bench_roofline.share(2.0, 0.0))


def test_ceilings_count_bytes_read_and_written_and_two_operations_for_a_multiply_add(monkeypatch):
    monkeypatch.setitem(bench_roofline.SIZES, "cpu", (4000, 10))
    monkeypatch.setitem(bench_roofline.EXPONENTIALS, "cpu", (8, 3))
    monkeypatch.setattr(bench_roofline, "timed", lambda *a, **k: SimpleNamespace(median=0.5))
    assert bench_roofline.ceilings(CPU, torch.float32) == Ceilings(16_000, 4000, 48)


def test_the_kernel_that_measures_a_gpus_exponentials_makes_them_all():
    exponentials = pytest.importorskip("zoo.kernels.exponentials")
    x = torch.rand(1500, device="cuda" if torch.cuda.is_available() else "cpu")
    expected = x.double()
    for _ in range(5):
        expected = torch.exp2(-expected)
    # The hardware's exp2 is off by 2^-22 of its value; each round damps what came before.
    got = exponentials.repeated(x, 5).double()
    torch.testing.assert_close(got, expected, rtol=2**-20, atol=0)


@pytest.mark.parametrize("e", [1.0, 2.0, 1.3])
def test_the_exponent_of_a_cost_is_recovered(e):
    per_token = {length: 3e-6 * length ** (e - 1) for length in (512, 4096, 8192, 65_536)}
    assert bench_growth.exponent(per_token) == pytest.approx(e, abs=1e-9)


def test_short_lengths_take_no_part_in_a_fit_that_has_long_ones():
    per_token = {512: 9.0, 4096: 1.0, 8192: 2.0, 16_384: 4.0}
    assert bench_growth.exponent(per_token) == pytest.approx(2.0)
    assert bench_growth.fitted(per_token) == [4096, 8192, 16_384]
    assert bench_growth.exponent({512: 1.0, 1024: 2.0, 4096: 8.0}) == pytest.approx(2.0)
    assert bench_growth.exponent({4096: 1.0}) is None


def test_the_growth_between_two_lengths_says_what_the_next_would_take():
    assert expected({}, 512) == 0.0
    assert expected({512: 3.0}, 1024) == 3.0
    assert expected({512: 3.0, 1024: 6.0}, 4096) == pytest.approx(24.0)
    assert expected({512: 3.0, 1024: 1.0}, 2048) == 1.0


def test_calls_take_turns_and_the_first_of_each_is_not_counted():
    told, ticks = [], iter(range(100))
    calls = [lambda i=i: told.append(i) for i in range(2)]
    clock = lambda: float(next(ticks))  # noqa: E731
    found = bench_timing.timed(calls, CPU, repeats=3, seconds=60, clock=clock)
    assert told == [0, 1, 0, 1, 0]
    assert (found.median, found.repeats) == (1.0, 3)


def test_percentiles_are_of_the_timed_calls():
    found = bench_timing.summary([5.0, 1.0, 2.0, 3.0, 4.0], 9.0)
    assert (found.median, found.shortest, found.repeats, found.warm_up) == (3.0, 1.0, 5, 9.0)
    assert (found.p20, found.p80) == pytest.approx((1.8, 4.2))


def test_no_further_call_begins_when_time_is_over():
    told = []
    found = bench_timing.timed([lambda: told.append(0)], CPU, repeats=50, seconds=0)
    assert (len(told), found.repeats) == (1, 1)


class Event:
    """A device event that says how often it was recorded, in milliseconds."""

    now = 0.0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = Event.now

    def elapsed_time(self, end):
        return end.at - self.at


@pytest.fixture
def events(monkeypatch):
    """torch.cuda's clock without a GPU: each call below lasts 2 ms of it."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)

    def call():
        Event.now += 2.0

    return call


def test_events_of_a_gpu_are_in_seconds_and_bounded_by_repeats_and_by_time(events, monkeypatch):
    device = torch.device("cuda")
    found = bench_timing.timed([events] * 2, device, repeats=5, seconds=1e9)
    assert (found.median, found.p20, found.repeats) == (pytest.approx(0.002), 0.002, 5)
    ticks = iter([0.0, 1.0, 1.0, 2.0])  # the one call that is looked at takes a second
    monkeypatch.setattr(bench_timing.time, "perf_counter", lambda: next(ticks))
    assert bench_timing.timed([events], device, repeats=50, seconds=3.5).repeats == 3


def test_sets_of_inputs_together_are_thrice_a_cache(monkeypatch):
    cache = SimpleNamespace(L2_cache_size=50 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: cache)
    device = torch.device("cuda")
    assert bench_timing.sets(40 * 2**20, device) == 4
    assert bench_timing.sets(2**30, device) == 2
    assert bench_timing.sets(1, device) == bench_timing.MOST_SETS
    assert bench_timing.sets(1, CPU) == 1


def test_peak_memory_counts_the_tensors_that_live_at_once():
    def call():
        a = torch.empty(1000)  # 4000 bytes
        b = torch.empty(2000)
        del a
        c = torch.empty(1000)
        return b, c

    assert peak_bytes(call, CPU, held=100) == pytest.approx(100 + 12_000, abs=300)  # alignment
