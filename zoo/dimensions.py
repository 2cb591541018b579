"""How a model's state grows with its width: `d_k = d/2, d_v = d, H = 8` and `d²/16`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from zoo.spec import Spec, State

# Widths at which to look, until one polynomial holds: a number of heads can have a floor (RetNet
# has two up to a width of 512).
RANGES = (range(256, 1537, 256), range(512, 3073, 512), range(2048, 6145, 512))
HIGH = {0: "", 1: "d", 2: "d²"}


def dimension(spec: Spec) -> str:
    """d_k and d_v of all heads together and the number of heads H, as the paper prints them.

    Where heads are as many as channels, their size is what tells models apart: d'_k = d_k / H.
    """
    return first(spec, in_words)


def size(spec: Spec) -> str:
    """Floats of S in one layer, H d'_k d'_v; "" where the state is a list that grows."""
    if spec.mix != "scan":
        return ""
    return first(
        spec, lambda found: written({d: s.heads * s.d_k * s.d_v for d, s in found.items()})
    )


def first(spec: Spec, spelt: Callable[[dict[int, State]], str]) -> str:
    """What holds in the first of RANGES where anything does."""
    said = [spelt(states(spec, widths)) for widths in RANGES]
    return next((text for text in said if "varies" not in text), said[0])


def states(spec: Spec, widths: Sequence[int]) -> dict[int, State]:
    """The state at every width that the model accepts; a width can fail to divide into heads."""
    found = {}
    for d in widths:
        try:
            found[d] = spec.state(d)
        except ValueError:
            continue
    return found


def in_words(found: dict[int, State]) -> str:
    heads = written({d: state.heads for d, state in found.items()})
    many = all(state.heads >= d / 2 for d, state in found.items())
    said = []
    for letter, each in (
        ("k", {d: state.d_k for d, state in found.items()}),
        ("v", {d: state.d_v for d, state in found.items()}),
    ):
        total = written({d: found[d].heads * channels for d, channels in each.items()})
        apart = many or "." in total or len(total.partition("/")[2]) > 1
        said.append(f"d'_{letter} = {written(each)}" if apart else f"d_{letter} = {total}")
    return f"{', '.join(said)}, H = {heads}"


def written(values: dict[int, int]) -> str:
    """A polynomial in d of degree 2 at most through all values; "varies" where there is none."""
    fitted = quadratic(values)
    if fitted is None:
        return "varies"
    terms = [term(part, power) for power, part in reversed(list(enumerate(fitted))) if part]
    return " + ".join(terms).replace("+ -", "- ") or "0"


def quadratic(values: dict[int, int]) -> list[Fraction] | None:
    """Coefficients of 1, d and d² that reproduce every value exactly."""
    points = [(Fraction(d), Fraction(y)) for d, y in values.items()]
    if len(points) < 4:
        return None
    fitted = [Fraction(0)] * 3
    for i, (x, y) in enumerate(points[:3]):
        a, b = (other for j, (other, _) in enumerate(points[:3]) if j != i)
        share = y / ((x - a) * (x - b))
        for power, part in enumerate((a * b, -a - b, Fraction(1))):
            fitted[power] += share * part
    return fitted if all(at(fitted, x) == y for x, y in points) else None


def at(fitted: Sequence[Fraction], x: Fraction) -> Fraction:
    return sum((part * x**power for power, part in enumerate(fitted)), Fraction(0))


def term(part: Fraction, power: int) -> str:
    """`d²/16`, `3d/2`, `16`; a fraction with a long denominator as a decimal."""
    d, n, m = HIGH[power], part.numerator, part.denominator
    if m > 1 and abs(n) > 1 and (m > 64 or abs(n) > 64):
        return f"{float(part):.4g}{d}"
    top = d if d and n == 1 else f"-{d}" if d and n == -1 else f"{n}{d}"
    return top if m == 1 else f"{top}/{m}"
