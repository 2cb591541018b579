"""The setting of S4 v4 on the Long Range Arena (state-spaces/s4 at e757cef)."""

from __future__ import annotations

from runners.lra_config import Lra, of_epochs

MODELS = ("s4d", "s4d:legs", "dss", "s5", "lru")
# configs/experiment/lra/s4-*.yaml: width, batch, lr, epochs, warm-up in updates, block.
TASKS = {
    "listops": (256, 32, 0.01, 40, 12_000, "post"),
    "text": (256, 16, 0.01, 32, 5000, "pre"),
    "retrieval": (256, 64, 0.01, 20, 5000, "pre"),
    "image": (512, 50, 0.01, 200, 18_000, "post"),
    "pathfinder": (256, 64, 0.004, 200, 50_000, "pre"),
    "pathx": (256, 16, 0.001, 50, 50_000, "pre"),
}
IMAGE_DROPOUT = 0.1
# One seed for all but Image.
SEEDS = {"image": 2222}


def s4() -> list[Lra]:
    """S4 v4 (state-spaces/s4, configs/experiment/lra), for the zoo's diagonal state-space models.

    From there: six layers, widths, batches, learning rates, weight decay 0.05, a cosine with
    warm-up, epochs, batch norm (after the residual sum on ListOps and Image, in front elsewhere),
    no positions, both directions, mean pooling, no clipping, the best validation's weights, seed
    3333 (Image 2222), dropout 0.1 on Image, and a learning rate of 0.001 without weight decay for
    what shapes the state. A layer is a mixer with the GLU that its authors put behind it.

    The setting is S4's alone, not each model's own; S4 itself is not in the zoo. `--model metala`
    adds any other model in the same setting.

    Different here: both directions share C (S4 learns one for each); the state has the model's own
    size and initial steps (S4: 4 numbers per channel on ListOps, Text and Retrieval and 64
    elsewhere, A shared by all channels but on Pathfinder and Path-X, steps from 0.0001 on Path-X,
    and the steps of the first three train at the full rate); Image's dropout is not tied over time;
    no weight decay on biases and norms; byte vocabulary, no end-of-text token; Pathfinder's pixels
    are in -1 to 1 (0 to 1 there); Text keeps a tenth for validation (`--dataset text --selection
    test --updates 49984` is the published protocol), and the cosine ends with the last update (Text
    44,992 and Retrieval 45,960 of the published 50,000).
    """
    return [run(task, model) for task in TASKS for model in MODELS]


def run(task: str, model: str) -> Lra:
    d_model, batch, lr, epochs, warmup, block = TASKS[task]
    return of_epochs(
        epochs,
        model=model,
        dataset=task,
        depth=6,
        d_model=d_model,
        channel_mixer="none",
        norm="batch",
        block=block,
        sublayer_dropout=IMAGE_DROPOUT if task == "image" else 0.0,
        batch=batch,
        lr=lr,
        state_lr=0.001,
        weight_decay=0.05,
        warmup=warmup,
        seed=SEEDS.get(task, 3333),
    )
