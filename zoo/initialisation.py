"""Initialisations of a whole model: zoology's, and those of the models' authors.

A mixer starts as its own paper or class says. Many authors' language models then draw every linear
layer anew, or treat the embedding in a way of their own; `Spec.model_init` names which of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from zoo.maps import Convolved, LowRank, Projection, ShortConv
from zoo.spec import Spec

if TYPE_CHECKING:
    from zoo.encoder import Encoder
    from zoo.model import Model

    Whole = Model | Encoder

STD = 0.02
# Their output projections are not called out_proj where zoology has or takes them from.
NOT_RESCALED = ("Based", "GLA", "RWKV-4", "RWKV-6", "RWKV-7", "DeltaNet", "Gated DeltaNet")


def zoology_initialisation(model: Whole, spec: Spec) -> None:
    """N(0, 0.02) for every matrix of a projection and embedding, zero biases; rescale by name.

    zoology/model.py::_init_weights: parameters called out_proj and fc2 get 0.02 / sqrt(2 depth).
    State-space models keep their own initialisation there, with the output projection divided by
    sqrt(depth), and so they do here. Every matrix called weight counts, MetaLA's augmentation too.
    """
    ends = (".fc2",) if spec.label in NOT_RESCALED else (".fc2", ".w_o")
    for name, module in model.named_modules():
        kept = ".mixer." in name and spec.family == "state-space model"
        if not kept and not is_convolution(module):
            held = dict(module.named_parameters(recurse=False))
            matrices = [
                p for n, p in held.items() if p.dim() == 2 and n in ("weight", "down", "up")
            ]
            bias = held.get("bias") if is_linear(module) else None
            draw(name, matrices, bias, residual=ends, depth=len(model.blocks))


def authors_initialisation(model: Whole, spec: Spec) -> None:
    """What the authors' whole model does on top of its mixers' own initialisation.

    A tied head is the embedding, also where the authors' head is another matrix.
    """
    if spec.model_init not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise ValueError(f"{spec.label}: model_init {spec.model_init!r} is not one of {known}")
    SCHEMES[spec.model_init](model)


def own(model: Whole) -> None:
    """Nothing, a Model's embedding being N(0, 0.02): Mamba's, and where no more is known."""


def normal(model: Whole) -> None:
    """All linear layers and embeddings N(0, 0.02), biases 0 (the modelling files of BICLab/MetaLA,
    HGRN2 and Llama)."""
    for name, matrices, bias in linears(model):
        draw(name, matrices, bias)


def fla(model: Whole) -> None:
    """The same, and for short convolutions too (fla/models/*/modeling_*.py)."""
    normal(model)
    for name, module in model.named_modules():
        if is_convolution(module):
            held = dict(module.named_parameters(recurse=False))
            draw(name, [held["weight"]] if "weight" in held else [], held.get("bias"))


def gla(model: Whole) -> None:
    """N(0, 0.02), but q, k and both of the decay's matrices are drawn by Xavier afterwards, so they
    keep what they have (berlino/gated_linear_attention gla_model.py::_init_weights, _post_init)."""
    for name, matrices, bias in linears(model):
        keep = any(f".mixer.{slot}" in name for slot in ("f_q", "f_k", "f_alpha"))
        draw(name, [] if keep else matrices, bias)


def gpt2(model: Whole) -> None:
    """N(0, 0.02); over sqrt(2 depth) for W_O and the channel mixer's last matrix (Based, based/
    models/gpt.py)."""
    for name, matrices, bias in linears(model):
        ends = (".w_o", ".channel.fc2", ".channel.down")
        draw(name, matrices, bias, residual=ends, depth=len(model.blocks))


def h3(model: Whole) -> None:
    """The same without W_O, whose name there the rescaling misses (H3, src/models/ssm_seq.py)."""
    for name, matrices, bias in linears(model):
        draw(name, matrices, bias, residual=(".channel.fc2",), depth=len(model.blocks))


def transnormer(model: Whole) -> None:
    """N(0, 0.02), and embeddings times sqrt(d) on their way in (modeling_transnormer.py)."""
    normal(model)
    model.embedding_scale = model.embedding.weight.shape[1] ** 0.5


def retnet(model: Whole) -> None:
    """Embedding and head N(0, 1/d), embeddings times sqrt(d) on their way in; the rest keeps its
    own (torchscale, examples/fairseq/models/retnet.py)."""
    embeddings(model)
    model.embedding_scale = model.embedding.weight.shape[1] ** 0.5


def torch_default(model: Whole) -> None:
    """Embedding N(0, 1), torch's default, as for all the rest (PerformerLM of lucidrains; encoder
    "embedding" of state-spaces/s4 and ag1988/dss)."""
    if isinstance(model.embedding, nn.Embedding):
        nn.init.normal_(model.embedding.weight)


def flax(model: Whole) -> None:
    """Embedding N(0, 1 / vocabulary), head N(0, 1/d): Dense layers of flax, the first one on
    one-hot tokens, without its bias (lindermanlab/S5, minimal-LRU). Biases elsewhere 0."""
    for name, (matrix, *_), bias in linears(model):
        if name.partition(".")[0] in ("embedding", "unembedding", "head"):
            table = isinstance(model.get_submodule(name), nn.Embedding)
            nn.init.normal_(matrix, std=matrix.shape[0 if table else 1] ** -0.5)
            draw(name, [], bias)


def griffin(model: Whole) -> None:
    """Embedding N(0, 1/d); the rest keeps its own. As the paper's presets in recurrentgemma's
    common.py; RecurrentGemma also scales embeddings and caps logits."""
    embeddings(model)


def rwkv(model: Whole) -> None:
    """Embedding U(-1e-4, 1e-4) and a LayerNorm after it; head orthogonal with gain sqrt(vocabulary
    / d) / 2, at least 1/2 (RWKV-LM, generate_init_weight). RWKV-4 neo has its learning rate for
    1e-4."""
    vocabulary, d = model.embedding.weight.shape
    nn.init.uniform_(model.embedding.weight, -1e-4, 1e-4)
    model.embedding_norm = nn.LayerNorm(d, eps=1e-5)
    if model.unembedding is not None:
        nn.init.orthogonal_(model.unembedding.weight, gain=max(1.0, vocabulary / d) ** 0.5 / 2)


# Schemes that speak of the tokens' embedding, and so of no input that is numbers.
ON_TOKENS = ("transnormer", "retnet", "griffin", "rwkv")
SCHEMES: dict[str, Callable[[Whole], None]] = {
    "own": own,
    "normal": normal,
    "fla": fla,
    "gla": gla,
    "gpt2": gpt2,
    "h3": h3,
    "transnormer": transnormer,
    "retnet": retnet,
    "torch": torch_default,
    "flax": flax,
    "griffin": griffin,
    "rwkv": rwkv,
}


def linears(model: nn.Module) -> Iterator[tuple[str, list[Tensor], Tensor | None]]:
    """Name, matrices and bias of every embedding and every linear layer."""
    for name, module in model.named_modules():
        if is_linear(module):
            held = dict(module.named_parameters(recurse=False))
            yield name, [p for p in held.values() if p.dim() == 2], held.get("bias")


def is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Embedding | Projection | LowRank)


def is_convolution(module: nn.Module) -> bool:
    return isinstance(module, ShortConv | Convolved)


def draw(
    name: str,
    matrices: Sequence[Tensor],
    bias: Tensor | None,
    *,
    residual: tuple[str, ...] = (),
    depth: int = 1,
) -> None:
    """N(0, 0.02), 0.02 / sqrt(2 depth) where the name ends like one of `residual`; zero bias."""
    for matrix in matrices:
        nn.init.normal_(matrix, std=STD / (2 * depth) ** 0.5 if name.endswith(residual) else STD)
    if bias is not None:
        nn.init.zeros_(bias)


def embeddings(model: Whole) -> None:
    """N(0, 1/d) for the embedding, and for the head where it is not the same."""
    for module in (model.embedding, model.unembedding):
        if module is not None:
            nn.init.normal_(module.weight, std=model.embedding.weight.shape[1] ** -0.5)
