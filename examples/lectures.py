"""Every number of the lectures on convolutional networks, beside the one that comes out here.

Where the notes miscount, the computed number stands with the difference; no computation is bent to fit a misprint.

python examples/lectures.py [--quick]
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.nn import functional as F

rows = differing = 0


def fact(text, stated, computed):
    """One line: what it is, the notes' number and ours."""
    global rows, differing
    rows += 1
    same = np.array_equal(stated, computed)
    differing += not same
    verdict = "" if same else f"   the notes say {stated:,}: {computed - stated:+,}"
    shown = f"{computed:,}" if isinstance(computed, int) else computed
    print(f"  {text:68} {shown}{verdict}")


def size(n, kernel, stride=1, padding=0):
    """The side of what a convolution makes of n pixels."""
    return F.conv2d(tg.zeros(1, 1, n, n), tg.zeros(1, 1, kernel, kernel), stride=stride, padding=padding).shape[-1]


def plane(values):
    """One picture or one filter of one channel."""
    return tg.tensor(np.array(values, np.float64)[None, None])


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def empty(name, **settings):
    """A network whose numbers are not drawn: only its sizes matter."""
    with nn.init.postponed():
        return models.get_model(name, **settings)


def products(module, shape):
    """Products that the convolutions form for one input of that shape."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with tg.no_grad():
        out = module(tg.zeros(*shape))
    return total, tuple(out.shape[1:])


print("convolutions worked by hand")
picture = [
    [3, 0, 1, 2, 4, 7],
    [1, 5, 8, 9, 3, 1],
    [2, 7, 2, 5, 1, 3],
    [0, 1, 3, 1, 7, 8],
    [4, 2, 1, 6, 2, 8],
    [2, 4, 5, 2, 3, 9],
]
edges = F.conv2d(plane(picture), plane([[1, 0, -1]] * 3))[0, 0].tolist()
fact("6x6 and the vertical-edge filter", [[-5, -4, 3, 5], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]], edges)
strided = [[2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7]]
kernel = plane([[3, 4, 4], [1, 0, 2], [-1, 0, 3]])
fact("stride 2, the first row", [91, 100, 88], F.conv2d(plane(strided), kernel, stride=2)[0, 0, 0].tolist())
below = plane([[3, 4, 8], [7, 8, 3], [4, 2, 1]])
fact("stride 2, where the next row begins", 69, int(F.conv2d(below, kernel, stride=2).item()))
corner = tg.tensor([[[156.0, 155], [153, 154]], [[167, 166], [164, 165]], [[163, 162], [160, 161]]]).unsqueeze(0)
filters = tg.tensor(
    [[[-1.0, -1, 1], [0, 1, -1], [0, 1, 1]], [[1, 0, 0], [1, -1, -1], [1, 0, -1]], [[0, 1, 1], [0, 1, 0], [1, -1, 1]]]
).unsqueeze(1)  # (3, 1, 3, 3), one for each channel
sums = F.conv2d(corner, filters, padding=1, groups=3)[0, :, 0, 0].tolist()
fact("the corner of a picture of three channels: red, green, blue", [308, -498, 164], sums)
whole = F.conv2d(corner, filters.transpose(0, 1), tg.ones(1), padding=1)[0, 0, 0, 0]
fact("their sum with a bias of 1", -25, int(whole.item()))

print("output sizes")
for n, kernel_size, stride, padding, stated in (
    (7, 3, 1, 0, 5), (7, 3, 2, 0, 3), (7, 3, 3, 0, 2), (7, 3, 1, 1, 7), (32, 3, 1, 1, 32), (32, 5, 1, 2, 32),
    (32, 7, 1, 3, 32), (32, 5, 1, 0, 28), (28, 5, 1, 0, 24), (227, 11, 4, 0, 55),
):  # fmt: skip
    fact(
        f"{n} pixels, kernel {kernel_size}, stride {stride}, padding {padding}",
        stated,
        size(n, kernel_size, stride, padding),
    )
fact("55 pixels, pooled 3x3 with stride 2", 27, F.max_pool2d(tg.zeros(1, 1, 55, 55), 3, 2).shape[-1])
fact("224 pixels, pooled 2x2 with stride 2", 112, F.max_pool2d(tg.zeros(1, 1, 224, 224), 2).shape[-1])

print("parameters")
with nn.init.postponed():
    fact("ten 5x5 filters on three channels", 760, parameters(nn.Conv2d(3, 10, 5)))
    fact("a filter of a 1x1 convolution on 64 channels: products", 64, nn.Conv2d(64, 32, 1).weight[0].numel())
    three, one = 3 * nn.Conv2d(64, 64, 3).weight.numel(), nn.Conv2d(64, 64, 7).weight.numel()
fact("three 3x3 layers of 64 channels, 3 (9 C^2)", 27 * 64**2, three)
fact("one 7x7 layer of 64 channels, 49 C^2", 49 * 64**2, one)
conv1 = empty("alexnet_paper").features.conv1
fact("AlexNet conv1, weights", 34_848, conv1.weight.numel())
fact("AlexNet conv1, with biases", 34_944, parameters(conv1))
fact("AlexNet conv1 without sharing", 105_705_600, 55 * 55 * 96 * (conv1.weight[0].numel() + 1))
alexnet = parameters(empty("alexnet_paper"))
fact("AlexNet, in millions: about 60", 60, alexnet // 1_000_000)
fact(
    "AlexNet without FC7, millions fewer",
    16,
    (alexnet - parameters(empty("alexnet_paper", without=["fc7"]))) // 1_000_000,
)
without = empty("alexnet_paper", without=["conv3", "conv4", "fc6", "fc7"])
fact("AlexNet without conv3, conv4, FC6, FC7, millions fewer", 50, (alexnet - parameters(without)) // 1_000_000)
fact("LeNet-5, in thousands: about 60", 60, parameters(models.lenet5_original()) // 1000)
vgg = empty("vgg16")
weights = sum(p.numel() for name, p in vgg.named_parameters() if name.endswith("weight"))
fact("VGG-16, in millions", 138, parameters(vgg) // 1_000_000)
fact("VGG-16, weights", 138_344_128, weights)
fact("VGG-16, biases", 13_416, parameters(vgg) - weights)
googlenet = parameters(empty("googlenet_paper", aux_logits=False))
fact("GoogLeNet, without its heads", 5_000_000, googlenet)
fact("GoogLeNet has fewer than AlexNet, times", 12, round(alexnet / googlenet))

print("receptive field, VGG-16's memory")
impulse = plane(np.eye(1, 441, 220).reshape(21, 21))
seen = impulse
for _ in range(3):
    seen = F.conv2d(seen, tg.ones(1, 1, 3, 3, dtype=tg.float64), padding=1)
fact("three 3x3 layers of stride 1 see, in pixels", 7, int((seen[0, 0].sum(0) > 0).sum().item()))
side, sizes = 224, [3 * 224 * 224]
for layer in vgg.features:
    if isinstance(layer, nn.Conv2d):
        channels = layer.out_channels
        sizes.append(channels * side**2)
    elif isinstance(layer, nn.MaxPool2d):
        side //= 2
        sizes.append(channels * side**2)
values = sum(sizes) + 4096 + 4096 + 1000
fact("VGG-16, values of one picture (the notes' table sums to)", 15_237_608, values)
fact("VGG-16, values of one picture in millions", 24, values // 1_000_000)
fact("VGG-16, megabytes of one picture", 96, round(4 * values / 1e6))

print("Inception on 28x28x256")
naive, bottled = nn.blocks.NaiveInception(256, 128, 192, 96), nn.blocks.Inception(256, 128, 64, 192, 64, 96, 64)
work, shape = products(naive, (1, 256, 28, 28))
fact("naive: channels", 672, shape[0])
fact("naive: operations", 854_196_224, work)
work, shape = products(bottled, (1, 256, 28, 28))
fact("with bottlenecks of 64: channels", 480, shape[0])
fact("with bottlenecks of 64: operations", 353_000_000, work)


def depth(module):
    """Layers with weights one after the other; of branches side by side the longest counts, a shortcut does not."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return 1
    each = [depth(child) for name, child in module.named_children() if name != "downsample"]
    return max(each) if isinstance(module, nn.blocks.Inception) else sum(each)


print("layers")
for name, stated in (("alexnet", 8), ("vgg16", 16), ("vgg19", 19)):
    fact(name, stated, depth(empty(name)))
fact("googlenet", 22, depth(empty("googlenet", aux_logits=False)))
for stated in (18, 34, 50, 101, 152):
    fact(f"resnet{stated}", stated, depth(empty(f"resnet{stated}")))
resnet = empty("resnet50")
fact("ResNet-50: blocks in four groups", [3, 4, 6, 3], [len(getattr(resnet, f"layer{i}")) for i in range(1, 5)])
fact("ResNet-50: convolutions in them", 48, sum(depth(getattr(resnet, f"layer{i}")) for i in range(1, 5)))
print(f"{rows} numbers; of these differ from the notes: {differing}")
