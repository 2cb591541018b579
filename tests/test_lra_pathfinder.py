"""The Pathfinder generator against the published one, and against its own labels."""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tasks.lra import DATASETS, data, pathfinder, pathfinder_shards, rows
from tasks.lra.pathfinder_statistics import statistics
from tasks.lra.pathfinder_tables import DEGREES, tables

pytest.importorskip("numba", reason="drawing needs the extra lra")

# sha256 of the images and labels of the published code (drewlinsley/pathfinder at ab9c130, an own
# scipy.misc, Pillow 13.0, OpenCV 5.0) when numpy.random.randint and rand read our stream instead.
PUBLISHED = {
    "pathfinder": (64, "f7905d034c9519b173c025601094d6f3476a8f56ff54f296ef1efbba5a89b6f3"),
    "pathx": (16, "663fe3739eff343759c478c66365db63d49af92d496c4aea3e78efe3e45d2d28"),
}
KEPT = {
    "pathfinder-easy": "50de90dcf2cb0886025e2ce1d5135c2cf2ddf03c1a115fb526bd03c5f6ecfcc2",
    "pathfinder-uniform": "849ba9162a359f165caa693738a421f4f3725499ace7dad59be357f07a8c883d",
}
# Of images that the published code drew with NumPy's random numbers: value, standard error.
REFERENCE = json.loads((Path(__file__).parent / "lra_pathfinder_reference.json").read_text())
COUNTS = {"pathfinder": 3000, "pathx": 200, "pathfinder-uniform": 300, "pathfinder-easy": 1000}


def draw(name, first=0, count=8, **changed):
    p = replace(pathfinder.process(DATASETS[name].parameters), **changed)
    return pathfinder.generate(p, 0, first, count)


@pytest.fixture(scope="session")
def sample():
    return {name: draw(name, 0, count) for name, count in COUNTS.items()}


def sha256(images, labels):
    return hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()


@pytest.mark.parametrize("name", PUBLISHED)
def test_images_are_those_of_the_published_code_fed_the_same_random_numbers(name, sample):
    count, expected = PUBLISHED[name]
    made = sample[name]
    assert sha256(made.images[:count], made.labels[:count]) == expected


@pytest.mark.parametrize("name", KEPT)
def test_images_stay_what_they_are(name, sample):
    assert sha256(sample[name].images[:64], sample[name].labels[:64]) == KEPT[name]


@pytest.mark.parametrize("name", ["pathfinder", "pathx"])
def test_averages_are_within_sampling_error_of_the_published_code(name, sample):
    ours = statistics(sample[name])
    # One of 22 quantities is beyond 4 standard errors in 1 of 700 samples.
    apart = {
        key: (ours.get(key, (0, 0))[0], value, error)
        for key, (value, error) in REFERENCE[name]["statistics"].items()
        if abs(ours.get(key, (0, 0))[0] - value) > 4 * np.hypot(ours.get(key, (0, 0))[1], error)
    }
    assert not apart
    assert abs(ours["label"][0] - 0.5) < 4 * ours["label"][1]


def ends(process, margin, paddle):
    """Pivot, direction, tail and tip of a paddle, and whether it is the first of a snake."""
    y, x, stamp, length = *paddle[:3], process.length
    if stamp < DEGREES:  # the first of a snake, at its tail
        angle, reverse = np.radians([stamp - 180, stamp if stamp < 180 else stamp - 360])
        tip = moved((y, x), angle, length)
        return moved(tip, reverse, length + margin), angle, (y, x), tip, True
    dy, dx = tables(process, margin).candidates[stamp - DEGREES]
    angle = np.arctan2(dy, dx)
    return (y - dy, x - dx), angle, moved((y, x), angle, -length), (y, x), False


def moved(point, angle, distance):
    step = distance * np.array([np.sin(angle), np.cos(angle)])
    return tuple(np.ceil(np.array(point) + step).astype(int).tolist())


def joined(process, margin, paddles, markers):
    """Whether paddles that go on from one another lead to the second marker; None at a fork."""
    known = [ends(process, margin, paddle) for paddle in paddles]
    front = [end for end in known if end[4] and end[2] == tuple(markers[0])]
    for _ in range(process.contour - 1):
        turns = {moved(end[0], end[1], process.length + 2 * margin) for end in front}
        front = [end for end in known if end[0] in turns]
    return front[0][3] == tuple(markers[1]) if len(front) == 1 else None


@pytest.mark.parametrize("name", COUNTS)
def test_labels_say_whether_paddles_join_the_markers(name, sample):
    made, p = sample[name], pathfinder.process(DATASETS[name].parameters)
    found = []
    for i in range(150):
        paddles = np.random.permutation(made.paddles[i, : made.count("paddles")[i]])
        margin = p.margins[made.count("margin")[i]]
        found.append(joined(p, margin, paddles.tolist(), made.markers[i].tolist()))
    clear = [i for i in range(150) if found[i] is not None]
    assert len(clear) > 120
    np.testing.assert_array_equal([found[i] for i in clear], made.labels[clear])


@pytest.mark.parametrize("name", COUNTS)
def test_bright_pixels_are_the_paddles_and_the_markers(name, sample):
    made, p = sample[name], pathfinder.process(DATASETS[name].parameters)
    grid = np.indices((p.size, p.size)).transpose(1, 2, 0)  # y x 2
    for i in range(40 if p.size < 128 else 4):
        drawn = made.paddles[i, : made.count("paddles")[i]].tolist()
        known = [ends(p, p.margins[made.count("margin")[i]], paddle) for paddle in drawn]
        points = [np.linspace(end[2], end[3], 11) for end in known]
        away = np.linalg.norm(grid[:, :, None] - np.concatenate(points), axis=-1).min(-1)
        marks = np.linalg.norm(grid[:, :, None] - made.markers[i], axis=-1).min(-1)
        bright = made.images[i] > 120
        assert not (bright & (away > 2) & (marks > p.marker_radius + 1)).any()
        assert made.images[i][tuple(made.markers[i].T)].min() > 150
        for middle in [np.rint(line[5]).astype(int) for line in points]:
            near = tuple(slice(max(a - 1, 0), a + 2) for a in middle)
            assert made.images[i][near].max() > 40


def test_an_image_depends_on_its_number_alone(sample):
    later = draw("pathfinder", first=40, count=5)
    np.testing.assert_array_equal(later.images, sample["pathfinder"].images[40:45])
    np.testing.assert_array_equal(later.paddles, sample["pathfinder"].paddles[40:45])


def test_another_seed_gives_other_images(sample):
    p = pathfinder.process(DATASETS["pathfinder"].parameters)
    other = pathfinder.generate(p, 1, 0, 8).images
    assert (other != sample["pathfinder"].images[:8]).any((1, 2)).all()


def test_snakes_begin_in_30_directions_as_published_or_in_all(sample):
    def began(name):
        y, x, stamp, owner = sample[name].paddles[:300].reshape(-1, 4).T
        # The second target may point anywhere; a paddle that is not there is 0 0 0 0.
        return stamp[(y + x > 0) & (stamp < DEGREES) & (owner != 1)] - 180

    assert set(began("pathfinder")) <= set(range(-150, -120))
    assert len(set(began("pathfinder-uniform") // 30)) == 12


def test_targets_that_keep_apart_do_not_touch(sample):
    made, p = sample["pathfinder-easy"], pathfinder.process(DATASETS["pathfinder-easy"].parameters)
    near = []
    for paddles in made.paddles[:200]:
        lines = [np.linspace(*ends(p, 1, paddle)[2:4], 7) for paddle in paddles.tolist()]
        one, other = (
            np.concatenate([lines[k] for k in range(a, 2 * p.contour, 2)]) for a in (0, 1)
        )
        near.append(np.linalg.norm(one[:, None] - other, axis=-1).min())
    assert min(near) > 1


def small(**count):
    return replace(DATASETS["pathfinder-easy"], rows=rows(**count))


def test_a_data_set_is_built_from_the_first_images_of_each_split(tmp_path, sample):
    found = data.prepare(small(train=30, valid=20, test=10), tmp_path, tell=lambda text: None)
    np.testing.assert_array_equal(
        found.train.inputs, sample["pathfinder-easy"].images[:30].reshape(30, 256)
    )
    np.testing.assert_array_equal(found.train.labels, sample["pathfinder-easy"].labels[:30])
    np.testing.assert_array_equal(
        found.test.inputs, draw("pathfinder-easy", 2 << 40, 10).images.reshape(10, 256)
    )
    assert found.source == "generated, seed_mode uniform, seed 0"


class Draw:
    """Stands in for the generator: image i is full of i; stops after `limit` shards."""

    def __init__(self, limit=10**9):
        self.calls, self.limit = [], limit

    def __call__(self, split, row, count):
        if len(self.calls) == self.limit:
            raise KeyboardInterrupt
        self.calls.append((split, row))
        images = np.repeat(np.arange(row, row + count, dtype=np.uint8), 4).reshape(count, 2, 2)
        return SimpleNamespace(images=images, labels=images[:, 0, 0] % 2)


def shards(folder, draw, made_from="these"):
    counts = rows(50, 20, 10)
    return pathfinder_shards.Shards(folder, counts, pixels=4, made_from=made_from, draw=draw)


@pytest.fixture
def tens(monkeypatch):
    monkeypatch.setattr(pathfinder_shards, "ROWS", 10)


def test_an_interrupted_build_draws_only_what_is_missing(tmp_path, tens):
    with pytest.raises(KeyboardInterrupt):
        shards(tmp_path, first := Draw(limit=3)).complete(1, tell=lambda text: None)
    lines = []
    shards(tmp_path, second := Draw()).complete(1, tell=lines.append)
    assert len(first.calls) == 3
    assert not set(first.calls) & set(second.calls)
    assert len(second.calls) == 5
    assert lines[0] == "30 of 80 images are there already"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_shard_is_drawn_again(tmp_path, tens, damage):
    made_from = "others" if damage == "foreign" else "these"
    shards(tmp_path, Draw(), made_from).complete(1, tell=lambda text: None)
    (path := tmp_path / "train-0000010.npz").write_bytes(broken(path.read_bytes(), damage))
    shards(tmp_path, again := Draw()).complete(1, tell=lambda text: None)
    assert again.calls == [("train", 10)] or (damage == "foreign" and len(again.calls) == 8)
    labels = []
    images = np.concatenate(list(shards(tmp_path, Draw(limit=0)).blocks("train", labels)))
    np.testing.assert_array_equal(images[:, 0], np.arange(50))
    assert labels == [k % 2 for k in range(50)]


def broken(content, damage):
    middle = content.index(b"images.npy") + 60
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    return {"cut": content[:-30], "flipped": flipped, "empty": b"", "foreign": content}[damage]


def test_two_threads_draw_what_one_draws(tmp_path, tens):
    for workers in (1, 2):
        shards(tmp_path / str(workers), Draw()).complete(workers, tell=lambda text: None)
    found = [sorted(path.name for path in (tmp_path / k).iterdir()) for k in ("1", "2")]
    assert found[0] == found[1]
    assert len(found[0]) == 8


def test_without_numba_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tasks.lra.pathfinder_kernel", None)
    monkeypatch.delattr("tasks.lra.pathfinder_kernel", raising=False)
    with pytest.raises(ValueError, match=r"pip install 'linear-attention-zoo\[lra\]'"):
        draw("pathfinder")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 64}, "size 64 is not known; give one of 16, 32, 128"),
        ({"size": 32, "seed_mode": "fair"}, "give reference or uniform"),
        ({"size": 32, "snakes": 3}, "Pathfinder has no snakes; give apart, "),
    ],
)
def test_unknown_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        pathfinder.process(parameters)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"size": 16}, "no snake can begin"), ({"seed_distance": 20}, "seed_distance 20 leaves")],
)
def test_snakes_without_room_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        draw("pathfinder", **changed)


def test_a_contact_sheet_shows_every_image(tmp_path, sample):
    made = sample["pathfinder"]
    pathfinder.contact_sheet(made.images[:9], made.labels[:9], tmp_path / "sheet.png", columns=4)
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (3 * 284, 4 * 284, 3)
    np.testing.assert_array_equal(sheet[284 + 14 : 568 - 14 : 8, 14:270:8, 0], made.images[4])
