"""Which of PyTorch's samples tensorgrad answers otherwise, how many, and why; docs/differences.md says it to users."""

from __future__ import annotations

_TIES = "among equal values another place is chosen"
_OVERLAP = "`out` overlaps with the input in PyTorch's memory, which the conversion of the samples cannot carry over"
_NUMBER = "the method is called with a number as self"
_NO_OUT = "`out=` is not taken"

#: operation -> (check, how many fail, why)
KNOWN: dict[str, list[tuple[str, int, str]]] = {
    "arange": [("errors", 1, _NO_OUT)],
    "argsort": [("forward", 1, _TIES)],
    "as_strided.partial_views": [
        (check, count, "the view lies in a larger memory, which as_strided does not see")
        for check, count in (("forward", 8), ("vjp", 2), ("jvp", 2), ("double", 2))
    ],
    "bernoulli": [("errors", 1, _NO_OUT)],
    "cat": [("errors", 2, _OVERLAP)],
    "gather": [("errors", 1, _OVERLAP)],
    "kthvalue": [("forward", 5, _TIES)],
    "linalg.norm": [("double", 2, "the p-norm of no values: the gradient is 0, not nan")],
    "masked_select": [("errors", 1, _OVERLAP)],
    "mode": [("forward", 2, _TIES)],
    "multinomial": [("errors", 1, _NO_OUT)],
    "sort": [("forward", 1, _TIES)],
    "take": [("errors", 2, _OVERLAP)],
    "topk": [("forward", 7, _TIES)],
    **{f"__{name}__": [("errors", 1, _NUMBER)] for name in ("radd", "rdiv", "rmul", "rand", "ror", "rxor")},
}
