"""Every model of the registry, and every variant: the certificate, and what surrounds a mixer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo import maps, rwkv
from zoo.blocks import BaseConv
from zoo.check import PROPERTIES, certificate
from zoo.mixer import Mixer
from zoo.model import Model, decay_groups, parameters_by_role, state_bytes
from zoo.rotation import rope
from zoo.spec import State, formula

NAMES = [*zoo.names(), *(f"{name}:{v}" for name in zoo.names() for v in zoo.variants(name))]
# Without the models whose output is declared to depend on tokens that follow or on their number.
RECURRENT = [n for n in zoo.names() if "state hand-over" not in zoo.load(n).by_design]


def model(name: str, **options: object) -> Model:
    torch.manual_seed(0)
    return Model(zoo.load(name), **{"vocabulary": 32, "d_model": 32, "depth": 2, **options})  # pyright: ignore


@pytest.mark.parametrize("name", NAMES)
def test_certificate_holds(name: str) -> None:
    found = certificate(name, length=1024)
    assert [f.name for f in found.findings] == list(PROPERTIES)
    failed = [f"{f.name}: {f.evidence}" for f in found.findings if f.passed is False]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", zoo.names())
def test_certificate_holds_with_a_named_convolution(name: str) -> None:
    found = certificate(name, conv="k2", length=256)
    failed = [f"{f.name}: {f.evidence}" for f in found.findings if f.passed is False]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"positions": "learned", "max_length": 9}) for name in RECURRENT),
        ("attention", {"positions": "rope"}),
        ("based", {"first_mixer": "base_conv", "channel_mixer": "mlp"}),
    ],
)
def test_decoding_token_by_token_gives_the_same_logits(
    name: str, options: dict[str, object]
) -> None:
    tokens = torch.arange(18).reshape(2, 9) % 32
    net = model(name, **options).double().eval()
    whole, _ = net(tokens)
    state, steps = None, []
    for t in range(9):
        logits, state = net(tokens[:, t : t + 1], state)
        steps.append(logits)
    # float64, two layers and a head: some hundred roundings of 1e-16.
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", zoo.names())
def test_parameters_are_counted_once_by_role(name: str) -> None:
    net = model(name, channel_mixer="swiglu", tied=False)
    roles = parameters_by_role(net)
    assert sum(roles.values()) == sum(p.numel() for p in net.parameters())
    assert roles["head"] == roles["embedding"] == 32 * 32
    spec = zoo.load(name)
    others = (spec.widen, spec.local, spec.erase, spec.now, spec.bonus, spec.post)
    assert roles["extra"] == 0 or any(others) or callable(spec.mix)


@pytest.mark.parametrize("name", zoo.names())
def test_undecayed_parameters_are_biases_norms_and_listed_ones(name: str) -> None:
    net = model(name)
    decayed, spared = decay_groups(net)
    assert len(decayed) + len(spared) == len(list(net.parameters()))
    names = {id(p): n for n, p in net.named_parameters()}
    assert all("bias" not in names[id(p)] and "norm" not in names[id(p)] for p in decayed)
    assert any("embedding" in names[id(p)] for p in decayed)


@pytest.mark.parametrize(
    ("name", "rates"),
    [("mamba", {"A_log"}), ("rwkv4", {"w", "u", "mu"}), ("hgrn", {"theta", "gamma"})],
)
def test_decay_rates_are_spared_by_weight_decay(name: str, rates: set[str]) -> None:
    net = model(name)
    spared = {id(p) for p in decay_groups(net)[1]}
    found = {n.rpartition(".")[2] for n, p in net.named_parameters() if id(p) in spared}
    assert rates <= found


@pytest.mark.parametrize("name", ["metala", "mamba", "rwkv4", "attention", "gla"])
def test_a_named_convolution_replaces_the_models_own(name: str) -> None:
    own, named = model(name), model(name, conv="k3")
    convs = [m for m in named.modules() if isinstance(m, maps.ShortConv)]
    assert [conv.kernel for conv in convs] == [3, 3]
    assert not [m for m in named.modules() if isinstance(m, rwkv.TokenShift)]
    assert state_bytes(own, 8) != state_bytes(named, 8) or name == "mamba"


@pytest.mark.parametrize(("name", "std"), [("attention", 0.01), ("rwkv4", 0.02), ("based", 0.02)])
def test_zoology_rescales_what_it_calls_out_proj(name: str, std: float) -> None:
    net = model(name, d_model=256, initialisation="zoology")
    # 65,536 draws: the spread is known to 0.3 %.
    assert net.mixers()[0].w_o.weight.std().item() == pytest.approx(std, rel=0.02)  # pyright: ignore
    assert net.mixers()[0].f_v.get_parameter(
        "weight" if name != "rwkv4" else "inner.weight"
    ).std().item() == pytest.approx(0.02, rel=0.02)


def test_tokens_beyond_the_learned_positions_are_refused() -> None:
    net = model("attention", positions="learned", max_length=4)
    _, state = net(torch.zeros(1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="5 tokens, but positions were learned for 4"):
        net(torch.zeros(1, 1, dtype=torch.int64), state)


def test_base_conv_is_a_convolution_times_a_projection_plus_its_input() -> None:
    net, x = BaseConv(6, kernel=3).double(), torch.randn(2, 7, 6, dtype=torch.float64)
    weight = net.conv.unsqueeze(1)  # d 1 kernel
    conv = F.conv1d(F.pad(x.mT, (2, 0)), weight, net.conv_bias, groups=6).mT  # b t d
    torch.testing.assert_close(net(x)[0], conv * net.projection(x) + x)


def test_rope_scores_depend_on_the_distance_alone() -> None:
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    scores = [(rope(q, at + 3) * rope(k, at)).sum() for at in (0, 5, 4096)]
    torch.testing.assert_close(scores[1:], scores[:1] * 2)
    assert (rope(q, 4) * rope(k, 0)).sum() != scores[0]


def test_conv_names_are_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="k4-silu"):
        model("metala", conv="4")


def test_a_width_that_a_state_refuses_is_named_with_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"width 36 is not divisible into 16"):
        model("metala", d_model=36)


def test_a_map_of_the_wrong_shape_is_named() -> None:
    spec = replace(
        zoo.load("gla"), state=lambda d: State(4, d // 4, d // 4), f_q=maps.linear("q", channels=3)
    )
    with pytest.raises(ValueError, match=r"GLA: f_q returned 3 channels per head, but .* 8"):
        Mixer(spec, 32)(torch.zeros(1, 2, 32))


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean metala"):
        zoo.load("metla")
    with pytest.raises(ValueError, match="did you mean no_aug"):
        zoo.load("metala:noaug")


def test_variants_compose() -> None:
    spec = zoo.load("metala:mqar+no_aug+conv2")
    assert spec.now is None
    assert spec.state(64) == State(2, 32, 32)
    assert spec.local is not None
    assert formula(spec.local) == "conv2(u)"


def test_importing_the_zoo_loads_no_kernel_library() -> None:
    code = "import sys, zoo; print([m for m in ('triton', 'fla', 'mamba_ssm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_exponential_keys_do_not_overflow() -> None:
    net = Mixer(zoo.load("rwkv4"), 16, layer=0, depth=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    x = 100 * torch.randn(2, 40, 16)  # log keys of several hundred: exp would be infinite
    y, state = net(x)
    assert y.isfinite().all()
    assert state["m"].max() > 100


def test_a_plugin_needs_a_spec(tmp_path: Path) -> None:
    path = tmp_path / "empty_model.py"
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match="defines no SPEC"):
        zoo.plugin(path)
