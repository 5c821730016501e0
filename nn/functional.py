"""The functions behind the layers, under the names of torch.nn.functional; each lives beside its layer."""

from tensorgrad.nn import activation
from tensorgrad.nn.activation import *
from tensorgrad.nn.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from tensorgrad.nn.attention import scaled_dot_product_attention
from tensorgrad.nn.convolution_functions import conv1d, conv2d, conv3d
from tensorgrad.nn.difference_loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_similarity,
    huber_loss,
    kl_div,
    l1_loss,
    pairwise_distance,
    smooth_l1_loss,
)
from tensorgrad.nn.dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from tensorgrad.nn.embedding import embedding
from tensorgrad.nn.folding import fold, unfold
from tensorgrad.nn.group_normalization import group_norm, layer_norm, rms_norm
from tensorgrad.nn.instance_normalization import instance_norm
from tensorgrad.nn.linear import linear
from tensorgrad.nn.local_response import local_response_norm
from tensorgrad.nn.loss import cross_entropy, mse_loss, nll_loss, one_hot
from tensorgrad.nn.margin_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from tensorgrad.nn.normalization import batch_norm
from tensorgrad.nn.other_pooling import distance_pool2d, lp_pool1d, lp_pool2d, lp_pool3d, maxout, sum_pool2d
from tensorgrad.nn.padding import constant_pad_nd, pad
from tensorgrad.nn.pooling_functions import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from tensorgrad.nn.resizing import channel_shuffle, interpolate, pixel_shuffle, pixel_unshuffle
from tensorgrad.nn.sampling import affine_grid, grid_sample
from tensorgrad.nn.transposed_convolution import conv_transpose1d, conv_transpose2d, conv_transpose3d
from tensorgrad.nn.unpooling import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "channel_shuffle",
    "constant_pad_nd",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "distance_pool2d",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "embedding",
    "feature_alpha_dropout",
    "fold",
    "grid_sample",
    "group_norm",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "local_response_norm",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maxout",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "rms_norm",
    "scaled_dot_product_attention",
    "smooth_l1_loss",
    "soft_margin_loss",
    "sum_pool2d",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]
__all__ += activation.__all__
