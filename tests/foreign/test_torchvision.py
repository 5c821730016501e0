"""Networks that others wrote for PyTorch run as they stand with `import tensorgrad as torch`, and give the same numbers.

torchvision's files are executed with tensorgrad in torch's place (runner.py); the numbers are compared with the same files on
PyTorch. Skipped where torchvision is not installed.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.oracle
ROOT = Path(__file__).resolve().parents[2]

# file, constructor, size of the picture
NETWORKS = [
    ("alexnet", "alexnet", 64),
    ("vgg", "vgg11_bn", 32),
    ("resnet", "resnet18", 64),
    ("resnet", "resnext50_32x4d", 32),
    ("squeezenet", "squeezenet1_1", 64),
    ("densenet", "densenet121", 64),
    ("googlenet", "googlenet", 64),
    ("inception", "inception_v3", 80),
    ("mobilenetv2", "mobilenet_v2", 64),
    ("mobilenetv3", "mobilenet_v3_small", 64),
    ("shufflenetv2", "shufflenet_v2_x0_5", 64),
    ("mnasnet", "mnasnet0_5", 64),
    ("efficientnet", "efficientnet_b0", 64),
    ("regnet", "regnet_y_400mf", 64),
    ("convnext", "convnext_tiny", 64),
    ("vision_transformer", "vit_b_16", 224),
    ("swin_transformer", "swin_t", 64),
    ("swin_transformer", "swin_v2_t", 64),
    ("maxvit", "maxvit_t", 224),
]
SLOW = ("vit_b_16", "maxvit_t", "swin_t", "swin_v2_t", "vgg11_bn", "inception_v3", "alexnet")


@pytest.fixture(scope="module")
def torchvision():
    pytest.importorskip("torch")
    import torchvision_oracle

    return torchvision_oracle.torchvision_models()


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize(
    "file, constructor, size",
    [pytest.param(*row, marks=[pytest.mark.slow] if row[1] in SLOW else [], id=row[1]) for row in NETWORKS],
)
def test_a_foreign_network(torchvision, file, constructor, size, tmp_path):
    import torch

    folder = Path(importlib.util.find_spec("torchvision").submodule_search_locations[0])
    out = tmp_path / "ours.npz"
    command = [
        sys.executable,
        str(Path(__file__).with_name("runner.py")),
        str(folder),
        file,
        constructor,
        str(size),
        str(out),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = np.load(out)
    model = getattr(torchvision, constructor)().double()
    own = model.state_dict()
    assert {f"state/{name}" for name in own} == {name for name in ours.files if name.startswith("state/")}
    for name, value in own.items():
        value.copy_(torch.tensor(ours[f"state/{name}"]))
    model.eval()
    x = torch.tensor(ours["input"], requires_grad=True)
    z = model(x)
    (z * z).sum().backward()
    close(ours["output"], z.detach().numpy(), "output")
    close(ours["input_gradient"], x.grad.numpy(), "input")
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            close(ours[f"gradient/{name}"], parameter.grad.numpy(), name)


def close(found, expected, what):
    scale = np.abs(expected).max() or 1.0
    assert np.abs(found - expected).max() <= 1e-7 * scale, what
