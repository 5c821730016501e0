"""Which operations mixed precision runs in which dtype: the lists of PyTorch 2.13, as far as the operations are here.

Operations by their names (`power` is PyTorch's pow). A name in no list runs in the dtypes of what it is given, mixed by
the usual rules: float32 beside float16 or bfloat16 gives float32. Source: the registrations for AutocastCPU and
AutocastCUDA in PyTorch 2.13, aten/src/ATen/autocast_mode.{h,cpp}, and "Autocast Op Reference" in its documentation.
"""

from __future__ import annotations

#: Products of many values, which accumulate in float32 inside: in the low precision.
LOW = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul mm bmm addmm addbmm baddbmm "
    "vecdot prelu scaled_dot_product_attention".split()
)
#: Further ones on a GPU.
LOW_GPU = frozenset("mv addmv addr einsum chain_matmul multi_dot".split())

#: What overflows or loses its digits in the low precision: in float32.
FLOAT32 = frozenset(
    "mse_loss l1_loss smooth_l1_loss huber_loss kl_div nll_loss cosine_embedding_loss hinge_embedding_loss "
    "margin_ranking_loss multi_margin_loss multilabel_margin_loss soft_margin_loss triplet_margin_loss "
    "binary_cross_entropy_with_logits cdist prod local_response_norm".split()
)
FLOAT32_CPU = frozenset(
    "cross_entropy binary_cross_entropy trace quantile nanquantile grid_sample avg_pool3d max_pool3d adaptive_avg_pool3d "
    "adaptive_max_pool3d max_unpool2d max_unpool3d".split()
)
FLOAT32_GPU = frozenset(
    "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan power square softplus softmax log_softmax "
    "logsumexp cumprod cumsum sum norm vector_norm matrix_norm dist cosine_similarity layer_norm rms_norm group_norm "
    "interpolate".split()
)

#: Several operands that must agree: in the widest dtype among them.
WIDEST_CPU = frozenset("cat stack index_copy".split())
WIDEST_GPU = frozenset("addcdiv addcmul atan2 cross dot vdot grid_sample index_put tensordot scatter_add".split())

#: Refused in the low precision.
REFUSED_GPU = frozenset(["binary_cross_entropy"])

#: kind of device -> operation -> what becomes of its floating-point Tensors (but float64 is left alone)
TABLE: dict[str, dict[str, str]] = {
    "cpu": {
        **dict.fromkeys(LOW, "low"),
        **dict.fromkeys(FLOAT32 | FLOAT32_CPU, "float32"),
        **dict.fromkeys(WIDEST_CPU, "widest"),
    },
    "gpu": {
        **dict.fromkeys(LOW | LOW_GPU, "low"),
        **dict.fromkeys(FLOAT32 | FLOAT32_GPU, "float32"),
        **dict.fromkeys(WIDEST_GPU, "widest"),
        **dict.fromkeys(REFUSED_GPU, "refused"),
    },
}

#: Every operation that is in some list.
LISTED = frozenset(TABLE["cpu"]) | frozenset(TABLE["gpu"])
