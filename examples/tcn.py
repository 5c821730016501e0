"""A temporal convolutional network on handwritten digits, seen one pixel after the other.

A picture of 8x8 pixels is a sequence of 64 numbers; only what the last step gives counts, so the network must remember
all of it. Each level of a TCN sees twice as far into the past: with four levels and kernels of 4 an output sees
1 + 2 * 3 * (1 + 2 + 4 + 8) = 91 steps.

python examples/tcn.py [--quick]
"""

import sys

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader, Digits, TensorDataset
from tensorgrad.models import TCN

tg.manual_seed(0)
epochs = 4 if "--quick" in sys.argv else 40


def sequences(train):
    """Sequences (N, 1, 64) of pixels from 0 to 1, and their classes."""
    digits = Digits(train=train)
    x = tg.tensor(digits.data.reshape(-1, 1, 64) / 16, dtype=tg.float32)
    return TensorDataset(x, tg.tensor(digits.targets))


loader = DataLoader(sequences(train=True), batch_size=32, shuffle=True)
model = TCN(1, 10, channels=(24,) * 4, kernel_size=4, dropout=0.05, last_only=True)
print(f"an output sees {model.receptive_field} steps")
optimizer = tg.optim.Adam(model.parameters(), lr=4e-3)
scheduler = tg.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
criterion = nn.CrossEntropyLoss()

for epoch in range(epochs):
    model.train()
    total = 0.0
    for x, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item()
    scheduler.step()
    print(f"epoch {epoch + 1}/{epochs}: loss {total / len(loader):.4f}")

model.eval()
x, labels = sequences(train=False).tensors
with tg.no_grad():
    correct = int((model(x).argmax(1) == labels).sum().item())
print(f"test accuracy: {100 * correct / len(labels):.2f} % ({correct} of {len(labels)})")
