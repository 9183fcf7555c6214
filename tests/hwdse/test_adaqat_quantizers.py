"""DoReFa and PACT against their formulas: levels, gradients, degenerate tensors, scale, and what quantising twice gives."""

from __future__ import annotations

import math

import pytest
import torch
from in_bits import in_bits
from torch import Tensor, nn

from hwdse.formats import plain_integer
from hwdse.quantizers import DoReFa, Pact

pytestmark = pytest.mark.numeric

BITS = [2, 3, 4, 8, 16]
DTYPES = [torch.float32, torch.bfloat16]


def sample(signed: bool = True, count: int = 4000, scale: float = 1.0) -> Tensor:
    x = scale * torch.randn(count, generator=torch.Generator().manual_seed(0))
    return x if signed else x.relu()


def dorefa(w: Tensor, bits: int, **options: str) -> DoReFa:
    q = DoReFa(**options)  # type: ignore[arg-type]  # a literal
    q.prepare(w, 0)
    q.calibrate(w, in_bits(q, bits))
    return q


def pact(alpha: float, signed: bool) -> Pact:
    q = Pact()
    q.is_signed = signed
    with torch.no_grad():
        q.range.fill_(alpha)
    return q


def near(found: Tensor, expected: Tensor, dtype: torch.dtype, step: float) -> None:
    """Equal up to the type's precision, but for the few elements that another precision rounds to the next level."""
    error, exact = (found - expected).abs(), float(expected.abs().max()) * (1e-6 if dtype == torch.float32 else 2**-8)
    assert (error <= exact).double().mean() > 0.995
    assert (error <= exact + 1.01 * step).all()


class TestDoReFa:
    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_levels_are_the_formulas(self, bits: int, dtype: torch.dtype) -> None:
        w, s = sample().to(dtype), 2**bits - 1
        t = torch.tanh(w.double())
        codes = ((t / (2 * t.abs().max()) + 0.5) * s).round()
        expected = 2 * codes / s - 1
        expected *= w.double().pow(2).mean().sqrt() / expected.pow(2).mean().sqrt()
        found = dorefa(w, bits).quantize(w, plain_integer(bits))
        assert found.dtype == dtype
        assert len(found.unique()) <= 2**bits
        near(found.double(), expected, dtype, 2 / s * float(expected.abs().max()))

    @pytest.mark.parametrize("bits", [2, 4, 8])
    def test_gradient_is_the_closed_form_and_that_of_the_formula_without_rounding(self, bits: int) -> None:
        w = sample(count=50).double().requires_grad_()
        q, pull = dorefa(w, bits), torch.linspace(-1, 1, 50, dtype=torch.float64)
        (q.quantize(w, in_bits(q, bits)) * pull).sum().backward()
        t = torch.tanh(w.detach())
        largest, s = t.abs().max(), 2**bits - 1
        levels = 2 * ((t / (2 * largest) + 0.5) * s).round() / s - 1
        gain = q.spread / levels.pow(2).mean().sqrt()

        def smooth(x: Tensor) -> Tensor:
            return gain * torch.tanh(x) / largest  # 2 (tanh / (2 max) + 1/2) - 1

        e = 1e-6
        differences = pull * (smooth(w.detach() + e) - smooth(w.detach() - e)) / (2 * e)
        assert w.grad is not None
        assert torch.allclose(w.grad, pull * gain * (1 - t**2) / largest, rtol=1e-6)
        assert torch.allclose(w.grad, differences, rtol=1e-5, atol=1e-8)

    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_zeros_stay_zeros_and_constants_stay_themselves(self, bits: int, dtype: torch.dtype) -> None:
        for value in (0.0, 1.0, -0.5, 1e-20):
            w = torch.full((64,), value, dtype=dtype)
            assert torch.allclose(dorefa(w, bits).quantize(w, plain_integer(bits)), w, rtol=1e-2, atol=0)
        assert not dorefa(torch.zeros(4, 3), bits, rescale="fan_out").quantize(torch.zeros(4, 3), plain_integer(bits)).any()

    @pytest.mark.parametrize("bits", [2, 3, 4, 8])
    def test_levels_of_levels_are_no_more_and_keep_their_order(self, bits: int) -> None:
        w = sample()
        q = dorefa(w, bits)
        once = q.quantize(w, in_bits(q, bits))
        twice = q.quantize(once, in_bits(q, bits))
        assert len(twice.unique()) <= len(once.unique())
        order = torch.argsort(once)
        assert (twice[order].diff() >= 0).all()

    @pytest.mark.parametrize("bits", [2, 3, 4, 8])
    def test_idempotent_while_the_levels_are_small(self, bits: int) -> None:
        for scale in (1e-3, 0.02, 0.1, 0.2, 0.4):
            w = sample(scale=scale)
            q = dorefa(w, bits)
            once = q.quantize(w, in_bits(q, bits))
            if 0.13 * float(once.abs().max()) ** 2 < 1 / (2**bits - 1):
                assert torch.allclose(q.quantize(once, in_bits(q, bits)), once, rtol=1e-5)
            else:
                assert scale > 0.02  # small weights are in the domain at every width
        assert not torch.allclose(q.quantize(3 * once, in_bits(q, 8)), 3 * once, rtol=1e-3)  # far outside it does not hold

    @pytest.mark.parametrize("bits", [2, 3, 4, 8])
    def test_idempotent_behind_the_inverse_of_tanh(self, bits: int) -> None:
        """Rounding itself is idempotent: weights whose tanh lies on the levels are rounded to those levels."""
        w = sample()
        q = dorefa(w, bits)
        once = q.quantize(w, in_bits(q, bits))
        levels = once / once.abs().max()
        again = q.quantize(torch.atanh(0.7 * levels), in_bits(q, bits))
        assert torch.allclose(again, once, rtol=1e-5)

    def test_a_batch_norm_does_not_see_the_scale(self) -> None:
        """So SAT, which leaves such layers alone, and both rules here train them alike."""
        found = []
        for spread in (0.05, 1.0, 20.0):
            torch.manual_seed(0)
            norm, w, x = nn.BatchNorm2d(8, eps=1e-12), torch.randn(8, 4, 3, 3).requires_grad_(), torch.randn(16, 4, 6, 6)
            q = dorefa(w, 3)
            q.spread.fill_(spread)
            y = norm(nn.functional.conv2d(x, q.quantize(w, in_bits(q, 3))))
            y.pow(3).sum().backward()
            found.append((y.detach(), w.grad))
        for y, gradient in found[1:]:
            assert torch.allclose(y, found[0][0], atol=1e-4)
            assert gradient is not None
            assert torch.allclose(gradient, found[0][1], atol=1e-3 * float(gradient.abs().max()))  # type: ignore[arg-type]  # there

    @pytest.mark.parametrize(
        ("module", "axis", "fan_out"),
        [
            (nn.Linear(30, 12), 0, 12),
            (nn.Conv2d(6, 10, 3), 0, 90),
            (nn.Conv2d(6, 12, 3, groups=3), 0, 108),
            (nn.ConvTranspose2d(6, 10, 3), 1, 90),
        ],
    )
    def test_sats_rule_is_variance_one_over_fan_out(self, module: nn.Module, axis: int, fan_out: int) -> None:
        w = module.get_parameter("weight").detach()
        q = DoReFa("fan_out")
        q.prepare(w, axis)
        q.calibrate(w, in_bits(q, 4))
        assert float(q.quantize(w, in_bits(q, 4)).pow(2).mean()) == pytest.approx(1 / fan_out, rel=1e-5)

    def test_both_rules_agree_where_the_weight_was_initialised_with_that_variance(self) -> None:
        w = sample(count=6000).reshape(20, 300)
        w *= 20**-0.5 / w.pow(2).mean().sqrt()
        assert torch.allclose(
            dorefa(w, 3).quantize(w, plain_integer(3)), dorefa(w, 3, rescale="fan_out").quantize(w, plain_integer(3)), rtol=1e-4
        )


class TestPact:
    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_levels_are_the_formulas(self, bits: int, signed: bool, dtype: torch.dtype) -> None:
        x, alpha = sample().to(dtype), 1.5
        s, low = (2 ** (bits - 1) - 1, -1.0) if signed else (2**bits - 1, 0.0)
        expected = alpha * ((x.float() / alpha).clamp(low, 1) * s).round() / s
        found = pact(alpha, signed).quantize(x, plain_integer(bits)).detach()
        assert found.dtype == dtype
        assert len(found.unique()) <= 2**bits
        near(found.float(), expected, dtype, alpha / s)

    @pytest.mark.parametrize("bits", [2, 3, 8])
    @pytest.mark.parametrize("signed", [True, False])
    def test_gradients_are_sats(self, bits: int, signed: bool) -> None:
        """The gradient of alpha: q(x/alpha) - x/alpha inside, the bound outside: the slope of clip(x) + alpha (q(u) - u), q(u) - u held."""
        x = torch.tensor([-5.0, -0.7, -0.31, 0.05, 0.5, 1.1, 1.9, 3.0], requires_grad=True)
        pull = torch.tensor([1.0, -2.0, 0.5, 3.0, 1.5, -1.0, 2.0, 0.7])
        q, alpha = pact(2.0, signed), 2.0
        (q.quantize(x, in_bits(q, bits)) * pull).sum().backward()
        low = -1.0 if signed else 0.0
        s = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        unit = x.detach() / alpha
        inside = (unit > low) & (unit < 1)
        residue = (unit.clamp(low, 1) * s).round() / s - unit.clamp(low, 1)
        closed = torch.where(inside, residue, unit.clamp(low, 1))

        def smooth(at: float) -> Tensor:
            return (pull * (x.detach().clamp(low * at, at) + at * residue)).sum()

        e = 1e-2  # the function is linear there
        assert float(q.range.grad) == pytest.approx(float((pull * closed).sum()), rel=1e-5)  # type: ignore[arg-type]  # there
        assert float(q.range.grad) == pytest.approx(float(smooth(alpha + e) - smooth(alpha - e)) / (2 * e), rel=1e-3)  # type: ignore[arg-type]  # there
        assert x.grad is not None
        assert torch.allclose(x.grad, pull * inside)

    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("signed", [True, False])
    def test_idempotent(self, bits: int, signed: bool) -> None:
        q = pact(1.7, signed)
        once = q.quantize(sample(signed), in_bits(q, bits)).detach()
        assert torch.equal(q.quantize(once, in_bits(q, bits)).detach(), once)

    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_zero_and_constant_tensors(self, bits: int, dtype: torch.dtype) -> None:
        for value in (0.0, 1.0, -0.5):
            x, q = torch.full((64,), value, dtype=dtype), Pact()
            q.calibrate(x, in_bits(q, bits))
            assert torch.allclose(q.quantize(x, in_bits(q, bits)), x, rtol=1e-2, atol=0)

    @pytest.mark.parametrize("signed", [True, False])
    def test_alpha_starts_by_the_calibrators_rule_and_stays_when_the_width_changes(self, signed: bool) -> None:
        from hwdse.quantizers.calibrators import min_max

        x, q = sample(signed), Pact()
        q.calibrator = min_max
        q.calibrate(x, in_bits(q, 8))
        assert float(q.range.detach()) == pytest.approx(float(x.abs().max()))
        assert q.is_signed == signed
        for bits in (2, 5):
            assert float(q.quantize(torch.tensor([math.inf]), in_bits(q, bits)).detach()) == pytest.approx(float(q.range.detach()))
