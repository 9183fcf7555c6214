"""Formats on tensors: golden blocks, signal to noise, and other implementations bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwdse.formats import E2M1, E4M3, E5M2, MXINT8, Float, NumberFormat, Values
from hwdse.quantizers import Scaled
from hwdse.quantizers.number_rounding import in_format, round_to_element, scale_exponent
from hwdse.quantizers.scaled import weight_from_rows, weight_rows

X = torch.tensor([0, 0.1, -0.2, 0.3, 0.5, -0.75, 1, 1.25, -1.5, 2, -2.5, 3, 3.5, -4, 5, 7, *(0.01 * i for i in range(16))])
GOLDEN = {
    "mxfp4": [0, 0, -0.0, 0.5, 0.5, -1, 1, 1, -1.5, 2, -2, 3, 4, -4, 4, 6],
    "mxfp4.rceil": [0, 0, -0.0, 0, 0, -1, 1, 1, -2, 2, -2, 3, 4, -4, 4, 8],
    "mxfp6": [0, 0.125, -0.25, 0.25, 0.5, -0.75, 1, 1.25, -1.5, 2, -2.5, 3, 3.5, -4, 5, 7],
    "mxfp6e3m2": [0, 0.09375, -0.1875, 0.3125, 0.5],
    "mxfp8": [0, 0.1015625, -0.203125, 0.3125, 0.5],
    "nvfp4": [0, 0, -0.0, 0.58333337, 0.58333337, -0.58333337, 1.1666667, 1.1666667, -1.7500001, 1.7500001, -2.3333335, 3.5000002,
    3.5000002, -3.5000002, 4.666667, 7.0000005, 0, 0.013020834, 0.026041668, 0.026041668, 0.0390625, 0.052083336, 0.052083336,
    0.078125, 0.078125, 0.078125, 0.10416667, 0.10416667, 0.10416667, 0.10416667, 0.15625, 0.15625],
}  # fmt: skip
# dB on N(0, 1), from two implementations that are not this one
SNR = {
    "mxfp4": 18.79, "mxfp4.rceil": 18.78, "nvfp4": 20.52, "mxfp6": 30.83, "mxfp6.rceil": 30.84, "mxfp6e3m2": 25.39, "mxfp6e3m2.rceil":
    25.62, "mxfp8": 30.42, "mxfp8.rceil": 31.41, "mxfp8e5m2": 25.39, "mxfp8e5m2.rceil": 25.62, "mxint8": 41.54, "int4.g16": 21.36,
    "int4.g32": 20.17, "int4.g128": 18.56, "int4.g256": 17.90, "uint4.g16": 23.16, "uint4.g32": 21.86, "uint4.g128": 19.91,
}  # fmt: skip
RULES = ("floor", "even", "ceil", "rceil")


def parsed(name: str) -> NumberFormat:
    return NumberFormat.parse(name)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_golden_block(name: str) -> None:
    found, expected = in_format(X, parsed(name)), torch.tensor(GOLDEN[name])
    assert torch.equal(found[: len(expected)], expected)
    assert torch.equal(found[: len(expected)].signbit(), expected.signbit())


@pytest.mark.parametrize("name", SNR)
def test_signal_to_noise_on_a_normal_tensor(name: str) -> None:
    x = torch.randn(512, 2048, generator=torch.Generator().manual_seed(0))
    noise = (in_format(x, parsed(name)) - x).pow(2).mean()
    assert 10 * math.log10(float(x.pow(2).mean() / noise)) == pytest.approx(SNR[name], abs=0.3)


@pytest.mark.parametrize(
    ("largest", "expected"), [(6.5, (0, 0, 1, 1)), (7.0, (0, 1, 1, 1)), (448.0, (6, 7, 7, 7)), (5.0, (0, 0, 1, 0)), (4.0, (0, 0, 0, 0))]
)
def test_hardware_differs_in_the_exponent(largest: float, expected: tuple[int, ...]) -> None:
    assert tuple(int(scale_exponent(torch.tensor(largest), E2M1, rule)) for rule in RULES) == expected


@pytest.mark.parametrize("rule", RULES)
def test_a_block_of_zeros_has_the_smallest_scale_and_stays_zero(rule: str) -> None:
    assert int(scale_exponent(torch.tensor(0.0), E2M1, rule)) == -127
    assert torch.equal(in_format(torch.zeros(64), parsed(f"mxfp4.{rule}")), torch.zeros(64))


def test_ties_go_to_the_even_code() -> None:
    ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    assert round_to_element(ties, E2M1).tolist() == [0, 1, 1, 2, 2, 4, 4]
    assert round_to_element(-ties, E2M1).tolist() == [-0.0, -1, -1, -2, -2, -4, -4]


@pytest.mark.parametrize("element", [E2M1, E4M3, E5M2, Float(2, 3), Float(3, 2), MXINT8])
def test_a_table_of_the_same_values_rounds_alike(element: Float) -> None:
    """The formula against the nearest of the listed values, away from ties."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(1)) * element.largest / 2
    table = torch.from_numpy(element.values).float()
    nearest = table[(x[:, None].clamp(-element.largest, element.largest) - table).abs().argmin(1)]
    assert torch.equal(round_to_element(x, element), nearest)
    assert torch.equal(round_to_element(x, Values(tuple(element.values.tolist()))), nearest)
    assert set(round_to_element(table, element).tolist()) == set(element.values.tolist())


@pytest.mark.parametrize("name", ["mxfp4", "nvfp4", "int4.g32", "fp8e4m3", "mxint8", "int8.c"])
def test_nan_spreads_over_what_shares_its_scale_and_no_further(name: str) -> None:
    x = torch.ones(2, 64)
    x[0, 3] = math.nan
    found = in_format(x, parsed(name))
    assert found[0, 3].isnan()
    if name.startswith("mx"):
        assert found[0, :32].isnan().all()
        assert not found[0, 32:].isnan().any()


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-3, 1.0, 1e4, 1e30, 3e38])
@pytest.mark.parametrize("name", ["mxfp4", "mxfp8", "mxint8", "nvfp4", "int4.c", "fp8e4m3", "uint8.t"])
def test_any_magnitude_stays_finite(name: str, scale: float) -> None:
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1) * scale
    assert torch.isfinite(in_format(x, parsed(name))).all()


def test_a_ragged_last_block_is_scaled_by_itself() -> None:
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    whole = in_format(x, parsed("mxfp4"))
    assert torch.equal(whole[:, 32:], in_format(x[:, 32:], parsed("mxfp4")))


@pytest.mark.parametrize(("transposed", "groups"), [(False, 1), (False, 2), (True, 1), (True, 2)])
def test_blocks_of_a_weight_lie_along_what_an_output_channel_sums_over(transposed: bool, groups: int) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(8, 12, 3, groups=groups, bias=False)
    weight = layer.weight.detach()
    rows = weight_rows(weight, int(transposed), groups)
    assert rows.shape == (12, 8 // groups * 9)
    assert torch.equal(weight_from_rows(rows, weight, int(transposed), groups), weight)
    for out in range(12):  # the row holds exactly the weights that the output channel reads
        x = torch.zeros(1, 8, 5, 5, requires_grad=True)
        probe = torch.zeros_like(weight, requires_grad=True)
        y = (
            torch.nn.functional.conv_transpose2d(x + 1, probe, groups=groups)
            if transposed
            else torch.nn.functional.conv2d(x + 1, probe, groups=groups)
        )
        (gradient,) = torch.autograd.grad(y[0, out].sum(), probe)
        assert set(rows[out].tolist()) == set(weight[gradient != 0].tolist())
    quantizer = Scaled()
    quantizer.prepare(weight, int(transposed), groups)
    assert torch.equal(weight_rows(quantizer.quantize(weight, parsed("mxfp4")), int(transposed), groups), in_format(rows, parsed("mxfp4")))


def tensors() -> Tensor:
    g = torch.Generator().manual_seed(1)
    parts = [torch.randn(64, 256, generator=g), torch.randn(64, 256, generator=g) * torch.exp(8 * torch.randn(64, 1, generator=g))]
    return torch.cat([*parts, torch.randint(-14, 15, (64, 256), generator=g) / 2])


class TestOtherImplementations:
    """torchao and ml-dtypes, which development installs."""

    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize("name", ["mxfp4", "mxfp6", "mxfp6e3m2", "mxfp8", "mxfp8e5m2"])
    def test_blocks_are_torchaos(self, name: str, rule: str) -> None:
        module = pytest.importorskip("torchao.prototype.mx_formats.mx_tensor")
        constants = pytest.importorskip("torchao.prototype.mx_formats.constants")
        kinds = {
            "mxfp4": torch.float4_e2m1fn_x2, "mxfp8": torch.float8_e4m3fn, "mxfp8e5m2": torch.float8_e5m2,
            "mxfp6": constants.DTYPE_FP6_E2M3, "mxfp6e3m2": constants.DTYPE_FP6_E3M2,
        }  # fmt: skip
        theirs = module.MXTensor.to_mx(tensors(), kinds[name], 32, module.ScaleCalculationMode[rule.upper()]).dequantize(torch.float32)
        assert torch.equal(in_format(tensors(), parsed(f"{name}.{rule}")), theirs)

    def test_nvfp4_is_torchaos(self) -> None:
        module = pytest.importorskip("torchao.prototype.mx_formats.nvfp4_tensor")
        scale = module.per_tensor_amax_to_scale(tensors().abs().max())
        theirs = module.NVFP4Tensor.to_nvfp4(tensors(), per_tensor_scale=scale).dequantize(torch.float32)
        assert torch.equal(in_format(tensors(), parsed("nvfp4")), theirs)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("fp4", "float4_e2m1fn"),
            ("fp6e2m3", "float6_e2m3fn"),
            ("fp6e3m2", "float6_e3m2fn"),
            ("fp8e4m3", "float8_e4m3fn"),
            ("fp8e5m2", "float8_e5m2"),
        ],
    )
    def test_elements_are_those_of_ml_dtypes(self, name: str, kind: str) -> None:
        dtypes = pytest.importorskip("ml_dtypes")
        element = parsed(name).element
        assert isinstance(element, Float)
        x = torch.randn(1 << 14, generator=torch.Generator().manual_seed(2)) * element.largest / 3
        x = x.clamp(-element.largest, element.largest)  # theirs does not saturate
        theirs = x.numpy().astype(getattr(dtypes, kind)).astype(np.float32)
        np.testing.assert_array_equal(round_to_element(x, element).numpy(), theirs)
