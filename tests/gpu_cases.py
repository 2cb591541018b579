"""What every scan backend is asked on a GPU, and how near to the float64 loop it must come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

import zoo.scan
from tests.scan_cases import Tensors, drawn
from zoo.scan.case import Case
from zoo.spec import Decay, Erase

DEVICE = "cuda"
PLAIN = ("delta", "vector", "ssm", "scalar", "matrix")  # torch alone; one of them runs each case


@dataclass(frozen=True)
class Asked:
    """One question. step, rate: "head", "channel" or "" for none. keys: "own", "shared" (one head
    for all), "static" (the same at every token), "tied" (k = 1 - alpha). turns: a complex state."""

    name: str
    step: str = ""
    rate: str = ""
    heads: int = 2
    keys: str = "own"
    d_k: int = 16
    d_v: int = 16
    t: int = 200
    read: str = "after"
    reverse: bool = False
    state: bool = True
    decay: str = "logsigmoid"
    erases: bool = False
    turns: bool = False
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        sizes = f"{self.name}-t{self.t}-{self.d_k}x{self.d_v}-{self.decay}-{self.read}"
        reverse = "-reverse" if self.reverse else ""
        return f"{sizes}{reverse}-{str(self.dtype).removeprefix('torch.')}"


GEOMETRIES = (
    Asked("keep"),
    Asked("head", step="head"),
    Asked("head-rate", step="head", rate="head", keys="shared"),
    Asked("head-fixed", rate="head"),
    Asked("channel", step="channel"),
    Asked("channel-shared", step="channel", rate="channel", keys="shared"),
    Asked("channel-fixed", rate="channel"),
    Asked("channel-tied", step="channel", keys="tied"),
    Asked("step-rate", step="head", rate="channel"),
    Asked("vector", step="head", heads=33, d_k=1, d_v=1),
    Asked("vector-tied", step="head", heads=32, keys="tied", d_k=1, d_v=1),
    Asked("vector-fixed", rate="head", heads=32, keys="shared", d_k=1, d_v=2),
    Asked("vector-keep", heads=3, d_k=1, d_v=2),
    Asked("ssm", step="head", rate="channel", heads=33, keys="shared", d_v=1),
    Asked("ssm-own-keys", step="head", rate="channel", heads=5, d_v=1),
    Asked("static", rate="channel", heads=4, keys="static", d_v=1),
    Asked("static-turned", rate="channel", heads=4, keys="static", d_v=1, turns=True),
    Asked("erase-keep", erases=True),
    Asked("erase-head", step="head", erases=True),
    Asked("erase-channel", step="channel", erases=True),
)
BY_NAME = {asked.name: asked for asked in GEOMETRIES}
FAMILIES = [BY_NAME[name] for name in ("head", "channel", "vector", "ssm")]
SIZES = ((1, 3), (17, 33), (128, 256), (256, 128))


def questions() -> list[Asked]:
    """Every geometry both ways round; families at more lengths, decays and sizes; 16 bits."""
    other = {"t": 65, "read": "before", "reverse": True, "state": False}
    asked = [*GEOMETRIES, *(replace(x, **other) for x in GEOMETRIES)]
    asked += [replace(x, t=t) for x in FAMILIES for t in (1, 63, 64)]
    asked += [replace(x, decay=y) for x in FAMILIES for y in ("-1e-3", "U(-20,0)", "spikes-of-200")]
    asked += [replace(x, d_k=k, d_v=v, t=130) for x in FAMILIES[:2] for k, v in SIZES]
    asked += [replace(x, t=2048) for x in (*FAMILIES, BY_NAME["static"], BY_NAME["erase-keep"])]
    half = [*GEOMETRIES, *(replace(x, t=2048) for x in FAMILIES)]
    half += [replace(x, d_k=128, d_v=256, t=130) for x in FAMILIES[:2]]
    return asked + [replace(x, dtype=torch.bfloat16) for x in half]


def drawn_for(asked: Asked, seed: int = 0) -> Tensors:
    """Inputs by name, q, k, v and the erase in asked.dtype, the rest in float32."""
    torch.manual_seed(seed)
    t, h, d_k, d_v = asked.t, asked.heads, asked.d_k, asked.d_v
    size = {"shared": (2, t, 1), "static": (1, 1, h)}.get(asked.keys, (2, t, h))
    x = {"q": torch.randn(*size, d_k), "k": torch.randn(*size, d_k)}
    x["v"] = torch.randn(2, t, h, d_v)
    if asked.erases:
        x["read"] = F.normalize(torch.randn(*size, d_k), dim=-1)
        x["write"] = 2 * torch.rand(*size, 1) * x["read"]
    if asked.keys == "tied":
        del x["k"]
    x = {name: y.to(asked.dtype) for name, y in x.items()}
    x |= drawn(asked.step, asked.rate, asked.decay, t, h, d_k)
    if asked.turns:
        x["rate"] = x["rate"][:, : d_k // 2]  # real and imaginary parts share it
    if asked.state:
        x["state"] = torch.randn(2, h, d_k, d_v)
    return {name: y.to(DEVICE) for name, y in x.items()}


def weights(asked: Asked) -> list[Tensor]:
    """What o and the end state are multiplied with; exact in every dtype."""
    torch.manual_seed(1)
    b, t, h, d_k, d_v = 2, asked.t, asked.heads, asked.d_k, asked.d_v
    drawn = torch.randn(b, t, h, d_v), torch.randn(b, h, d_k, d_v)
    return [y.bfloat16().float().to(DEVICE) for y in drawn]


def arguments(asked: Asked, x: Tensors) -> dict[str, object]:
    """The same for scan() and for a Case."""
    rate, angle = x.get("rate"), None
    if asked.turns and rate is not None:
        angle = torch.linspace(0, 3, rate.shape[1], device=rate.device).expand_as(rate)  # h k/2
        rate = rate.repeat(1, 2)  # h k
    decay = Decay(x.get("step"), rate, angle)
    given = {"q": x["q"], "k": x.get("k"), "v": x["v"], "decay": decay, "state": x.get("state")}
    erase = Erase(x["write"], x["read"]) if asked.erases else None
    return {**given, "erase": erase, "read": asked.read, "reverse": asked.reverse}


def run(asked: Asked, x: Tensors, backend: str, by: Sequence[Tensor]) -> Tensors:
    """o, the end state, and the gradient of their sum weighted with `by`, by name."""
    x = {name: y.detach().requires_grad_() for name, y in x.items()}
    return traced(asked, x, backend, by)


def traced(asked: Asked, x: Tensors, backend: str, by: Sequence[Tensor]) -> Tensors:
    """The same of inputs that require gradients; nothing in it waits for the device."""
    o, end = zoo.scan.scan(**arguments(asked, x), backend=backend, trusted=True)  # pyright: ignore
    weighted = [w.to(y.dtype) for w, y in zip(by, (o, end), strict=True)]
    found = torch.autograd.grad((o, end), list(x.values()), weighted, materialize_grads=True)
    return {"o": o, "end": end} | {f"d{name}": g for name, g in zip(x, found, strict=True)}


def able(asked: Asked, x: Tensors) -> list[str]:
    """The backends that do not refuse, in the order of BACKENDS."""
    case = Case(**arguments(asked, x))  # pyright: ignore[reportArgumentType]
    return [name for name, reason in zoo.scan.explain(case).items() if not reason]


def peers() -> set[str]:
    """Backends that belong to another library: those behind the loop, which "auto" never asks."""
    names = [module.NAME for module in zoo.scan.BACKENDS]
    return set(names[names.index("loop") + 1 :]) - {"parallel"} | {"fla_delta"}


def own(asked: Asked, x: Tensors) -> list[str]:
    """Of those that are able, ours; without the two that the others are measured against."""
    return [name for name in able(asked, x) if name not in peers() | {"loop", "parallel"}]


def repeatable(asked: Asked, x: Tensors) -> list[str]:
    """Of our own those that must give the same bits every time: a module says NONDETERMINISTIC and
    why where it need not. Plain torch, which is slow, in short float32 sequences only."""
    free = {m.NAME for m in zoo.scan.BACKENDS if getattr(m, "NONDETERMINISTIC", "")}
    brief = asked.t <= 200 and asked.dtype == torch.float32
    return [n for n in own(asked, x) if n not in free and (brief or n not in PLAIN)]
