import copy
import hashlib
import json
import os
import subprocess
import sys
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.lm import bpe, bytelevel, tokenisers
from tasks.lm.tokenisers import BYTES

TEXTS = [
    "In the beginning God created the heaven and the earth.\n\nAnd the earth was without form,",
    "To be, or not to be, that is the question:\n  Whether 'tis nobler in the mind to suffer\n" * 9,
    "def café(n: int = 0) -> str:\n\treturn f'{n:>8}'  # naïve, 東京 😀\n" * 5,
]
MARKED = "one <|endoftext|> two\n\n\n    three\tcafe\u0301 😀 ok  \r\n"
# Words of the texts among any characters, so that pairs are merged as well.
WRITTEN = st.lists(st.text() | st.sampled_from(["the earth", " be", "\n\n", "    ", MARKED])).map(
    "".join
)


@cache
def trained():
    """A small trained tokenizer.json; skips where the library is not there."""
    pytest.importorskip("tokenizers")
    return bpe.train(TEXTS, 400)


def changed(**parts):
    """The trained tokenizer.json with other parts; model__x is x of the model."""
    content = json.loads(trained())
    for name, value in parts.items():
        model, _, key = name.rpartition("__")
        (content[model] if model else content)[key] = copy.deepcopy(value)
    return json.dumps(content)


def token(id, content, special, **flags):
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": content, "special": special, **plain, **flags}


@given(st.text())
def test_bytes_are_the_ids_of_bytes(text):
    assert BYTES.encode(text) == list(text.encode())
    assert BYTES.decode(BYTES.encode(text)) == text
    assert int(BYTES.token_bytes[BYTES.encode(text)].sum()) == len(text.encode())


def test_the_end_of_a_text_stands_for_no_bytes_and_no_text():
    assert (BYTES.eos, BYTES.vocabulary, BYTES.token_bytes[256]) == (256, 257, 0)
    assert BYTES.decode([72, 256, 105]) == "Hi"


def test_half_a_character_becomes_a_replacement():
    assert BYTES.decode([0xC3]) == "\ufffd"


def test_ids_of_another_tokeniser_are_refused():
    with pytest.raises(ValueError, match="ids 3 to 257, expected 0 to 256: those of the tok"):
        BYTES.decode([3, 257])


def test_the_library_reads_our_bytes_with_the_same_ids():
    library = pytest.importorskip("tokenizers").Tokenizer.from_str(BYTES.json)
    assert library.get_vocab_size() == 257
    assert library.token_to_id(bytelevel.END) == BYTES.eos
    assert library.encode("a<|endoftext|>").ids == [97, 256]
    library.encode_special_tokens = True
    for text in (*TEXTS, MARKED, "", "\x00\u07ff\uffff\U0010ffff"):
        assert library.encode(text).ids == BYTES.encode(text)
        assert library.decode(BYTES.encode(text)) == text


def test_the_byte_level_alphabet_is_the_librarys():
    level = pytest.importorskip("tokenizers.pre_tokenizers").ByteLevel
    assert sorted(bytelevel.characters()) == sorted(level.alphabet())


@settings(max_examples=60)
@given(WRITTEN)
def test_tokens_stand_for_exactly_the_bytes_of_a_text(text):
    made = tokenisers.from_json("bpe-400", trained(), vocabulary=400)
    ids = made.encode(text)
    assert made.eos not in ids
    assert int(made.token_bytes[ids].sum()) == len(text.encode())
    assert made.decode(ids) == text


def test_the_ids_are_the_librarys():
    library = pytest.importorskip("tokenizers").Tokenizer.from_str(trained())
    made = tokenisers.from_json("bpe-400", trained(), vocabulary=400)
    assert [made.encode(text) for text in TEXTS] == [library.encode(text).ids for text in TEXTS]
    assert max(map(max, map(made.encode, TEXTS))) > 256
    assert [ids.tolist() for ids in made.stream(TEXTS)] == [made.encode(text) for text in TEXTS]


TRAINING = """
import hashlib
from tasks.lm import bpe
from tests.test_lm_tokenisers import TEXTS
words = [f"{a}{b} {b}{a}\\n" for a in "abcdefgh" for b in "ijklmnop"]  # many pairs tie
print(hashlib.sha256(bpe.train(TEXTS + words, 420).encode()).hexdigest())
"""


def test_training_gives_the_same_file_every_time_on_any_number_of_threads():
    pytest.importorskip("tokenizers")
    found = {
        subprocess.check_output(
            [sys.executable, "-c", TRAINING], env={**os.environ, "RAYON_NUM_THREADS": threads}
        )
        for threads in ("1", "2", "2")
    }
    assert len(found) == 1


def test_a_small_text_leaves_entries_unused():
    pytest.importorskip("tokenizers")
    made = tokenisers.from_json("bpe-300", bpe.train(["aaab"], 300), vocabulary=300)
    assert (made.vocabulary, len(made.token_bytes)) == (300, 300)
    assert made.token_bytes[299] == 0
    assert made.decode([299]) == ""


def test_training_reads_no_more_than_the_first_characters(monkeypatch):
    pytest.importorskip("tokenizers")
    whole, part = bpe.train(TEXTS, 320), bpe.train([TEXTS[0], TEXTS[1][:100]], 320)
    monkeypatch.setattr(bpe, "TRAINED_ON", len(TEXTS[0]) + 100)
    assert bpe.train(TEXTS, 320) == part != whole


@settings(max_examples=60)
@given(WRITTEN, st.integers(1, 40))
def test_a_long_text_is_encoded_in_pieces_as_in_one(text, longest):
    made = tokenisers.from_json("bpe-400", trained(), vocabulary=400)
    whole = made.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bpe, "LONGEST", longest)
        assert "".join(bpe.cut(text)) == text
        assert made.encode(text) == whole


def test_a_text_is_cut_in_front_of_a_line_end_that_ends_a_word(monkeypatch):
    monkeypatch.setattr(bpe, "LONGEST", 4)
    assert list(bpe.cut("one\ntwo \n\nthree\nfour")) == ["one\ntwo \n\nthree", "\nfour"]


def test_added_tokens_are_text_unless_they_are_special():
    content = json.loads(trained())
    new = len(content["model"]["vocab"])
    added = [*content["added_tokens"], token(new, "    ", False), token(new + 1, "<|pad|>", True)]
    made = tokenisers.from_json("mine", changed(added_tokens=added))
    assert (made.vocabulary, *made.token_bytes[new:]) == (new + 2, 4, 0)
    ids = made.encode(text := "a    b<|pad|>")
    assert new in ids
    assert new + 1 not in ids
    assert int(made.token_bytes[ids].sum()) == len(text)
    assert made.decode([*ids, new + 1]) == text


def test_added_tokens_that_the_library_numbers_anew_are_refused():
    added = [*json.loads(trained())["added_tokens"], token(1000, "    ", False)]
    made = tokenisers.from_json("mine", changed(added_tokens=added))
    with pytest.raises(ValueError, match=r"mine: the added token '    ' has id 1000, but the lib"):
        made.encode("text")


def test_truncation_and_templates_of_a_file_are_not_applied():
    cut = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padded = tokenisers.from_json("mine", changed(truncation=cut))
    whole = tokenisers.from_json("mine", trained())
    assert padded.encode(TEXTS[0]) == whole.encode(TEXTS[0])


ALPHABET = {character: id for id, character in enumerate(bytelevel.characters(), 1)}
SENTENCEPIECE = {"type": "BPE", "vocab": {"<unk>": 0, "▁the": 1, "<0x0A>": 2}, "merges": []}
NOT_BYTE_LEVEL = [
    ({"decoder": {"type": "WordPiece"}, "pre_tokenizer": None}, r"not byte-level \(BPE, decoder W"),
    ({"model": {"type": "WordPiece", "vocab": ALPHABET}}, r"not byte-level \(WordPiece, decoder"),
    ({"model": {"type": "Unigram", "vocab": [["a", -1.0]]}}, "no model.vocab"),
    ({"model": SENTENCEPIECE, "decoder": None, "pre_tokenizer": None}, "bytes of its tokens are"),
    ({"model": SENTENCEPIECE}, "no token for the byte 0"),
    ({"model__end_of_word_suffix": "</w>"}, "not byte-level"),
    ({"model__vocab": {**ALPHABET, "▁the": 257}}, "not byte-level: token 257 is '▁the'"),
]


@pytest.mark.parametrize(("parts", "said"), NOT_BYTE_LEVEL)
def test_a_tokeniser_whose_tokens_have_unknown_bytes_is_refused(parts, said):
    with pytest.raises(ValueError, match=said):
        tokenisers.from_json("mine.json", changed(**parts))


@pytest.mark.parametrize("text", ["{x", "[1, 2]", '{"model": {}}', '"text"', '{"model": null}'])
def test_a_file_that_is_no_tokenizer_json_is_refused(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine.json (is no tokenizer.json|has no model.vocab)"):
        tokenisers.vocabulary(str(path))


def ends(tmp_path, *names, beside=None):
    added = [token(400 + i, name, True) for i, name in enumerate(names)]
    vocab = {k: v for k, v in json.loads(trained())["model"]["vocab"].items() if v}
    path = tmp_path / "tokenizer.json"
    path.write_text(changed(added_tokens=added, model__vocab=vocab))
    if beside:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": beside}))
    return str(path)


def test_the_end_of_a_text_is_found_by_its_usual_names(tmp_path):
    assert tokenisers.load(ends(tmp_path, "<pad>", "</s>")).eos == 401


def test_a_config_beside_the_file_says_which_token_ends_a_text(tmp_path):
    made = tokenisers.load(ends(tmp_path, "<eos>", "</s>", "<stop>", beside={"content": "<stop>"}))
    assert (made.eos, made.token_bytes[402]) == (402, 0)
    assert tokenisers.load(ends(tmp_path, "</s>", "<eos>", beside="<eos>")).eos == 401
    assert tokenisers.load(str(tmp_path)).eos == 401


def test_an_end_that_is_an_ordinary_token_stands_for_no_bytes(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(trained())
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "th"}')
    made = tokenisers.load(str(path))
    assert json.loads(trained())["model"]["vocab"]["th"] == made.eos
    assert (made.token_bytes[made.eos], made.decode([made.eos])) == (0, "")


@pytest.mark.parametrize(
    ("names", "beside", "said"),
    [
        (("<pad>",), None, "It has none of <|endoftext|>, "),
        (("</s>", "<eos>"), None, "It has </s>, <eos>; name one"),
        (("</s>",), "<stop>", "no token <stop>, which tokenizer_config.json calls eos_token"),
    ],
)
def test_an_end_of_text_is_never_guessed(tmp_path, names, beside, said):
    with pytest.raises(ValueError) as error:
        tokenisers.load(ends(tmp_path, *names, beside=beside))
    assert "which token ends a text?" in str(error.value)
    assert said in str(error.value)
    assert "tokenizer_config.json" in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bpe-12", "12 entries, expected 300 to 65,535"),
        ("bpe-65536", "65536 entries, expected 300 to 65,535"),
        ("bpe-04096", "04096 entries"),
        ("bpe-abc", "did you mean bpe-4096?"),
        ("bpe", "did you mean bpe-4096?"),
        ("byte", "did you mean bytes?"),
        ("qwerty", "type bytes, bpe-N"),
        ("nowhere/tokenizer.json", "no such file; type bytes, bpe-N"),
        ("none.json", "no such file"),
    ],
)
def test_a_name_that_is_none_says_what_to_type(name, said):
    with pytest.raises(ValueError, match="tokeniser") as error:
        tokenisers.vocabulary(name)
    assert said in str(error.value)


def test_a_vocabulary_is_known_without_data(tmp_path):
    names = ("bytes", "bpe-300", "bpe-65535", ends(tmp_path, "<eos>"))
    assert [tokenisers.vocabulary(name) for name in names] == [257, 300, 65_535, 401]


def test_only_a_file_of_the_users_has_an_identity(tmp_path):
    assert [tokenisers.identity(name) for name in ("bytes", "bpe-300")] == ["", ""]
    one = tokenisers.identity(ends(tmp_path, "<eos>"))
    assert len(one) == 16
    assert tokenisers.identity(ends(tmp_path, "<eos>", "<pad>")) != one
    # The same file, but another token ends a text.
    assert (
        tokenisers.identity(ends(tmp_path, "<eos>", beside="<|endoftext|>"[:0] or "<eos>")) == one
    )


def test_half_of_a_surrogate_pair_is_no_text():
    for made in (BYTES, tokenisers.from_json("mine", trained())):
        with pytest.raises(ValueError, match=r"character 2 of a text is U\+D83D, half of a surr"):
            made.encode("ab\ud83d")


def test_without_the_library_it_is_named_and_bytes_still_work(monkeypatch):
    made = tokenisers.from_json("bpe-400", trained(), vocabulary=400)
    bpe._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"pip install 'linear-attention-zoo\[lm\]'; the token"):
        made.encode("text")
    assert BYTES.decode(BYTES.encode("text")) == made.decode([made.pieces.index(b"t"), 0]) + "ext"


def test_the_hash_is_that_of_the_file():
    made = tokenisers.from_json("bpe-400", trained())
    assert made.sha256 == hashlib.sha256(trained().encode()).hexdigest()
    assert BYTES.sha256 == hashlib.sha256(bytelevel.plain().encode()).hexdigest()
