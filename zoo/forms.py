"""A model's steps in the three forms of the paper's Table 3: general, recurrent and parallel."""

from __future__ import annotations

import re

from zoo.equations import Probe, bare, formulas, normed, projected, recurrence
from zoo.spec import Spec

# Eq. 11-15 of MetaLA (arXiv 2411.10741).
GENERAL = {
    "local": "",
    "f_q": "q_t = f_q(x_t, θ_q)",
    "f_k": "k_t = f_k(x_t, θ_k)",
    "f_v": "v_t = f_v(x_t, θ_v)",
    "f_alpha": "α_t = f_α(x_t, θ_α)",
    "f_g": "g_t = f_g(x_t, θ_g)",
    "state": "S_t = diag(α_t) S_{t-1} + k_tᵀ v_t",
    "output": "o_t = q_t S_t",
    "now": "",
    "norm": "o_t = XNorm(concat(o_t))",
    "w_o": "y_t = (o_t ⊙ g_t) W_O",
}
LETTERS = {"f_q": "q", "f_k": "k", "f_v": "v", "f_alpha": "α", "f_g": "g"}


def recurrent(spec: Spec, found: Probe) -> dict[str, str]:
    """One step of a model, token by token."""
    f = formulas(spec)
    *_, state, output = recurrence(spec, found)
    lines = {"local": f"u = {f['local']}" if f["local"] else ""}
    lines |= {slot: f"{letter} = {f[slot]}" for slot, letter in LETTERS.items()}
    return lines | {
        "state": state,
        "output": output,
        "now": f"o_t = o_t + {f['now']}" if f["now"] else "",
        "norm": f"o = {f['norm']}(o)" if f["norm"] else "",
        "w_o": f"y = {projected(normed(spec).replace(f['norm'] + '(o)', 'o'), f['w_o'])}",
    }


def parallel(spec: Spec, found: Probe) -> dict[str, str]:
    """The same for all tokens at once, which are rows: for a diagonal decay read after the update.

    Raises: ValueError for a model whose map is no elementwise product of decays.
    """
    if spec.mix != "scan" or spec.erase or spec.bonus or spec.normaliser or found.turning:
        raise ValueError(f"{spec.label} has no parallel form of the kind of Eq. 16")
    rows = {slot: matrix(text) for slot, text in recurrent(spec, found).items()}
    scale = " / √d_k" if spec.scale == "d_k^-1/2" else ""
    rows["f_alpha"] += ", A_t = Π_{j≤t} α_j"
    rows["state"] = "M_{t s} = 1 if s ≤ t, 0 if s > t"
    rows["output"] = f"O = (((Q ⊙ A) (K / A)ᵀ) ⊙ M) V{scale}"
    rows["now"] = f"O_t = O_t + {bare(spec)['now']}" if spec.now else ""
    return rows


def matrix(text: str) -> str:
    """Letters of rows as the letters of the matrices whose rows they are; weights stay."""
    capitals = {"q": "Q", "k": "K", "v": "V", "g": "G", "o": "O", "y": "Y", "x": "X", "u": "U"}
    return re.sub(r"(?<![\w^_])([qkvgoyxu])(?!\w)", lambda found: capitals[found[1]], text)
