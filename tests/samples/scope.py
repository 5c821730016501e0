"""Which of PyTorch's sample inputs concern tensorgrad, and why the others do not.

PyTorch tests its operations on samples that it publishes with its tests (its `op_db`). Every operation in it is ours to
answer unless its name matches a line of OUT_OF_SCOPE.
"""

from __future__ import annotations

import re

#: pattern of whole names -> why tensorgrad has no such operation
OUT_OF_SCOPE = {
    r"fft\..*|stft|istft|signal\..*": "Fourier transforms and windows of signals",
    r"complex|polar|angle|imag|real|isreal|conj|conj_physical|resolve_conj|resolve_neg|view_as_(real|complex)|"
    r"(cdouble|cfloat|chalf)|nn\.functional\.silu\.complex|H|mH": "complex numbers",
    r"linalg\.(?!norm|vector_norm|cross|diagonal|vecdot|multi_dot).*|cholesky.*|geqrf|lu|lu_.*|qr|svd.*|pca_lowrank|"
    r"ormqr|pinverse|triangular_solve|matrix_exp|logdet|norm\.nuc|cdist|nn\.functional\.pdist|linalg\.norm\.subgradients.*": "decompositions of matrices and what is built on them",
    r"special\.(?!xlog1py|entr|ndtr|log_ndtr|erfcx).*|mvlgamma.*|polygamma.*|igamma|igammac|i0|lgamma|digamma": "special functions",
    r"masked\..*": "masked tensors",
    r"sparse\..*|to_sparse|_segment_reduce.*": "sparse tensors and ragged segments",
    r"jiterator.*|bmm\.triton.*|hash_tensor|torch\..*|_flash.*|_scaled.*": "PyTorch's own devices and compilers",
    r"_.*(?<!_)|native_.*|.*_copy|.*_scatter|max_pool2d_with_indices_backward|grid_sampler_.*|addmm\.decomposed|"
    r"nonzero_static|empty_permuted|new_empty_strided|empty_strided|unsafe_.*|alias_copy|sum_to_size|resize_.*|"
    r"scalar_tensor|nn\.functional\.linear_cross_entropy.*|nn\.functional\.upsample_.*": "PyTorch's inner or deprecated operations, which users do not call",
    r"cauchy|exponential|geometric|log_normal|nn\.functional\.fractional_.*": "random draws that networks do not use",
    r"histogram|histogramdd|frexp|ldexp|nextafter|trapz|trapezoid|cumulative_trapezoid|renorm|block_diag|combinations|"
    r"unravel_index|gradient|addr|dist|put|isin|nn\.functional\.(ctc_loss|embedding_bag|bilinear|rrelu|gaussian_nll_loss|"
    r"poisson_nll_loss)|argwhere|index_reduce\..*": "numerical odds and ends outside of convolutional networks",
}

#: operations whose values are random: shape and dtype are compared
RANDOM = re.compile(
    r"randn?(_like)?|randint(_like)?|multinomial|normal.*|bernoulli|uniform|empty.*|new_empty|nn\.functional\.\w*dropout\w*(\..*)?"
)


def why_out_of_scope(name: str) -> str | None:
    """The reason why an operation is not ours, or None if it is."""
    for pattern, reason in OUT_OF_SCOPE.items():
        if re.fullmatch(pattern, name):
            return reason
    return None
