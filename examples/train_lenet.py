"""LeNet-5 on 1,797 handwritten digits: the training loop written out.

python examples/train_lenet.py            60 epochs
python examples/train_lenet.py --quick    8 epochs
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader, Digits
from tensorgrad.data import transforms as T
from tensorgrad.models import lenet5

tg.manual_seed(0)
epochs = 8 if "--quick" in sys.argv else 60

prepare = [T.ToDtype(np.float32, scale=16), T.Resize(32)]  # 8x8 of 0 to 16 -> 32x32 of 0 to 1
normalize = T.Normalize(mean=0.31, std=0.38)
change = T.RandomAffine(degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5, interpolation="bilinear")
train_set = Digits(train=True, transform=T.Compose([*prepare, change, normalize]))
test_set = Digits(train=False, transform=T.Compose([*prepare, normalize]))
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=360)

model = lenet5(activation=nn.ReLU, pooling=nn.MaxPool2d)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
optimizer = tg.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
scheduler = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)

for epoch in range(epochs):
    model.train()
    for images, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
    scheduler.step()
    print(f"epoch {epoch + 1}/{epochs}: last loss {loss.item():.4f}")

model.eval()
with tg.no_grad():
    correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in test_loader)
print(f"test accuracy: {100 * correct / len(test_set):.2f} % ({correct} of {len(test_set)})")
