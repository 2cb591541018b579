"""Words, numbers and signs of tables as LaTeX; formulas are those of tex_math."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .tex_math import ACCENTS, RAISED, SIGNS, tex

if TYPE_CHECKING:
    from .writers import Text


def row(entries: Sequence[str]) -> str:
    return " & ".join(entries) + r" \\"


def entry(of: Text, aligned: bool = True) -> str:
    """One entry of a table. aligned: its signs have no width, so that digits stay below digits."""
    text = f"${tex(of.text)}$" if of.math and of.text else words(of.text)
    text = rf"\textbf{{{text}}}" if of.best else text
    marks = words(of.marks)
    if marks:
        marks = rf"\rlap{{{marks}}}" if aligned else rf"~{marks}"
    return text + words(of.spread) + marks


TEX = {sign: f"${spelt}$" for sign, spelt in SIGNS.items() if not sign.isascii()}
TEX |= {sign: f"$^{{{spelt}}}$" for sign, spelt in RAISED.items()}
TEX |= {
    "√": r"$\surd$",
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"$^{\S}$",
    "¶": r"$^{\P}$",
    "○": r"$^{\circ}$",
    "↗": r"$^{\nearrow}$",
}


def words(text: str) -> str:
    """Text for LaTeX; `commands` in backticks become typewriter, and two signs one superscript."""
    accents = "".join(ACCENTS)
    spelt = "".join(spelt_sign(*found) for found in re.findall(f"(.)([{accents}]?)", text))
    # In typewriter, too, two hyphens would be set as a dash.
    spelt = re.sub("`([^`]*)`", lambda c: rf"\texttt{{{c[1].replace('--', '-{}-')}}}", spelt)
    return spelt.replace("}$$^{", "").replace("$$", "")


def spelt_sign(sign: str, accent: str) -> str:
    return f"${ACCENTS[accent]}{{{sign}}}$" if accent else TEX.get(sign, sign)
