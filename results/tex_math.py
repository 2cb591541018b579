"""The zoo's formulas as LaTeX mathematics: `σ(u W1_α + b_α)^(1/16)` as a page would print it.

The notation is that of `formula` in zoo/spec.py: letters with `_` and `^`, groups in braces or
parentheses, words such as SiLU, Greek letters and operators as Unicode signs.
"""

from __future__ import annotations

import re
import unicodedata

# Signs and what LaTeX calls them.
KNOWN = r"""
α \alpha  β \beta  γ \gamma  δ \delta  ε \varepsilon  ϵ \epsilon  ζ \zeta  η \eta  θ \theta
ι \iota  κ \kappa  λ \lambda  μ \mu  ν \nu  ξ \xi  π \pi  ρ \rho  σ \sigma  τ \tau  υ \upsilon
φ \phi  ϕ \phi  χ \chi  ψ \psi  ω \omega  Γ \Gamma  Δ \Delta  Θ \Theta  Λ \Lambda  Ξ \Xi
Υ \Upsilon  Φ \Phi  Ψ \Psi  Ω \Omega  Σ \sum  ∑ \sum  Π \prod  ∏ \prod  ∞ \infty  ℓ \ell
⊙ \odot  ⊗ \otimes  ⊕ \oplus  ⊘ \oslash  ∘ \circ  · \cdot  ⋅ \cdot  × \times  ± \pm  ∗ \ast
≤ \leq  ≥ \geq  ≠ \neq  ≈ \approx  ≡ \equiv  ∝ \propto  ∈ \in  ∼ \sim  ~ \sim
→ \to  ← \leftarrow  ↦ \mapsto  ‖ \Vert  ∥ \Vert  ⟨ \langle  ⟩ \rangle  ∂ \partial  ∇ \nabla
⌊ \lfloor  ⌋ \rfloor  ⌈ \lceil  ⌉ \rceil  … \ldots  ½ \frac{1}{2}  ℝ \mathbb{R}  ℂ \mathbb{C}
− -  – -  ’ '  { \{  } \}  % \%  # \#  & \&  $ \$
( (  ) )  [ [  ] ]  | |  + +  - -  = =  < <  > >  / /  , ,  ; ;  : :  ! !  ? ?  . .
"""
PAIRS = KNOWN.split()
SIGNS = dict(zip(PAIRS[::2], PAIRS[1::2]))
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱᵗʰ", "0123456789+-nith")) | {"ᵀ": r"\top", "ᴴ": "H", "⊤": r"\top"}
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₐₑₕₖₗₘₙₚₛₜᵢⱼᵣᵤᵥₓ", "0123456789+-aehklmnpstijruvx"))
ACCENTS = {"\u0304": r"\bar", "\u0302": r"\hat", "\u0303": r"\tilde", "\u0307": r"\dot"}
OPERATORS = ("exp", "log", "ln", "sin", "cos", "tanh", "max", "min", "arg")
BETWEEN = {"≤", "≥", "≠", "≈", "≡", "∝", "→", "←", "↦", "∈", "∼", "=", "<", ">", "+", "-", "−"}
BETWEEN |= {"⊙", "⊗", "⊕", "⊘", "∘", "·", "×", "±", "∗", "/", "⋅"}  # TeX spaces these itself

NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
TOKEN = re.compile(
    rf"(?P<number>{NUMBER})|(?P<word>[A-Za-z]{{2,}}\d+[A-Za-z]+|[A-Za-z]+)(?P<digits>\d*)|(?P<sign>\S)"
)
POWER = re.compile(r"[+\-−](\d+(?:\.\d+)?(?:/\d+)?)")


def tex(formula: str, *, breaks: bool = True) -> str:
    """The formula without its dollars. breaks: lines may end after a comma or between two factors.

    Raises: ValueError that names a sign which the notation does not have.
    """
    return Parser("".join(map(apart, formula.strip())), breaks).sequence("")


def apart(sign: str) -> str:
    """A letter and its accent as two signs, as they are where no letter with that accent exists."""
    taken = unicodedata.normalize("NFD", sign)
    return taken if taken[-1] in ACCENTS else sign


class Parser:
    """A position in a text, and how to read on from there."""

    def __init__(self, text: str, breaks: bool, nested: bool = False) -> None:
        self.text, self.at, self.breaks, self.nested = text, 0, breaks, nested

    def sequence(self, end: str) -> str:
        """Atoms up to the closing sign `end`, which is read too; "" reads to the end."""
        made, before = "", ""
        while self.at < len(self.text):
            here = self.text[self.at]
            if end and here == end:
                self.at += 1
                return made.strip()
            if here.isspace():
                self.at += 1
                ahead = self.text[self.at : self.at + 1]
                if ahead and not ahead.isspace() and before not in ",;":
                    made += " " if before in BETWEEN or ahead in BETWEEN else self.gap()
                continue
            made += self.atom()
            before = self.text[self.at - 1]
            if here in ",;" and not self.nested:
                made += r"\ \allowbreak " if self.breaks else r"\ "
        if end:
            raise ValueError(f"{self.text!r} has no closing {end}")
        return made.strip()

    def gap(self) -> str:
        """The space between what ends before a white space and what follows: more around words."""
        behind = re.search(r"(?<![\w^_])[A-Za-z]{2,}\s*$", self.text[: self.at])
        ahead = re.match(r"[A-Za-z]{2,}(?![\w(_^])", self.text[self.at :])
        words = [found[0].strip() for found in (behind, ahead) if found]
        space = r"\ " if any(word not in OPERATORS for word in words) else r"\,"
        return space + r"\penalty500 " * self.breaks

    def atom(self) -> str:
        """One base with everything below and above it."""
        base, digits = self.base()
        below, above = "", ""
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign in ACCENTS:
                self.at += 1
                base = f"{ACCENTS[sign]}{{{base}}}"
            elif sign in LOWERED or sign in RAISED or sign in "'′*_^":
                if sign == "*" and not self.at_end():
                    break
                self.at += 1
                if sign in LOWERED:
                    below += LOWERED[sign]
                elif sign == "_":
                    # W1_α: the number tells matrices apart and goes above the name.
                    above, digits = above + digits, ""
                    below += self.script()
                elif sign in RAISED:
                    above += RAISED[sign]
                else:
                    above += self.script() if sign == "^" else r"\prime" if sign != "*" else r"\ast"
            else:
                break
        below = digits + below
        spaced = f"_{{{below}}}" * bool(below) + f"^{{{above}}}" * bool(above)
        return f"{base}{spaced}" if spaced or not re.search(r"\\[A-Za-z]+$", base) else f"{base} "

    def at_end(self) -> bool:
        """Whether a star is a mark on what stands before it: nothing multiplies follows."""
        return not self.text[self.at + 1 :].strip() or self.text[self.at + 1] in ",;)"

    def base(self) -> tuple[str, str]:
        """The next sign, number or word, and digits that belong to it as an index."""
        if self.text[self.at] == "√":
            self.at += 1
            return rf"\sqrt{{{self.group() or self.atom()}}}", ""
        found = TOKEN.match(self.text, self.at)
        assert found is not None, f"white space at {self.at} of {self.text!r}"
        self.at = found.end()
        if number := found["number"]:
            digits, _, power = number.partition("e")
            times = "" if digits == "1" else rf"{digits} \cdot "
            return (rf"{times}10^{{{int(power)}}}" if power else number), ""
        if word := found["word"]:
            return named(word), found["digits"]
        sign = found["sign"]
        if sign == "*":
            return r"\cdot", ""
        if sign not in SIGNS:
            name = unicodedata.name(sign, "a sign without a name").lower()
            raise ValueError(f"{self.text!r} has a sign that has no LaTeX here: {sign} ({name})")
        # In a line of text without line breaks, limits below a sum would reach into the next one.
        upright = {"Σ": r"\Sigma", "∑": r"\Sigma", "Π": r"\Pi", "∏": r"\Pi"}
        return (SIGNS if self.breaks else SIGNS | upright)[sign], ""

    def script(self) -> str:
        """What `_` or `^` applies to: a group, a signed number, or one name."""
        if power := POWER.match(self.text, self.at):
            self.at = power.end()
            return power[0]
        sign = ""
        if self.text[self.at : self.at + 1] in ("-", "+", "−"):
            sign = self.text[self.at]
            self.at += 1
            if self.text[self.at : self.at + 1] == "(":
                return sign + self.base()[0] + self.inside(")") + ")"
        if self.at >= len(self.text):
            raise ValueError(f"{self.text!r} ends with a script that is empty")
        inner = self.group()
        if inner:
            return sign + inner
        base, digits = self.base()
        return sign + base + digits

    def group(self) -> str:
        """The content of braces or parentheses that start here; "" if none do."""
        end = {"{": "}", "(": ")"}.get(self.text[self.at : self.at + 1], "")
        if not end:
            return ""
        self.at += 1
        return self.inside(end)

    def inside(self, end: str) -> str:
        """A sequence to its own closing sign, whatever is nested in it."""
        depth, start, opened = 1, self.at, {"}": "{", ")": "("}[end]
        while self.at < len(self.text):
            depth += (self.text[self.at] == opened) - (self.text[self.at] == end)
            self.at += 1
            if not depth:
                return Parser(self.text[start : self.at - 1], False, nested=True).sequence("")
        raise ValueError(f"{self.text!r} has no closing {end}")


def named(word: str) -> str:
    """A variable in italics, a function or word upright."""
    if len(word) == 1:
        return word
    if len(word) == 2 and word[0] == "j":  # the imaginary unit times a number
        return f"j {word[1]}"
    return "\\" + word if word in OPERATORS else rf"\mathrm{{{word}}}"
