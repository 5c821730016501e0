"""Beside PyTorch: the dtype of every operation's result inside of autocast, and of every gradient.

Each line is evaluated in both libraries, with x in each of the three dtypes and everything else in float32 or low precision.
"""

import pytest

import tensorgrad as tg
import tensorgrad.nn.functional

# x is (2, 3, 6, 6), v (2, 3, 4, 4, 4), m (4, 4), s (4,), p positive and below one; each with a twin of another dtype: y, n, r, q
LINES = """
F.conv1d(x[0], w[:, :, 0])
F.conv2d(x, w)
F.conv2d(x, w, c)
F.conv3d(v, k)
F.conv_transpose1d(x[0], w.transpose(0, 1)[:, :, 0])
F.conv_transpose2d(x, w.transpose(0, 1))
F.conv_transpose3d(v, k.transpose(0, 1))
F.linear(m, n)
F.linear(m, n, r)
m @ n
t.matmul(m, r)
t.mm(m, n)
t.mv(m, m[0])
t.bmm(m[None], n[None])
t.addmm(n, m, n)
t.addbmm(n, m[None], n[None])
t.baddbmm(n[None], m[None], n[None])
t.linalg.vecdot(m, n)
t.einsum("ij,jk->ik", m, m)
t.linalg.multi_dot([m, m, m])
t.tensordot(m, m, 1)
t.inner(m, m)
t.dot(s, s)
F.prelu(m, r[:1].clone())
F.scaled_dot_product_attention(x, y, y)
F.mse_loss(m, n)
F.l1_loss(m, n)
F.smooth_l1_loss(m, n)
F.huber_loss(m, n)
F.kl_div(m, n, reduction="batchmean")
F.nll_loss(m, labels)
F.cross_entropy(m, labels)
F.cross_entropy(m, q)
F.cosine_embedding_loss(m, n, t.ones(4))
F.hinge_embedding_loss(m, n)
F.margin_ranking_loss(s, r, t.ones(4))
F.multi_margin_loss(m, labels)
F.multilabel_margin_loss(m, t.ones(4, 4, dtype=t.int64))
F.multilabel_soft_margin_loss(m, q)
F.soft_margin_loss(m, n)
F.triplet_margin_loss(m, n, n)
F.binary_cross_entropy(p, q)
F.binary_cross_entropy_with_logits(m, q)
t.cdist(m, n)
t.prod(m)
m.prod(0)
t.trace(m)
t.quantile(m, 0.5)
t.nanquantile(m, 0.5)
F.grid_sample(x, g, align_corners=False)
F.avg_pool3d(v, 2)
F.max_pool3d(v, 2)
F.adaptive_avg_pool3d(v, 2)
F.adaptive_max_pool3d(v, 2)
t.cat([m, n])
t.stack([m, n])
t.index_copy(m, 0, labels, n.to(m.dtype))
t.exp(m)
m.exp()
t.log(p)
p.log2()
t.log1p(p)
t.tan(m)
t.rsqrt(p)
t.reciprocal(p)
m ** 2
m.square()
t.sqrt(p)
t.sin(m)
m + n
m * n
m * 2.0
t.sum(m)
m.mean()
m.sum(0)
m.cumsum(0)
m.norm()
t.linalg.vector_norm(m)
t.logsumexp(m, 0)
F.softmax(m, 1)
F.log_softmax(m, 1)
F.softplus(m)
F.relu(m)
F.gelu(m)
F.sigmoid(m)
F.tanh(m)
F.layer_norm(m, (4,))
F.layer_norm(m, (4,), o, o)
F.group_norm(x, 3)
F.group_norm(x, 3, c, c)
F.instance_norm(x)
F.instance_norm(x, weight=c, bias=c)
F.batch_norm(x, None, None, c, c, True)
F.batch_norm(x, c, c + 1, c, c, True)
F.batch_norm(x, c, c.abs() + 1, c, c, False)
F.rms_norm(m, (4,))
F.rms_norm(m, (4,), o)
F.max_pool2d(x, 2)
F.avg_pool2d(x, 2)
F.adaptive_avg_pool2d(x, 2)
F.interpolate(x, scale_factor=2)
F.interpolate(x, scale_factor=2, mode="bilinear")
F.dropout(m, 0.5)
F.embedding(labels, m)
F.cosine_similarity(m, n)
F.normalize(m)
F.local_response_norm(x, 3)
t.where(m > 0, m, n)
t.maximum(m, n)
t.clamp(m, 0, 1)
m.max()
t.atan2(m, n)
t.addcmul(m, n, n)
t.flatten(x, 1)
t.softmax(m, 1, dtype=t.float64)
t.cumprod(m, 0)
""".strip().splitlines()


def in_low(line, low, torch, x_dtype, other_dtype):
    """The dtype of the line's result in each library; the kind of the exception where it raises."""
    import numpy

    rng = numpy.random.default_rng(0)
    shapes = {"x": (2, 3, 6, 6), "v": (2, 3, 4, 4, 4), "m": (4, 4), "s": (4,), "w": (3, 3, 3, 3), "k": (3, 3, 3, 3, 3)}
    twins = {"y": "x", "n": "m", "r": "s"}
    values = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    values |= {name: rng.standard_normal(shapes[twin]) for name, twin in twins.items()}
    values |= {
        "p": rng.uniform(0.1, 0.9, (4, 4)),
        "q": rng.uniform(0.1, 0.9, (4, 4)),
        "g": rng.uniform(-1, 1, (2, 4, 4, 2)),
    }
    values |= {"c": rng.standard_normal(3), "o": rng.standard_normal(4)}
    found = []
    for t, functional in ((torch, torch.nn.functional), (tg, tensorgrad.nn.functional)):
        names = {"t": t, "F": functional, "labels": t.tensor([0, 1, 2, 3])}
        for name, value in values.items():
            dtype = x_dtype if name in "xvmsp" else "float32" if name in "wkco" else other_dtype
            names[name] = t.tensor(value.tolist(), dtype=getattr(t, dtype))
        try:
            with t.autocast("cpu", getattr(t, low)):
                z = eval(line, names)
            found.append(str(z.dtype).removeprefix("torch."))
        except (RuntimeError, ValueError, TypeError, NotImplementedError):
            found.append("refused")
    return found


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("line", LINES)
def test_dtypes_as_in_pytorch(line, low):
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    torch.set_num_threads(1)
    for x_dtype, other in (("float32", "float32"), (low, low), (low, "float32"), ("float32", low)):
        theirs, ours = in_low(line, low, torch, x_dtype, other)
        assert ours == theirs or theirs == "refused", (x_dtype, other)
