"""Every quantiser: levels, gradients against the formula, degenerate tensors, and what is kept when the width changes."""

from __future__ import annotations

import pytest
import torch
from in_bits import in_bits

from hwdse.errors import UnknownName, UsageError
from hwdse.formats import plain_integer
from hwdse.quantizers import ACTIVATION_QUANTIZERS, N2UQ, WEIGHT_QUANTIZERS, Codebook, LearntRange, Scheme

pytestmark = pytest.mark.numeric

MAKERS = {**{f"weight {k}": v for k, v in WEIGHT_QUANTIZERS.items()}, **{f"activation {k}": v for k, v in ACTIVATION_QUANTIZERS.items()}}


def sample(signed: bool, count: int = 4000) -> torch.Tensor:
    x = torch.randn(count, generator=torch.Generator().manual_seed(0))
    return x if signed else x.relu()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_at_most_two_to_the_bits_levels_and_same_shape(name: str, signed: bool, bits: int) -> None:
    q, x = MAKERS[name](), sample(signed).reshape(40, 100)
    q.calibrate(x, in_bits(q, bits))
    with torch.no_grad():
        y = q.quantize(x, in_bits(q, bits))
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert 1 < len(y.unique()) <= 2**bits


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("signed", [True, False])
def test_error_falls_with_bits(name: str, signed: bool) -> None:
    if name.startswith("weight dorefa"):
        pytest.skip("DoReFa bends the weights with tanh, and SAT rescales them: the error does not go to zero")
    errors = []
    for bits in (2, 4, 6, 8):
        q, x = MAKERS[name](), sample(signed)
        q.calibrate(x, in_bits(q, bits))
        with torch.no_grad():
            errors.append(float((q.quantize(x, in_bits(q, bits)) - x).pow(2).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 2e-3


@pytest.mark.parametrize("name", MAKERS)
def test_gradient_reaches_the_input_and_is_finite(name: str) -> None:
    q, x = MAKERS[name](), sample(True)
    q.calibrate(x, in_bits(q, 4))
    x.requires_grad_()
    q.quantize(x, in_bits(q, 4)).pow(2).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    for parameter in q.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_tensors_stay_finite(name: str, value: float) -> None:
    q, x = MAKERS[name](), torch.full((64,), value)
    q.calibrate(x, in_bits(q, 3))
    assert torch.isfinite(q.quantize(x, in_bits(q, 3))).all()


@pytest.mark.parametrize("name", MAKERS)
def test_zero_stays_zero_so_that_padding_does(name: str) -> None:
    q = MAKERS[name]()
    q.calibrate(sample(name != "activation pact"), in_bits(q, 4))
    if name == "weight dorefa":
        pytest.skip("DoReFa's levels are symmetric and have no zero")
    assert torch.equal(q.quantize(torch.zeros(3), in_bits(q, 4)).abs(), torch.zeros(3))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("bits", [1, 17])
def test_widths_outside_the_range(name: str, bits: int) -> None:
    with pytest.raises(UsageError, match=f"does not round to int{bits}"):
        MAKERS[name]().quantize(torch.ones(3), plain_integer(bits))


def test_learnt_range_levels_are_multiples_of_the_step() -> None:
    q = LearntRange()
    q.calibrate(sample(True), in_bits(q, 4))
    step = float(q.range.detach()) / 8
    levels = (q.quantize(sample(True), in_bits(q, 4)).detach() / step).unique()
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert levels.min() >= -8
    assert levels.max() <= 7


def test_learnt_range_is_kept_when_the_width_changes() -> None:
    q = LearntRange()
    q.calibrate(sample(False), in_bits(q, 4))
    before = float(q.range.detach())
    assert float(q.quantize(torch.tensor([1e9]), in_bits(q, 8)).detach()) == pytest.approx(before)
    assert float(q.quantize(torch.tensor([1e9]), in_bits(q, 2)).detach()) == pytest.approx(before)


def test_learnt_range_gradient_is_lsqs() -> None:
    """Esser et al., eq. 3, times R's share of the step 1/2^(b-1), times the gradient scale 1/sqrt(N Q_p)."""
    q, bits = LearntRange(), 3
    with torch.no_grad():
        q.range.fill_(2.0)
    x = torch.tensor([0.3, -0.7, 1.2, 5.0, -9.0])
    q.quantize(x, in_bits(q, bits)).sum().backward()
    step = 2.0 / 4
    ratio = x / step
    per_step = torch.where(ratio <= -4, -4.0, torch.where(ratio >= 3, 3.0, ratio.round() - ratio))
    expected = float(per_step.sum()) / 4 / (5 * 3) ** 0.5
    assert float(q.range.grad) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]  # there after backward


def test_search_is_not_worse_than_the_largest_magnitude() -> None:
    x = sample(True)
    for bits in (2, 3, 4, 8):
        q, plain = LearntRange(), LearntRange()
        q.calibrate(x, in_bits(q, bits))
        with torch.no_grad():
            plain.range.copy_(x.abs().max())
        assert (q.quantize(x, in_bits(q, bits)) - x).pow(2).mean() <= (plain.quantize(x, in_bits(plain, bits)) - x).pow(2).mean() + 1e-9


def test_codebook_starts_at_quantiles_of_each_side_and_keeps_zero() -> None:
    q, w = Codebook(), sample(True)
    q.calibrate(w, in_bits(q, 3))
    codes = q.codes(3)
    assert len(codes) == 7
    assert (codes == 0).sum() == 1
    assert (codes < 0).sum() == (codes > 0).sum() == 3


def test_codebook_error_is_no_larger_than_uniform() -> None:
    w = sample(True)
    for bits in (2, 3, 4):
        book, plain = Codebook(), LearntRange()
        book.calibrate(w, in_bits(book, bits))
        plain.calibrate(w, in_bits(plain, bits))
        allowance = {2: 1.3, 3: 1.05, 4: 0.95}[bits]  # 2^b - 1 codes against 2^b levels
        assert (book.quantize(w, in_bits(book, bits)) - w).pow(2).mean() <= allowance * (plain.quantize(w, in_bits(plain, bits)) - w).pow(
            2
        ).mean()


def test_codebook_adaptation_follows_the_weights_and_does_not_throw_codes_away() -> None:
    q, w = Codebook(decay=0.9), sample(True)
    q.calibrate(w, in_bits(q, 4))
    q.adapt(w, in_bits(q, 4))
    before = q.codes(4).clone()
    q.adapt(w, in_bits(q, 4))
    assert float((q.codes(4) - before).abs().max()) < 0.05  # the first step starts from the first assignment
    stale = (q.quantize(2 * w, in_bits(q, 4)) - 2 * w).pow(2).mean()
    for _ in range(60):
        q.adapt(2 * w, in_bits(q, 4))
    assert (q.quantize(2 * w, in_bits(q, 4)) - 2 * w).pow(2).mean() < 0.4 * stale


def test_codebook_probe_at_another_width_forgets_nothing() -> None:
    q, w = Codebook(), sample(True)
    q.calibrate(w, in_bits(q, 4))
    for _ in range(3):
        q.adapt(w, in_bits(q, 4))
    before = q.quantize(w, in_bits(q, 4))
    q.quantize(w, in_bits(q, 3))
    assert torch.equal(q.quantize(w, in_bits(q, 4)), before)


def test_codebook_reseeds_dead_codes() -> None:
    q = Codebook(decay=0.5)
    w = torch.cat([torch.full((500,), 0.1), torch.full((500,), -0.1), torch.linspace(0.5, 1, 50)])
    q.calibrate(w, in_bits(q, 3))
    assert float((q.quantize(w, in_bits(q, 3)) - w).abs().max()) < 0.2


def test_n2uq_forward_and_backward_by_the_definition() -> None:
    q, bits = N2UQ(), 2
    with torch.no_grad():
        q.clip.is_signed = False
        q.clip.range.fill_(2.0)  # half = 1: the definition's own scale
        q.start.fill_(0.1)
        q.widths["2"].copy_(torch.tensor([0.5, 0.8, 0.6]))
    x = torch.tensor([0.05, 0.3, 0.9, 1.2, 1.8, 5.0], dtype=torch.float64, requires_grad=True)
    a, start, step = [0.5, 0.8, 0.6], 0.1, 2 / 3
    thresholds = [start + a[0] / 2, start + a[0] + a[1] / 2, start + a[0] + a[1] + a[2] / 2]
    y = q.quantize(x, in_bits(q, bits))
    assert y.tolist() == pytest.approx([step * sum(v > t for t in thresholds) for v in x.tolist()])
    y.sum().backward()
    knots = [0.1, 0.6, 1.4, 2.0]
    slopes = [0.0 if v <= knots[0] or v > knots[3] else step / a[sum(v > k for k in knots) - 1] for v in x.tolist()]
    assert x.grad is not None
    assert x.grad.tolist() == pytest.approx(slopes)

    # finite differences of the piecewise linear function for the learnt parts
    def soft(start_: float, widths: list[float]) -> float:
        total = 0.0
        for v in x.tolist():
            k, value = start_, 0.0
            for width in widths:
                value += step * min(max((v - k) / width, 0.0), 1.0)
                k += width
            total += value
        return total

    e = 1e-6
    assert float(q.start.grad) == pytest.approx((soft(start + e, a) - soft(start - e, a)) / (2 * e), rel=1e-4)  # type: ignore[arg-type]  # there
    for i in range(3):
        up, down = list(a), list(a)
        up[i] += e
        down[i] -= e
        got = float(q.widths["2"].grad[i])  # type: ignore[index]  # there after backward
        assert got == pytest.approx((soft(start, up) - soft(start, down)) / (2 * e), rel=1e-3, abs=1e-6)


def test_unknown_quantiser_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown weight quantiser 'codebok'; did you mean 'codebook'"):
        Scheme("codebok", "lsq").make_weight()
