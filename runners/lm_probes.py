"""Probes of a trained language model: questions about held-out text with one right answer.

    last_word         greedy decoding writes the last word of a sentence, which has occurred before
    last_word_nats    -log p of that word, nats
    copy              accuracy on text that stands in the window a second time
    copy_unrelated    the same text after other text: what copying has to beat
    copy_bits_saved   bits per byte that the first occurrence saves, against other text
    induction         accuracy of B at the end of A B ... A, among random frequent tokens
    needle            the right one of 8 words has the highest likelihood, question as in the text
    needle_hard       the same, question in other words
    needle_keys       the right one of 4 words, all of which stand in the text

Values but nats and bits are fractions. Those with a number behind them are of one gap in tokens, or
of one length in bytes; the ones without are the means of them all, for needles of those lengths
that fit into a training window. Lengths beyond are marked as extrapolated and left out where
positions are learned. Every model and seed gets the same questions; those with other tokenisers the
same text, but for induction. Models that read all again for each token (cosFormer, Performer) take
several times as long.
"""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import torch

from runners.lm_config import Lm
from runners.lm_needle import NAMES, needles
from runners.lm_read import Reader, Row
from runners.lm_values import Found, fraction, mean, pooled
from tasks.lm import probes
from tasks.lm.data import Data
from zoo.model import Model

TEXT_AT_MOST = 2**20  # tokens of held-out text from which questions are made
PASSAGE, SEGMENT, CUE = 256, 128, 16  # bytes
CHOICES = 64  # frequent tokens of the induction rows
# Of all tokens that are read; needles by their mode.
SHARES = {"last_word": 0.25, "copy": 0.15, "induction": 0.15}
SHARES |= {"easy": 0.2, "hard": 0.1, "keys": 0.15}
FEWEST = 20  # questions of a kind


@torch.no_grad()
def probe(
    model: Model, data: Data, config: Lm, device: torch.device | str = "cpu", *, budget: int = 600
) -> dict[str, Found]:
    """Each probe's value, standard error, chance and n, as above. The model must be in eval mode.

    budget: windows of seq_len tokens to read in all, about; it decides the number of questions,
    of which there are at least FEWEST of each kind.
    chance: what a model gets that knows nothing, None where there is no such number. Standard
    errors are over questions, sqrt(p (1 - p) / n) for fractions: zero at 0 and 1, where they say
    nothing. A probe for which the text or the window is too short has n = 0 and None as value.
    """
    reader = Reader(model, torch.device(device), config.precision == "bf16", config.seq_len)
    texts = held_out(data)
    tokens = {name: share * budget * config.seq_len for name, share in SHARES.items()}
    found = last_word(reader, data, texts, tokens["last_word"])
    found |= copy(reader, data, texts, tokens["copy"])
    found |= induction(reader, data, tokens["induction"])
    longest = config.seq_len if config.positions == "learned" else 0
    for mode in NAMES:
        found |= needles(reader, data, texts, tokens[mode], mode, longest)
    return found


def held_out(data: Data) -> list[str]:
    """Documents of the test split in random order, until they are TEXT_AT_MOST tokens."""
    ids, starts = data.test.ids, data.test.starts
    ends, left, texts = np.append(starts[1:], len(ids)), TEXT_AT_MOST, []
    for i in probes.stream("documents").permutation(len(starts)):
        part = ids[starts[i] : min(ends[i] - 1, starts[i] + left)]  # the last one is eos
        texts.append(data.tokeniser.decode(part))
        left -= len(part)
        if left <= 0:
            break
    return texts


def last_word(reader: Reader, data: Data, texts: list[str], tokens: float) -> dict[str, Found]:
    """Right is: each token of the word is the likeliest, and after it none that adds a letter.

    So the delimiter is not asked for, but "heaven" is wrong where "heavens" would be written.
    guess: accuracy of a blind guess among the longer words of the passage.
    """
    encode, size = data.tokeniser.encode, min(PASSAGE, reader.seq_len)
    items = probes.last_words(texts, max(FEWEST, int(tokens / size)), size)
    rows = []
    for item in items:
        context = encode(item.context)
        rows.append(Row(context + encode(item.word), len(context)))
    right, nats = [], []
    for row, cost, best in reader.nats(rows):
        *said, after = best.tolist()
        right.append(said == row.targets and not data.tokeniser.decode([after])[:1].isalpha())
        nats.append(cost.sum().item())
    guess = {"guess": fmean(item.guess for item in items)} if items else {}
    return {"last_word": fraction(right, 0.0) | guess, "last_word_nats": mean(nats, None)}


def copy(reader: Reader, data: Data, texts: list[str], tokens: float) -> dict[str, Found]:
    """A segment follows itself, or another one; the first CUE bytes of it are not scored."""
    size = min(SEGMENT, reader.seq_len // 2)
    parts = probes.segments(texts, max(FEWEST, int(tokens / (4 * size))), size)
    ids = [data.tokeniser.encode(part) for part in parts]
    sizes = [data.tokeniser.token_bytes[x].cumsum() for x in ids]
    cues = [int(np.searchsorted(s, CUE)) + 1 for s in sizes]
    usable = [i for i, x in enumerate(ids) if cues[i] < len(x)]
    usable = usable if len(usable) > 1 else []
    itself = [Row(ids[i] + ids[i], len(ids[i]) + cues[i]) for i in usable]
    others = [ids[j] for j in [*usable[1:], *usable[:1]]]
    unrelated = [Row(x + ids[i], len(x) + cues[i]) for x, i in zip(others, usable)]
    scored = [sizes[i][-1] - sizes[i][cues[i] - 1] for i in usable]  # bytes
    accuracy, bits = [], []
    for rows in (itself, unrelated):
        answers = list(reader.nats(rows))
        accuracy.append(
            [fmean(map(int.__eq__, best[:-1].tolist(), row.targets)) for row, _, best in answers]
        )
        bits.append([n.sum().item() / math.log(2) / b for (_, n, _), b in zip(answers, scored)])
    chance = 1 / data.tokeniser.vocabulary
    return {
        "copy": mean(accuracy[0], chance),
        "copy_unrelated": mean(accuracy[1], chance),
        "copy_bits_saved": mean([b - a for a, b in zip(*bits)], 0.0),
    }


def induction(reader: Reader, data: Data, tokens: float) -> dict[str, Found]:
    """The answer is the likeliest of the frequent tokens without A."""
    choices = probes.frequent(data.test.ids, data.tokeniser.token_bytes, CHOICES)
    gaps = [2**i for i in range(5, 30) if probes.LEAD + 2**i + 1 <= reader.seq_len]
    gaps = gaps if len(choices) > 2 else []
    found: dict[str, Found] = {}
    for gap in gaps:
        width = probes.LEAD + gap + 1
        count = max(FEWEST, min(200, int(tokens / len(gaps) / width)))
        rows, answers = probes.bigrams(choices, gap, count)
        right = []
        asked = [Row(row.tolist(), width) for row in rows]
        for (row, logits), answer in zip(reader.logits(asked), answers):
            others = choices[choices != row.ids[-1]]
            best = logits[0, torch.from_numpy(others).to(reader.device)].argmax().item()
            right.append(others[int(best)] == answer)
        found[f"induction_{gap}"] = fraction(right, 1 / (len(choices) - 1))
    return {"induction": pooled(list(found.values()), 1 / max(1, len(choices) - 1))} | found
