"""Texts of a few words, split already, for caches of their tokens."""

import json

SPLITS = {
    "train": ["In the beginning\nwas the word, ", "caf\u00e9 \U0001f600\n", "word"],
    "valid": ["the  word\n\n"],
    "test": ["was the end\n", "of the word"],
}


def ignore(line):
    pass


def write(folder, splits):
    folder.mkdir()
    for split, documents in splits.items():
        lines = [json.dumps({"text": text}) for text in documents]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return str(folder)
