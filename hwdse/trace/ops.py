"""What kind of operation a node of a traced graph is: arguments by name, category, whether it can hide products."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from ..graph import Op


def words(text: str) -> frozenset[str]:
    """The words of a text: how long lists of names are written here."""
    return frozenset(text.split())


_NORM = words(
    """
    batch_norm layer_norm group_norm instance_norm rms_norm _fused_rms_norm native_batch_norm native_layer_norm
    native_group_norm _native_batch_norm_legit _native_batch_norm_legit_no_training local_response_norm
    """
)
_ACTIVATION = words(
    """
    relu relu6 leaky_relu prelu _prelu_kernel rrelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh hardshrink
    softshrink tanhshrink sigmoid log_sigmoid tanh softplus softsign threshold glu softmax _softmax _safe_softmax
    log_softmax _log_softmax clamp clamp_min clamp_max
    """
)
_ADD = words("add sub rsub")
_CONCAT = words("cat concat concatenate stack hstack vstack dstack column_stack")
_POOL = words("mean amax")

# Operations that move, select, compare or create values, and that neither an alias of their input nor a tag of PyTorch
# (element-wise, reduction) tells apart from a product.
_MOVES = words(
    """
    arange argmax argmin argsort argwhere atleast_1d atleast_2d atleast_3d broadcast_tensors broadcast_to bucketize
    cartesian_prod channel_shuffle chunk clone col2im combinations complex constant_pad_nd contiguous copy cummax cummin
    cumprod cumsum diag diag_embed diagflat diagonal_copy diff dropout alpha_dropout feature_dropout empty empty_like
    empty_permuted empty_strided expand_copy eye fill flatten flip fliplr flipud full full_like gather grid_sampler
    grid_sampler_2d grid_sampler_3d histc im2col index index_add index_copy index_fill index_put index_reduce index_select
    isclose is_nonzero item kthvalue lift_fresh_copy linspace logcumsumexp logspace masked_fill masked_scatter
    masked_select maximum median meshgrid minimum mode msort multinomial native_channel_shuffle native_dropout new_empty
    new_empty_strided new_full new_ones new_zeros nonzero nonzero_numpy normal norm_except_dim one_hot ones ones_like pad
    permute pixel_shuffle pixel_unshuffle rand rand_like randint randint_like randn randn_like randperm
    reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d
    replication_pad3d reshape roll rot90 scalar_tensor scatter scatter_add scatter_reduce searchsorted select_scatter
    set_data slice_scatter sort split sum_to_size take take_along_dim tensor tile to topk trapezoid tril tril_indices triu
    triu_indices type_as unfold unique unique_consecutive _unique2 unique_dim upsample_bicubic2d upsample_bilinear2d
    upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_trilinear3d _upsample_bilinear2d_aa
    _upsample_bicubic2d_aa vander var_mean std_mean where zeros zeros_like _to_copy _unsafe_index _unsafe_index_put
    _unsafe_view _pad_circular _pad_enum _reshape_copy _shape_as_tensor _cast_Float _cast_Half _cast_Long _cast_Int
    _weight_norm unsafe_chunk unsafe_split unsafe_split_with_sizes weight_norm linalg_vector_norm norm frobenius_norm
    bernoulli exponential all any is_floating_point quantize_per_tensor
    fake_quantize_per_tensor_affine fake_quantize_per_channel_affine fake_quantize_per_tensor_affine_cachemask
    fake_quantize_per_channel_affine_cachemask numel size sym_size detach_copy
    """
)
_HARMLESS = _NORM | _ACTIVATION | _ADD | _CONCAT | _POOL | _MOVES
_TAGS = {torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy}


def base_name(node: Node) -> str:
    """``"relu"`` for ``aten.relu_.default``; ``"namespace::name"`` outside ATen."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return getattr(node.target, "__name__", str(node.target))
    namespace, _, name = node.target._schema.name.partition("::")
    if namespace != "aten":
        return f"{namespace}::{name}"
    return name[:-1] if name.endswith("_") and node.target._schema.is_mutable else name


def arguments(node: Node) -> dict[str, Any]:
    """The arguments of an ATen node by the names of its schema, defaults filled in."""
    target = node.target
    assert isinstance(target, torch._ops.OpOverload)
    found: dict[str, Any] = {}
    for i, argument in enumerate(target._schema.arguments):
        if argument.name in node.kwargs:
            found[argument.name] = node.kwargs[argument.name]
        else:
            found[argument.name] = node.args[i] if i < len(node.args) else argument.default_value
    return found


def written(node: Node) -> list[Node]:
    """The operands that an in-place operation changes; empty for others."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return []
    given = arguments(node)
    marked = [a.name for a in target._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return [given[name] for name in marked if isinstance(given[name], Node)]


def category(name: str) -> Op:
    """The category of an operation that is neither a layer nor a view."""
    if name in _NORM:
        return "norm"
    if name in _ACTIVATION:
        return "activation"
    if name in _ADD:
        return "add"
    if name in _CONCAT:
        return "concat"
    return "pool" if name in _POOL or "pool" in name else "other"


def why_uncounted(name: str) -> str:
    """What a report says of an operation that may hide products."""
    if name in ("_add_batch_dim", "_remove_batch_dim"):
        return "inside of torch.vmap layers are counted for one entry of the dimension that it maps over"
    return "operation without a counting rule; what it multiplies is not counted"


def may_hide_products(node: Node) -> bool:
    """Whether an operation without a rule could contain multiply-accumulates: all that is not known to contain none."""
    name = base_name(node)
    if not isinstance(node.target, torch._ops.OpOverload):
        return name not in ("getitem", "getattr")
    return not (name in _HARMLESS or "pool" in name or _TAGS & set(node.target.tags))
