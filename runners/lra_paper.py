"""The setting of the MetaLA paper's Long Range Arena: Table A4, and HGRN's for what it lacks."""

from __future__ import annotations

from results import published
from runners.lra_config import Lra, of_epochs

MODELS = ("attention", "dss:softmax", "s5", "lru", "hgrn", "mamba", "metala")
TABLE = "tableA4_lra_hyperparameters"
# OpenNLPLab/HGRN script_lra.py at 135e404: epochs, and where its encoder is `position`.
EPOCHS = {
    "listops": 50,
    "text": 32,
    "retrieval": 20,
    "image": 100,
    "pathfinder": 200,
    "pathx": 100,
}
SINUSOIDAL = ("listops", "text", "retrieval", "image")
# OpenNLPLab/lra src/tasks/encoders.py at dd871ef: PositionalEncoder's own default.
POSITION_DROPOUT = 0.1
SEED = 2222


def paper() -> list[Lra]:
    """MetaLA (arXiv 2411.10741), Table 7 in the setting of Table A4, for its models in the zoo.

    From Table A4, per task: depth, width, inner width of a SiLU GLU, dropout, learning rate, batch,
    weight decay, warm-up, and whether both directions are scanned (not on ListOps and Text). Keys
    and queries of d/2 channels are MetaLA's default. Every model has this same setting; in the
    paper the others' numbers come from their own papers' settings. S4, TNN, Mega and SGConv are not
    in the zoo; DSS is its softmax version.

    Open there, from HGRN's script_lra.py: batch norm before each sub-layer and at the end, mean
    pooling, epochs, no clipping, seed 2222, and sinusoidal positions on ListOps, Text, Retrieval
    and Image. There a model's dropout acts on the output of each sub-layer and inside the GLU (here
    on the output alone), and the positions bring a dropout of 0.1 on the embedding of their own.

    Ours: the cosine ends at 0 with the last update. That of Table A4 would end after 50,000 or
    500,000 updates, more than HGRN's epochs have on any task (11,232 to 125,000), so there the rate
    falls less, or not at all after a long warm-up. Text keeps a tenth of its training set for
    validation and so makes 11,232 updates; `--dataset text --selection test --updates 12480` is the
    published protocol and marked in tables. Attention, which knows no order without them, has
    sinusoidal positions on Pathfinder and Path-X too. Biases, norms and decay rates have no weight
    decay. Bytes are the vocabulary. Images are scanned as one sequence (HGRN scans rows and
    columns), in grey. MetaLA has 8 heads and its kernel-4 convolution (the paper has norm groups of
    4 channels and does not say whether there is a convolution).
    """
    return [run(line, model) for line in published.read(TABLE) for model in MODELS]


def run(line: dict[str, str], model: str) -> Lra:
    """One model on the task of a line of Table A4."""
    task = line["task"]
    sinusoidal = task in SINUSOIDAL
    return of_epochs(
        EPOCHS[task],
        model=model,
        dataset=task,
        depth=int(line["depth"]),
        d_model=int(line["d_model"]),
        channel_mixer="swiglu",
        d_channel=int(line["d_glu"]),
        norm="batch",
        positions="sinusoidal" if sinusoidal or model == "attention" else "none",
        dropout=POSITION_DROPOUT if sinusoidal else 0.0,
        sublayer_dropout=float(line["dropout"]),
        bidirectional=line["bidirectional"] == "yes",
        lr=float(line["lr"]),
        batch=int(line["batch_size"]),
        weight_decay=float(line["weight_decay"]),
        warmup=int(line["warmup_steps"]),
        seed=SEED,
    )
