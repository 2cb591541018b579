"""What this machine can run, what is missing, and the command that fixes it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

import zoo
from runners.engines.local import cores
from tasks import lra
from tasks.lra.data import cache_folder
from zoo import scan
from zoo.model import Model

INSTALL = "python -m pip install --constraint constraints.txt"
D_MODEL, TOKENS = 32, 16  # of the model that asks every backend


@dataclass(frozen=True)
class Fact:
    """good: False where something is missing, None where that is fine on this machine."""

    what: str
    good: bool | None
    said: str
    remedy: str = ""


def facts(out: Path, data: Path) -> list[Fact]:
    """The machine, the libraries, the folder that results go to, and the data sets."""
    found = [machine(), torch_build(), gpu(), *libraries(), numba(), *language_libraries()]
    return [*found, folder(out), data_sets(data)]


def machine() -> Fact:
    python = platform.python_version()
    good = (3, 11) <= tuple(map(int, python.split(".")[:2])) <= (3, 13)
    remedy = (
        ""
        if good
        else "use Python 3.11, 3.12 or 3.13: make clean, then make mqar PYTHON=python3.12"
    )
    return Fact("python", good, f"{python}, {platform.system()} {platform.machine()}", remedy)


def torch_build() -> Fact:
    cuda = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    threads = f"{torch.get_num_threads()} threads, {cores()} cores"
    return Fact(
        "torch", True, f"{torch.__version__}, {cuda}, {threads}; workers use one thread each"
    )


def gpu() -> Fact:
    count = torch.cuda.device_count()
    if count:
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
        return Fact("GPU", True, names)
    if shutil.which("nvidia-smi") and not torch.version.cuda:
        remedy = "make clean, then make mqar, which installs the build for this machine"
        return Fact("GPU", False, "an NVIDIA driver is here, but torch is a CPU build", remedy)
    return Fact("GPU", None, "none; everything runs on the CPU")


def libraries() -> list[Fact]:
    """Those that are not required: ours on a GPU, and others' to compare with."""
    own, fla, mamba = (backends(prefix) for prefix in ("triton_", "fla_", "mamba_"))
    return [
        optional("triton", "triton", "gpu", f"for our GPU kernels ({own})", needed=True),
        optional("flash-linear-attention", "fla", "gpu", f"to compare with, by --backend: {fla}"),
        optional("mamba-ssm", "mamba_ssm", "mamba", f"to compare with, by --backend: {mamba}"),
        optional("causal-conv1d", "causal_conv1d", "mamba", "what mamba-ssm's own models need"),
    ]


def backends(prefix: str) -> str:
    """Names of the scan backends that begin so."""
    names = [module.NAME for module in scan.BACKENDS if module.NAME.startswith(prefix)]
    return ", ".join(names) or "none yet"


def optional(name: str, module: str, extra: str, use: str, needed: bool = False) -> Fact:
    """A library that nothing needs on a CPU. Its absence is a fault on a GPU where it is `needed`,
    and none where it serves comparisons."""
    if importlib.util.find_spec(module) is None:
        good = False if needed and torch.cuda.is_available() else None
        need = "" if torch.cuda.is_available() else " (of use with an NVIDIA GPU only)"
        # Both of mamba's libraries compile against the torch that is there.
        how = f"{INSTALL} --no-build-isolation" if extra == "mamba" else INSTALL
        return Fact(name, good, f"not installed: {use}{need}", f"{how} --editable '.[{extra}]'")
    try:
        said = version(name)
    except PackageNotFoundError:
        said = "installed, version unknown"
    idle = "" if torch.cuda.is_available() else "; idle without an NVIDIA GPU"
    return Fact(name, True, said + idle)


def numba() -> Fact:
    """Compiles the generator of Pathfinder's images; nothing else needs it."""
    what = "which Pathfinder and Path-X are drawn with"
    if importlib.util.find_spec("numba") is None:
        return Fact("numba", None, f"not installed: {what}", f"{INSTALL} --editable '.[lra]'")
    return Fact("numba", True, f"{version('numba')}, {what}")


def language_libraries() -> list[Fact]:
    """What language models can do without: bytes of texts at hand need none of these."""
    uses = {
        "tokenizers": ("tokenizers", "lm", "bpe-N and tokenizer.json files"),
        "datasets": ("datasets", "lm", "corpora of the Hugging Face hub"),
        "transformers": ("transformers", "lm", "trained models as Hugging Face models"),
        "accelerate": ("accelerate", "lm", "several processes that train one model"),
        "lm-eval": ("lm_eval", "eval", "lazoo eval"),
    }
    found = []
    for name, (module, extra, use) in uses.items():
        here = importlib.util.find_spec(module) is not None
        said = f"{version(name)}, {use}" if here else f"not installed: for {use}"
        remedy = "" if here else f"{INSTALL} --editable '.[{extra}]'"
        found.append(Fact(name, True if here else None, said, remedy))
    return found


def data_sets(root: Path) -> Fact:
    """Which data sets of the Long Range Arena lie in a folder; whether they are whole is for
    lazoo data verify."""
    here = [name for name, data in lra.DATASETS.items() if cache_folder(data, root).is_dir()]
    said = f"in {root}: {', '.join(here) or 'none yet'}"
    flag = "" if root == Path("data") else f" --root {root}"
    remedy = (
        "" if len(here) == len(lra.DATASETS) else f"lazoo data{flag} says how to get the others"
    )
    return Fact("LRA data", True if here else None, said, remedy)


def folder(out: Path) -> Fact:
    """Whether rows can be written; makes no folder."""
    place = out.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            free = shutil.disk_usage(place).free
    except OSError as error:
        said = f"{place} cannot be written: {error.strerror}"
        return Fact("results", False, said, "type --out and a folder that you may write to")
    new = "" if place == out.absolute() else ", which will be made"
    return Fact("results", True, f"{out}{new}; {free / 2**30:.1f} GiB free")


@dataclass(frozen=True)
class Served:
    """backend: what "auto" takes. refused: every other backend's reason, "" if it could run."""

    model: str
    backend: str
    refused: dict[str, str]


def served(name: str) -> Served:
    """Asks every scan backend whether it can run a small copy of the model here."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = ", ".join(_run(name, "auto", device).backends())
    refused = _reasons(name, device) if zoo.load(name).mix == "scan" else {}
    refused.pop(backend, None)
    return Served(name, backend, refused)


def _run(name: str, backend: str, device: torch.device) -> Model:
    model = Model(zoo.load(name), vocabulary=8, d_model=D_MODEL, depth=1, backend=backend)
    with torch.no_grad():
        model.to(device)(torch.zeros(1, TOKENS, dtype=torch.int64, device=device))
    return model


def _reasons(name: str, device: torch.device) -> dict[str, str]:
    """Every backend's, "" if it could run. They stand in what a name that none has is told; so no
    other library's kernel has to run for it."""
    try:
        _run(name, "unknown", device)
    except ValueError as error:
        lines = [line.strip().partition(": ") for line in str(error).splitlines()[1:]]
        return {name: "" if said == "can run" else said for name, _, said in lines}
    raise AssertionError(f"{name} ran by a backend that does not exist")
