from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tasks import lra
from tasks.lra import DATASETS, data, layout

LISTOPS = replace(DATASETS["listops"], rows=lra.rows(3, 1, 1))
AAN = replace(DATASETS["retrieval"], rows=lra.rows(2, 1, 1), length=6)
PATHFINDER = replace(DATASETS["pathfinder"], rows=lra.rows(8, 1, 1), length=9)
HEAD = "Source\tTarget\n"
MAX = "( ( ( [MAX 2 ) 9 ) ] )\t9\n"
MED = "( ( ( [MED 2 ) 9 ) ] )\t5\n"
TREES = {"train": HEAD + MAX + MED + MAX, "val": HEAD + MED, "test": HEAD + MAX}
PAIR = '0.0\tP1\tP2\tan "open quote\tshort\n'
EMPTY = "0.0\tP1\tP2\t\tx\n"
PAIRS = {"train": "1.0\tA\tB\tabcdefgh\txy\n" + PAIR, "eval": PAIR, "test": EMPTY}
SHOWN = "{} sample_{}.png {} {} 1.0 14 4 2 0.5 1 2\n"


def ignore(line):
    pass


def texts(folder, pattern, content):
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in content.items():
        (folder / pattern.format(split)).write_text(text, newline="")


def images(folder, count=10):
    """Two files of metadata, the second one named first in the alphabet: 10 comes after 2."""
    for part, numbers in ((2, range(6)), (10, range(6, count))):
        (folder / f"imgs/{part}").mkdir(parents=True)
        (folder / "metadata").mkdir(exist_ok=True)
        lines = ""
        for i in numbers:
            Image.fromarray(np.full((3, 3), 20 * i, np.uint8)).save(
                folder / f"imgs/{part}/sample_{i}.png"
            )
            lines += SHOWN.format(f"imgs/{part}", i, i, i % 2)
        (folder / f"metadata/{part}.npy").write_text(lines)
    return folder


@pytest.mark.parametrize("base", [".", "lra_release", "lra_release/lra_release"])
@pytest.mark.parametrize("name", ["listops", "listops-1000"])
def test_listops_is_read_from_any_layout(tmp_path, base, name):
    texts(tmp_path / "mine" / base / name, "basic_{}.tsv", TREES)
    found = data.prepare(LISTOPS, tmp_path / "data", user=tmp_path / "mine", tell=ignore)
    assert found.source == "folder"
    inputs, lengths, labels = found.train.batch(np.arange(3))
    assert inputs.tolist() == [[12, 3, 10, 15], [13, 3, 10, 15], [12, 3, 10, 15]]
    assert labels.tolist() == [9, 5, 9]
    assert found.baselines == {"majority": 1.0, "root operator": 1.0}


@pytest.mark.parametrize("name", ["aan", "tsv_data"])
def test_quotes_of_a_document_mean_nothing_and_it_is_cut(tmp_path, name):
    texts(tmp_path / "mine" / name, "new_aan_pairs.{}.tsv", PAIRS)
    found = data.prepare(AAN, tmp_path / "data", user=tmp_path / "mine", tell=ignore)
    inputs, lengths, labels = found.train.batch(np.arange(2))
    assert bytes((inputs[0, 0] - 1).tolist()) == b"abcdef"
    assert bytes((inputs[1, 0] - 1).tolist()) == b'an "op'
    assert lengths.tolist() == [[6, 2], [6, 5]]
    assert found.test.batch(np.arange(1))[0][0, :, 0].tolist() == [1 + ord(" "), 1 + ord("x")]
    assert labels.tolist() == [1, 0]


@pytest.mark.parametrize("base", ["pathfinder/pathfinder32", "lra_release/pathfinder32"])
def test_images_are_split_in_the_order_of_their_metadata(tmp_path, base):
    images(tmp_path / "mine" / base / layout.LEVEL)
    found = data.prepare(PATHFINDER, tmp_path / "data", user=tmp_path / "mine", tell=ignore)
    inputs, lengths, labels = found.train.batch(np.arange(8))
    assert inputs[:, 0].tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    assert inputs.shape == (8, 9)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    assert found.valid.batch(np.arange(1))[0][0, 0] == 160
    assert found.test.batch(np.arange(1))[0][0, 0] == 180


def test_a_folder_of_the_users_goes_before_what_was_generated(tmp_path):
    tiny = replace(LISTOPS, parameters={**DATASETS["listops-short"].parameters})
    made = data.prepare(tiny, tmp_path / "data", tell=ignore)
    texts(tmp_path / "mine/listops", "basic_{}.tsv", TREES)
    user = tmp_path / "mine"
    found = data.prepare(tiny, tmp_path / "data", user=user, tell=ignore)
    assert (made.source, found.source) == ("generated", "folder")
    assert made.sha256 != found.sha256
    told = []
    data.prepare(tiny, tmp_path / "data", user=user, tell=told.append)
    assert told == []


def test_what_the_folder_lacks_is_sought_elsewhere(tmp_path):
    tiny = replace(DATASETS["listops-short"], rows=lra.rows(3, 1, 1))
    told = []
    assert data.prepare(tiny, tmp_path, user=tmp_path, tell=told.append).source == "generated"
    assert "no listops-short; looking elsewhere" in told[0]


def test_two_folders_with_one_data_set_are_refused(tmp_path):
    for base in ("pathfinder128", "lra_release/pathfinder128"):
        (tmp_path / base / layout.LEVEL / "metadata").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"both hold pathx"):
        layout.find(DATASETS["pathx"], tmp_path)


BAD_TREES = [
    ("train", HEAD + MAX + MED, "has 2 rows, expected 3"),
    ("train", MAX * 3, r"line 1 .*expected Source, a tab, Target"),
    ("val", HEAD + "( [MAX 2 ) 9 ) ] )", r"basic_val.tsv, line 2 has 1 fields.*expected an expr"),
    ("val", HEAD + "( [MAX 2 ) 9 ) ] )\t", "line 2 has 2 fields"),
    ("val", HEAD + MAX.replace("\t9", "\t10"), "from 0 to 9"),
    ("test", HEAD + "[MAX [MIN 1 2 ]\t1", "line 2 opens 2 brackets and closes 1"),
    ("test", HEAD + "[MAX 1 [SUM 2 ]\t1", r"line 2: .*\[SUM"),
]


@pytest.mark.parametrize(("split", "text", "said"), BAD_TREES)
def test_listops_that_are_wrong_or_cut_off_are_refused(tmp_path, split, text, said):
    texts(tmp_path / "listops", "basic_{}.tsv", TREES | {split: text})
    with pytest.raises(ValueError, match=said):
        data.prepare(LISTOPS, tmp_path / "data", user=tmp_path, tell=ignore)


BAD_PAIRS = [
    ("train", PAIR, "has 1 rows, expected 2"),
    ("eval", PAIR.replace("\tshort", ""), "eval.tsv, line 1.* 4 fields"),
    ("eval", PAIR[:-3], "eval.tsv is cut off"),
    ("test", PAIR.replace("0.0", "0.5"), "line 1.*0.5"),
]


@pytest.mark.parametrize(("split", "text", "said"), BAD_PAIRS)
def test_pairs_that_are_wrong_or_cut_off_are_refused(tmp_path, split, text, said):
    texts(tmp_path / "aan", "new_aan_pairs.{}.tsv", PAIRS | {split: text})
    with pytest.raises(ValueError, match=said):
        data.prepare(AAN, tmp_path / "data", user=tmp_path, tell=ignore)


def test_a_missing_split_is_named(tmp_path):
    texts(tmp_path / "listops", "basic_{}.tsv", {"train": TREES["train"]})
    with pytest.raises(ValueError, match=r"basic_val\.tsv is missing"):
        data.prepare(LISTOPS, tmp_path / "data", user=tmp_path, tell=ignore)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def coloured(path):
    Image.new("RGB", (3, 3)).save(path)


def large(path):
    Image.new("L", (4, 3)).save(path)


BAD_IMAGES = [
    (
        "imgs/10/sample_7.png",
        lambda path: path.write_bytes(b""),
        r"sample_7.png is a file of 0 bytes.*10.npy, line 2",
    ),
    ("imgs/2/sample_3.png", lambda path: path.unlink(), r"sample_3.png is missing.*2.npy, line 4"),
    ("imgs/2/sample_3.png", cut, "mode L, cut off; expected"),
    ("imgs/2/sample_3.png", lambda path: path.write_bytes(b"GIF89a"), "is no picture"),
    ("imgs/2/sample_3.png", coloured, "mode RGB; expected an 8-bit grey PNG of 3 x 3"),
    ("imgs/2/sample_3.png", large, "4 x 3, mode L; expected"),
    ("metadata/10.npy", lambda path: path.unlink(), "lists 6 images, expected 10"),
    ("metadata/10.npy", cut, "10.npy, line 4 has no line break: it is cut off"),
    (
        "metadata/2.npy",
        lambda path: path.write_text(path.read_text().replace("0 0 1.0", "0 2 1.0")),
        r"2.npy, line 1 .* the fourth 0 or 1",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "said"), BAD_IMAGES)
def test_images_that_are_wrong_or_missing_are_refused(tmp_path, name, spoil, said):
    spoil(images(tmp_path / "pathfinder32" / layout.LEVEL) / name)
    with pytest.raises(ValueError, match=said):
        data.prepare(PATHFINDER, tmp_path / "data", user=tmp_path, tell=ignore)
