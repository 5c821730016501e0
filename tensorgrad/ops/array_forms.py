"""Which operations that reduce, rearrange, index and multiply are methods of Tensor, and which have an in-place form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.errors import ShapeError
from tensorgrad.ops import (
    arranging,
    broadcasting,
    cumulative,
    diagonals,
    inplace_shape,
    joining,
    loss,
    matmul,
    norm,
    picking,
    products,
    reduction,
    scatter,
    shape,
    sorting,
    splitting,
    statistics,
    unique,
)
from tensorgrad.ops.inplace import in_place
from tensorgrad.ops.spelling import spell
from tensorgrad.tensor import Tensor


def _of(module: Any, names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(module, name) for name in names.split()}


# before anybody takes functions from them: from here on they know PyTorch's other names of their arguments
for _module in (arranging, broadcasting, cumulative, diagonals, joining, loss, matmul, norm, picking, products, reduction,
                scatter, shape, sorting, splitting, statistics, unique):  # fmt: skip
    spell(_module)

#: Methods that have an in-place form too.
BOTH: dict[str, Callable[..., Any]] = {
    **_of(cumulative, "cumsum cumprod"),
    **_of(diagonals, "tril triu"),
    **_of(scatter, "scatter scatter_add scatter_reduce"),
    **_of(picking, "index_add index_copy index_fill index_put masked_fill masked_scatter put"),
    **_of(products, "addmm addmv addbmm baddbmm addr"),
}

#: Methods that have none.
ALONE: dict[str, Callable[..., Any]] = {
    **_of(reduction, "sum nansum mean nanmean prod amax amin aminmax max min argmax argmin all any count_nonzero"),
    **_of(statistics, "var std histc bincount cov corrcoef"),
    **_of(cumulative, "cummax cummin logcumsumexp"),
    **_of(norm, "norm dist"),
    **_of(sorting, "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile"),
    **_of(unique, "unique unique_consecutive"),
    **_of(
        shape,
        "reshape reshape_as view view_as ravel flatten unflatten squeeze unsqueeze permute transpose swapaxes swapdims",
    ),
    **_of(shape, "t movedim moveaxis clone contiguous"),
    **_of(broadcasting, "expand expand_as broadcast_to"),
    **_of(splitting, "split split_with_sizes chunk tensor_split hsplit vsplit dsplit unbind"),
    **_of(arranging, "flip fliplr flipud roll rot90 repeat tile repeat_interleave"),
    **_of(diagonals, "diagonal diag diag_embed diagflat trace unfold as_strided"),
    **_of(scatter, "gather take_along_dim"),
    **_of(picking, "select narrow nonzero index_select masked_select take"),
    **_of(matmul, "matmul mm bmm mv dot vdot inner outer ger"),
    **_of(products, "kron cross"),
}


def fill_diagonal_(x: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write one number on the main diagonal, x[i, i, ..., i]; with `wrap`, of a tall matrix again below every square of it."""
    if x.array.ndim < 2 or (x.array.ndim > 2 and len(set(x.array.shape)) > 1):
        raise ShapeError(f"fill_diagonal_: got shape {x.shape}; it needs two dimensions, or more of equal size")
    if x.array.ndim > 2:
        places = list(range(x.array.shape[0]))
        x[(places,) * x.array.ndim] = fill_value
        return x
    rows, columns = x.array.shape
    for start in range(0, rows, columns + 1) if wrap and columns else [0]:
        x[start:].diagonal().fill_(fill_value)
    return x


IN_PLACE: dict[str, Callable[..., Tensor]] = {
    **{f"{name}_": in_place(f"{name}_", function) for name, function in BOTH.items()},
    **inplace_shape.IN_PLACE,
    "fill_diagonal_": fill_diagonal_,
}

METHODS: dict[str, Callable[..., Any]] = {**BOTH, **ALONE, **IN_PLACE}
