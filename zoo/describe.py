"""A model in words and numbers: equations, state and parameters, measured (`lazoo models`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch

import zoo
from zoo.dimensions import dimension, size
from zoo.equations import decay_kind, equations, formulas, probe, surroundings
from zoo.model import Model, role
from zoo.spec import Spec

FAMILIES = ("softmax", "linear transformer", "linear RNN", "state-space model", "delta rule")
ROLES = ("q", "k", "alpha", "v", "g", "out", "norm", "extra")
LENGTHS = (128, 256)  # tokens; both end a block of 64 or 128, where block-local models stand alike


@dataclass(frozen=True)
class Measured:
    """Of a second layer, because a first one can lack parts (RWKV-7) or have more (TransNormerLLM).

    parameters: by role, without those that all layers share. floats: of the state after each of
    LENGTHS tokens. first: floats of the first layer after the longer one.
    """

    parameters: dict[str, int]
    floats: dict[int, int]
    first: int


@torch.no_grad()
def measured(spec: Spec, d_model: int) -> Measured:
    model = Model(spec, vocabulary=2, d_model=d_model, depth=2).eval()
    counts: Counter[str] = Counter(dict.fromkeys(map(str, ROLES), 0))
    for name, parameter in model.mixers()[1].named_parameters():
        counts[role(f"blocks.1.mixer.{name}")] += parameter.numel()
    layers = {}
    for n in LENGTHS:
        _, state = model.hidden(torch.zeros(1, n, dtype=torch.int64))
        layers[n] = [sum(y.numel() for y in kept.values()) for kept in state["layers"]]
    floats = {n: layer[1] for n, layer in layers.items()}
    return Measured(dict(counts), floats, layers[LENGTHS[1]][0])


def describe(name: str, d_model: int = 64) -> dict[str, object]:
    """Everything `lazoo models` prints about one model, as plain data (and as JSON)."""
    spec = zoo.load(name)
    state, found = spec.state(d_model), probe(spec, d_model)
    run = measured(spec, d_model)
    held = state.heads * state.d_k * (state.d_v + (spec.normaliser is not None))
    shared = {} if spec.shared is None else spec.shared(2, d_model)
    return {
        "name": name,
        "label": spec.label,
        "paper": spec.paper,
        "family": spec.family,
        **formulas(spec),
        "equations": equations(spec, found),
        "also": surroundings(spec, found),
        "dimension": dimension(spec),
        "size": size(spec),
        "decay": decay_kind(spec, found),
        "static": list(found.static),
        "complex": found.turning,
        "read": spec.read,
        "scale": spec.scale,
        "order": spec.order,
        "now_at": spec.now_at,
        "normaliser": "" if spec.normaliser is None else spec.normaliser.kind,
        "log_keys": spec.log_keys,
        "channel": spec.channel,
        "block_norm": spec.block_norm,
        "d_model": d_model,
        "heads": state.heads,
        "d_k": state.d_k,
        "d_v": state.d_v,
        "state_floats": held if spec.mix == "scan" else None,
        "measured_floats": run.floats,
        "first_layer_floats": run.first,
        "grows": len(set(run.floats.values())) > 1,
        "parameters": run.parameters,
        "shared_parameters": {name: y.numel() // 2 for name, y in shared.items()},
        "by_design": dict(spec.by_design),
        "variants": zoo.variants(name),
        "documentation": zoo.documentation(name),
    }


def by_family(names: list[str]) -> list[str]:
    """Names in the order of FAMILIES, alphabetical within each."""
    return sorted(names, key=lambda name: (FAMILIES.index(zoo.load(name).family), name))
