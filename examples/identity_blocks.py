"""A deeper network need not be worse: with identity blocks it says exactly what the shallower one says.

ResNet-20 gets more residual blocks. H(x) = F(x) + x, so a block whose branch F ends in a batch norm with factor 0 gives
relu(0 + x) = x: x comes out of a ReLU and is not negative. A plain network needs kernels of the identity for that: a 1 in the
middle, channel to channel. Both are in the range of what training can find; that plain networks do not find it is what
the experiment in degradation.py shows.

python examples/identity_blocks.py [--quick]
"""

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.models import plain20, resnet20

tg.manual_seed(0)
pictures = tg.randn(4, 3, 32, 32)


def deeper(model, add):
    """The same network with two more blocks at the end of each stage."""
    for stage, width in (("layer1", 16), ("layer2", 32), ("layer3", 64)):
        blocks = list(getattr(model, stage))
        setattr(model, stage, nn.Sequential(*blocks, add(width), add(width)))
    return model.eval()


def residual_identity(width):
    """A residual block whose branch gives 0."""
    block = nn.blocks.BasicBlock(width, width)
    nn.init.zeros_(block.bn2.weight)
    return block


def plain_identity(width):
    """Two convolutions that hand everything on, each followed by ReLU."""
    layers = []
    for _ in range(2):
        conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        kernel = tg.zeros(width, width, 3, 3)
        kernel[range(width), range(width), 1, 1] = 1.0
        conv.load_state_dict({"weight": kernel})
        layers += [conv, nn.ReLU()]
    return nn.Sequential(*layers)


largest = 0.0
for make, add in ((resnet20, residual_identity), (plain20, plain_identity)):
    model = make().eval()
    with tg.no_grad():
        shallow = model(pictures)
        deep = deeper(model, add)(pictures)
    difference = (deep - shallow).abs().max().item()
    layers = sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules())
    print(f"{make.__name__} with identity blocks, {layers} layers: largest difference of a score {difference}")
    largest = max(largest, difference)
print(f"largest difference: {largest}")
