"""The contract over the tables of quantisers: a new entry is tested without a new file."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hwdse.formats import NumberFormat, plain_integer
from hwdse.quantizers import ACTIVATION_QUANTIZERS, WEIGHT_QUANTIZERS, LearntRange, Quantizer
from hwdse.testing import QuantizerContract

# quantile and grid starts leave tails or middles without codes, however wide the codebook is
SAID = {
    "dorefa": {"idempotent": False, "converges": False},
    "dorefa_sat": {"idempotent": False, "converges": False},
    "codebook_quantile": {"converges": False},
    "codebook_grid": {"converges": True},
    "codebook_fixed": {},
}


def contract(name: str, make: Callable[[], Quantizer]) -> type[QuantizerContract]:
    return type(f"Test{name.title()}", (QuantizerContract,), {"quantizer": lambda self: make(), **SAID.get(name.partition(" ")[0], {})})


for _kind, _table in (("weight", WEIGHT_QUANTIZERS), ("activation", ACTIVATION_QUANTIZERS)):
    for _name, _make in _table.items():
        _class = contract(f"{_name} {_kind}", _make)
        globals()[_class.__name__.replace(" ", "")] = _class


class TestTheContractCatches:
    """Quantisers that are wrong fail it."""

    def test_one_level_too_many(self) -> None:
        class Wrong(LearntRange):
            def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
                return super().quantize(x, plain_integer(number.bits + 1))

        with pytest.raises(AssertionError):
            contract("wrong", Wrong)().test_at_most_two_to_the_bits_levels_a_scale(4, True)

    def test_a_lost_gradient(self) -> None:
        class Wrong(LearntRange):
            def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
                return super().quantize(x.detach(), number)

        with pytest.raises((AssertionError, RuntimeError)):
            contract("wrong", Wrong)().test_the_gradient_reaches_the_input_and_every_parameter_in_use()

    def test_state_outside_the_checkpoint(self) -> None:
        class Wrong(LearntRange):
            factor = 1.0

            def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
                super().calibrate(sample, number)
                self.factor = 2.0

            def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
                return super().quantize(x, number) * torch.tensor(self.factor)

        with pytest.raises(AssertionError):
            contract("wrong", Wrong)().test_the_state_goes_through_a_checkpoint()
