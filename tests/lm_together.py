"""What processes of torchrun do in tests, and how they are started.

As a program in such a process: `lm_together.py cases ROOT` makes CASES, each as a row of its own;
`sweep ROOT STRATEGY HOW` sweeps as `lazoo lm` does and stores how each process ends.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from runners.lm_config import Lm
from tests import lm_tiny

ROOT = Path(__file__).parents[1]
STRATEGIES = ("ddp", "fsdp")
# One has parameters that layers share, one a tensor that the first leaves for the others.
MODELS = {"ddp": ("metala", "hgrn"), "fsdp": ("metala", "hgrn", "rwkv7")}
AT = 2  # updates after which a run is cut off


def config(root: Path, model: str = "metala", **fields: Any) -> Lm:
    """Every update has its loss in the row; clipping is at work in each."""
    short = {"d_model": 32, "depth": 2, "updates": 4, "accumulate": 2, "clip": 0.1, "lr": 0.003}
    return lm_tiny.config(root, model, **{**short, **fields})


def resumed(root: Path, **fields: Any) -> Lm:
    return config(root, **{"dropout": 0.1, "warmup": 2, **fields})


def start(*arguments: object, size: int = 2) -> subprocess.Popen[str]:
    """Processes of this program. They end with the one returned."""
    own = [sys.executable, "-P", __file__, *map(str, arguments)]
    return torchrun(own, size=size, stderr=subprocess.STDOUT)


def torchrun(command: list[str], *, size: int = 2, **options: Any) -> subprocess.Popen[str]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--no-python"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*launch, "--nproc-per-node", str(size), *command],
        env=environment | {"PYTHONWARNINGS": "default"},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def cases(root: Path) -> None:
    """ROOT/<case>.<rank>.json and, of the process that leads, ROOT/<case>/<key> for the model."""
    import torch

    from runners import lm_probes
    from runners.together import joined

    torch.set_num_threads(1)
    lm_probes.probe = lambda *_, **__: {}
    for strategy in STRATEGIES:
        team = joined(strategy)
        for model in MODELS[strategy]:
            made(team, root, f"{strategy}-{model}", config(root, model))
        run, kept = resumed(root), root / "kept" / strategy
        made(team, root, f"{strategy}-whole", run)
        cut_off(team, root, run, kept)
        made(team, root, f"{strategy}-resumed", run, checkpoints=kept)
        cut_off(team, root, config(root), root / "moved" / strategy)
        diverges(team, root, strategy)
    # What several kept with ddp goes on with fsdp; the test goes on with it alone.
    moved = root / "moved" / "again"
    if team.leads:
        shutil.copytree(root / "moved" / "ddp", moved)
    team.any(True)
    made(team, root, "moved", config(root), checkpoints=moved)
    team.leave()


def made(team: Any, root: Path, name: str, run: Lm, **options: Any) -> None:
    from runners import lm_run

    places = {"data": root / "data", "models": root / name}
    row = lm_run.run(run, **places, team=team, every=0.0, **options)
    (root / f"{name}.{team.rank}.json").write_text(json.dumps(row, allow_nan=False))


def cut_off(team: Any, root: Path, run: Lm, kept: Path) -> None:
    """Leaves a checkpoint at update AT. Progress is told before that of the update after it."""
    from runners import lm_run

    def progress(update: int, metrics: dict[str, float]) -> None:
        if update > AT:
            raise InterruptedError

    how = {"checkpoints": kept, "every": 0.0, "progress": progress}
    try:
        lm_run.run(run, data=root / "data", team=team, **how)
    except InterruptedError:
        return
    raise AssertionError("it was not cut off")


def diverges(team: Any, root: Path, strategy: str) -> None:
    """In the second update, for one process only."""
    from runners import lm

    real, calls = lm.loss, []

    def loss(model: Any, batch: Any) -> Any:
        calls.append(1)
        value = real(model, batch)
        return value * math.nan if team.rank and len(calls) == 3 else value

    lm.loss = loss
    made(team, root, f"{strategy}-diverged", config(root))
    lm.loss = real


def swept(root: Path) -> list[Lm]:
    """The first one cannot be shared by two; the second one lasts."""
    from tasks.lm import identity

    lasting = resumed(root, updates=12)
    known = {"text_sha256": identity.of(lasting.corpus, lasting.tokeniser, root / "data")}
    return [config(root, batch=5), lasting.model_copy(update=known)]


def sweep(root: Path, strategy: str, how: str) -> int:
    """how: slow, or alone where one process fails. Returns: the exit code as of lazoo."""
    from runners import lm_probes
    from runners.engines import follows
    from runners.engines.together import Leader, follow
    from runners.execution import Execution
    from runners.sweep import Stopped
    from runners.sweep import sweep as sweep_them

    lm_probes.probe = lambda *_, **__: {}
    bend(how)
    if follows():
        return follow(strategy)
    execution = Execution(data=str(root / "data"), checkpoint_minutes=1e9)
    try:
        runs = swept(root)[how == "alone" :]
        options = {"execution": execution, "cost": lambda run: run.batch}
        done = sweep_them(runs, root / "out", Leader(strategy), **options)
    except Stopped as stop:
        print(stop, flush=True)
        return 128 + stop.number
    except RuntimeError as error:
        print(error, flush=True)
        return 1
    return int(bool(done.failed))


def bend(how: str) -> None:
    import time
    from datetime import timedelta

    from runners import lm, together
    from runners.engines import follows

    real = lm.loss

    def slow(model: Any, batch: Any) -> Any:
        print("part", flush=True)
        time.sleep(0.2)
        return real(model, batch)

    def failing(model: Any, batch: Any) -> Any:
        if follows():
            raise ArithmeticError("seven is not eight")
        return real(model, batch)

    lm.loss = {"slow": slow, "alone": failing}[how]
    if how == "alone":
        together.SOON = timedelta(seconds=3)


if __name__ == "__main__":
    mode, *rest = sys.argv[1:]
    if mode == "cases":
        sys.exit(cases(Path(rest[0])))
    code = sweep(Path(rest[0]), *rest[1:])
    (Path(rest[0]) / f"code.{os.environ['RANK']}").write_text(str(code))
    sys.exit(code)
