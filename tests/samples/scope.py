"""Which of PyTorch's sample inputs concern tensorgrad, and why the others do not.

PyTorch tests its operations on samples that it publishes with its tests (its `op_db`). Every operation in it is ours to
answer unless its name fits a pattern of OUT_OF_SCOPE.
"""

from __future__ import annotations

import re

#: why tensorgrad has no such operations -> patterns of their names
OUT_OF_SCOPE = {
    "Fourier transforms and windows of signals": r"""
        fft\..* stft istft signal\..*""",
    "complex numbers": r"""
        complex polar angle imag real isreal conj conj_physical resolve_conj resolve_neg view_as_(real|complex)
        (cdouble|cfloat|chalf) nn\.functional\.silu\.complex H mH""",
    "decompositions of matrices and what is built on them": r"""
        linalg\.(?!norm|vector_norm|cross|diagonal|vecdot|multi_dot).* linalg\.norm\.subgradients.* norm\.nuc
        cholesky.* geqrf lu lu_.* qr svd.* pca_lowrank ormqr pinverse triangular_solve matrix_exp logdet cdist
        nn\.functional\.pdist""",
    "special functions": r"""
        special\.(?!xlog1py|entr|ndtr|log_ndtr|erfcx).* mvlgamma.* polygamma.* igamma igammac i0 lgamma digamma""",
    "masked tensors": r"""
        masked\..*""",
    "sparse tensors and ragged segments": r"""
        sparse\..* to_sparse _segment_reduce.*""",
    "PyTorch's own devices and compilers": r"""
        jiterator.* bmm\.triton.* hash_tensor torch\..* _flash.* _scaled.*""",
    "PyTorch's inner or deprecated operations, which users do not call": r"""
        _.*(?<!_) native_.* .*_copy .*_scatter max_pool2d_with_indices_backward grid_sampler_.* addmm\.decomposed
        nonzero_static empty_permuted new_empty_strided empty_strided unsafe_.* alias_copy sum_to_size resize_.*
        scalar_tensor nn\.functional\.linear_cross_entropy.* nn\.functional\.upsample_.*
        slice nn\.functional\.multi_head_attention_forward""",
    "random draws that networks do not use": r"""
        cauchy exponential geometric log_normal nn\.functional\.fractional_.*""",
    "numerical odds and ends outside of convolutional networks": r"""
        histogram histogramdd frexp ldexp nextafter trapz trapezoid cumulative_trapezoid renorm block_diag combinations
        unravel_index gradient addr dist put isin argwhere index_reduce\..*
        nn\.functional\.(ctc_loss|embedding_bag|bilinear|rrelu|gaussian_nll_loss|poisson_nll_loss)""",
}

#: operations whose values are random: shape and dtype are compared
RANDOM = re.compile(
    r"randn?(_like)?|randint(_like)?|multinomial|normal.*|bernoulli|uniform|empty.*|new_empty|nn\.functional\.\w*dropout\w*(\..*)?"
)


def why_out_of_scope(name: str) -> str | None:
    """The reason why an operation is not ours, or None if it is."""
    for reason, patterns in OUT_OF_SCOPE.items():
        if any(re.fullmatch(pattern, name) for pattern in patterns.split()):
            return reason
    return None
