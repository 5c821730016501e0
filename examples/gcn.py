"""A graph convolutional network on Zachary's karate club: which side did each member take?

34 members, 78 friendships (W. W. Zachary, "An Information Flow Model for Conflict and Fission in Small Groups", Journal of
Anthropological Research 33, 1977). The club broke in two, around its instructor (member 1) and its officer (member 34).
The network is told the side of these two alone; it knows nothing else of a member but who its friends are.

python examples/gcn.py [--quick]
"""

import sys

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.models import GCN, normalized_adjacency

tg.manual_seed(0)
steps = 60 if "--quick" in sys.argv else 300

# member: friends with lower numbers
FRIENDS = {
    2: [1], 3: [1, 2], 4: [1, 2, 3], 5: [1], 6: [1], 7: [1, 5, 6], 8: [1, 2, 3, 4], 9: [1, 3], 10: [3],
    11: [1, 5, 6], 12: [1], 13: [1, 4], 14: [1, 2, 3, 4], 17: [6, 7], 18: [1, 2], 20: [1, 2], 22: [1, 2],
    26: [24, 25], 28: [3, 24, 25], 29: [3], 30: [24, 27], 31: [2, 9], 32: [1, 25, 26, 29],
    33: [3, 9, 15, 16, 19, 21, 23, 24, 30, 31, 32],
    34: [9, 10, 14, 15, 16, 19, 20, 21, 23, 24, 27, 28, 29, 30, 31, 32, 33],
}  # fmt: skip
INSTRUCTORS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 17, 18, 20, 22}

edges = [(member - 1, friend - 1) for member, friends in FRIENDS.items() for friend in friends]
assert len(edges) == 78
adjacency = normalized_adjacency(34, edges)  # (34, 34)
sides = tg.tensor([0 if member in INSTRUCTORS else 1 for member in range(1, 35)])
known = tg.tensor([0, 33])
members = tg.eye(34)  # a feature for each member

model = GCN(34, 2, hidden=16, dropout=0.5)
optimizer = tg.optim.Adam(model.parameters(), lr=0.02, weight_decay=5e-4)
criterion = nn.CrossEntropyLoss()
for step in range(steps):
    model.train()
    optimizer.zero_grad()
    loss = criterion(model(members, adjacency)[known], sides[known])
    loss.backward()
    optimizer.step()
    if (step + 1) % 20 == 0:
        print(f"step {step + 1}/{steps}: loss of the two known members {loss.item():.4f}")

model.eval()
with tg.no_grad():
    right = model(members, adjacency).argmax(1) == sides
others = int(right[1:33].sum().item())
print(f"wrong: members {[i + 1 for i in range(34) if not right[i].item()]}")
print(f"right: {others} of 32 members whose side was not told")
