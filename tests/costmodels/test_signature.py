from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse.costmodels.signature import Signature, Work, signature_of, work_of_layer, work_of_signature
from hwdse.graph import Layer


@given(
    st.integers(1, 4), st.integers(1, 8), st.integers(1, 8), st.integers(7, 20), st.sampled_from([1, 3, 5, 7]), st.integers(1, 2),
    st.booleans(),
)  # fmt: skip
def test_a_layer_and_the_row_of_its_shape_mean_the_same_work(build, batch, inputs, outputs, size, kernel, stride, depthwise) -> None:
    groups = 4 * inputs if depthwise else 1
    layer = build.conv("c", 4 * inputs, 4 * (inputs if depthwise else outputs), size, kernel, stride, groups, batch)
    signature = signature_of(layer)
    assert signature is not None
    assert signature.op == ("depthwise" if depthwise else "conv")
    assert (signature.out_h, signature.out_w) == layer.output_shape[2:]
    assert work_of_layer(layer) == work_of_signature(signature)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_linear_layers_too(build, batch: int, inputs: int, outputs: int) -> None:
    layer = build.linear("l", inputs, outputs, batch)
    signature = signature_of(layer)
    assert signature == Signature("linear", batch, inputs, outputs)
    assert work_of_layer(layer) == work_of_signature(signature)


def test_tokens_are_what_is_beyond_the_batch() -> None:
    layer = Layer("l", "linear", 2 * 7 * 3 * 5, (2, 7, 3), (2, 7, 5), "w", (5, 3), 0, "l")
    assert signature_of(layer) == Signature("linear", 2, 3, 5, tokens=7)


def test_transposed_and_one_dimensional_convolutions() -> None:
    up = Layer("u", "conv", 4 * 6 * 2 * 5, (1, 4, 5), (1, 6, 10), "w", (4, 6, 2), 0, "u", (2,), (0,), (1,), transposed=True)
    signature = signature_of(up)
    assert signature == Signature("conv_transpose", 1, 4, 6, 1, 5, 1, 2, 1, 2)
    assert signature.out_w == 10
    assert work_of_layer(up).macs == work_of_signature(signature).macs == up.macs


def test_three_dimensions_have_no_signature_but_work() -> None:
    layer = Layer(
        "v", "conv", 2 * 3 * 27 * 64, (1, 3, 4, 4, 4), (1, 2, 4, 4, 4), "w", (2, 3, 3, 3, 3), 0, "v", (1,) * 3, (1,) * 3, (1,) * 3
    )
    assert signature_of(layer) is None
    work = Work.of([work_of_layer(layer)])
    assert (work.macs[0], work.weights[0], work.positions[0]) == (layer.macs, 162, 64)


def test_an_attention_reads_keys_and_values(build) -> None:
    work = Work.of([work_of_layer(build.attention("a", 10, 16))])
    assert work.inputs[0] == 3 * 160
    assert work.weights[0] == 0


def test_a_product_reads_both_operands() -> None:
    product = Layer("p", "matmul", 2 * 5 * 7 * 3, (2, 5, 7), (2, 5, 3))
    assert Work.of([work_of_layer(product)]).inputs[0] == 2 * 5 * 7 + 2 * 7 * 3


def test_an_embedding_reads_the_rows_it_looks_up() -> None:
    layer = Layer("e", "embedding", 0, (2, 6), (2, 6, 4), "w", (1000, 4), 0, "e")
    signature = signature_of(layer)
    assert signature == Signature("embedding", 2, 1000, 4, tokens=6)
    assert work_of_layer(layer) == work_of_signature(signature)
    assert Work.of([work_of_layer(layer)]).weights[0] == 48


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (Signature("linear", 1, 3, 5, tokens=7), "linear 3->5, batch 1, 7 tokens"),
        (Signature("depthwise", 1, 8, 8, 9, 9, 3, 3, groups=8), "depthwise 8->8 3x3 stride 1x1 at 9x9, batch 1, 8 groups"),
    ],
)
def test_text(signature: Signature, text: str) -> None:
    assert str(signature) == text
