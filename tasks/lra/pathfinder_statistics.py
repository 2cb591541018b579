"""What Pathfinder images look like on average, and what the published generator's look like."""

from __future__ import annotations

import numpy as np

from tasks.lra.pathfinder import Images

BLOCKS = 20  # of the jackknife
Estimate = tuple[float, float]  # value and standard error


def statistics(made: Images) -> dict[str, Estimate]:
    """Averages over images, with standard errors (jackknife over blocks of images).

    mean, std: of pixels as fractions. level 0, 1-31, 32-63, ...: shares of pixels. distractors, and
    distractors k: shares of images with k of them. attempts: at two targets; seeded: share of
    attempts that found their first paddles; succeeded: share of those; dead ends: share of failed
    extensions of targets, the others are crossings. row, column: of the first marker. label.
    """
    columns = _columns(made)
    block = np.arange(len(made.images)) * BLOCKS // len(made.images)
    whole = _values({name: column.mean() for name, column in columns.items()})
    parts = [
        _values({name: column[block != b].mean() for name, column in columns.items()})
        for b in range(BLOCKS)
    ]
    spread = {name: np.std([part[name] for part in parts]) for name in whole}
    return {name: (float(whole[name]), float(spread[name] * (BLOCKS - 1) ** 0.5)) for name in whole}


def _columns(made: Images) -> dict[str, np.ndarray]:
    """Numbers of each image; n each."""
    pixels = made.images.reshape(len(made.images), -1)
    distractors = made.count("distractors")
    levels = {"0": pixels == 0}
    for low in range(0, 256, 32):
        first = max(low, 1)
        levels[f"{first}-{low + 31}"] = (pixels >= first) & (pixels <= low + 31)
    return {
        "mean": pixels.mean(1) / 255,
        "squares": (pixels.astype(np.float32) ** 2).mean(1) / 255**2,
        **{f"level {name}": inside.mean(1) for name, inside in levels.items()},
        "distractors": distractors,
        **{f"distractors {k}": distractors == k for k in range(distractors.max() + 1)},
        **{name: made.count(name) for name in ("attempts", "seeded", "dead_ends", "crossings")},
        "row": made.markers[:, 0, 0],
        "column": made.markers[:, 0, 1],
        "label": made.labels,
    }


def _values(means: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = dict(means)
    found["std"] = (found.pop("squares") - found["mean"] ** 2) ** 0.5
    dead, seeded = found.pop("dead_ends"), found.pop("seeded")
    found["dead ends"] = dead / (dead + found.pop("crossings"))
    return found | {"seeded": seeded / found["attempts"], "succeeded": 1 / seeded}
