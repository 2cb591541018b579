"""C3 in numbers: how many scalars a layer spends on its attention map, theta_q, theta_k,
theta_alpha."""

from __future__ import annotations

from zoo.mixer import Mixer
from zoo.spec import Spec

# What a mixer calls its parts -> whose scalars they are; everything else is not part of the map.
PARTS = {"f_q": "q", "f_k": "k", "f_alpha": "alpha", "erase": "erase"}


def scalars(spec: Spec, d_model: int) -> dict[str, int]:
    """Number of parameters of one layer in q, k, alpha, erase, and in all. A function whose
    projection another part holds (Mamba-2's in_proj) counts 0 here, its scalars in `all`."""
    mixer = Mixer(spec, d_model, layer=0, depth=1)
    found = dict.fromkeys([*PARTS.values(), "all"], 0)
    for name, parameter in mixer.named_parameters():
        part = PARTS.get(name.partition(".")[0])
        found["all"] += parameter.numel()
        if part is not None:
            found[part] += parameter.numel()
    return found
