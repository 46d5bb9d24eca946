"""Trains a feedback network in PyTorch and saves it for attractor; see docs/exchange.md.

pip install torch numpy safetensors
python examples/pytorch.py model.safetensors
cargo run --manifest-path tools/attractor/Cargo.toml -- import model.safetensors --to model.attr
"""

import sys

import torch
from safetensors.torch import save_file
from torch import nn


class FeedbackNetwork(nn.Module):
    """Its layers count from 1, as in the formulas; every one but the last reads the next one, or all above if `dense`."""

    def __init__(self, widths, dense=False, hidden=torch.tanh, output=nn.Identity()):
        super().__init__()
        self.widths, self.dense, self.hidden, self.output = widths, dense, hidden, output
        self.layers = nn.ModuleDict()
        for l, (below, width) in enumerate(zip(widths, widths[1:]), 1):
            self.layers[str(l)] = nn.Linear(below, width)
            heard = sum(widths[l + 1 :] if dense else widths[l + 1 : l + 2])
            if heard:
                self.layers[str(l)].feedback = nn.Parameter(0.2 * torch.randn(width, heard) / heard**0.5)

    def forward(self, x, sweeps=30):
        last = len(self.widths) - 1
        h = [x] + [x.new_zeros(len(x), width) for width in self.widths[1:]]
        for _ in range(sweeps):
            for l in range(1, last):
                above = torch.cat(h[l + 1 :], 1) if self.dense else h[l + 1]
                h[l] = self.hidden(self.layers[str(l)](h[l - 1]) + above @ self.layers[str(l)].feedback.T)
            h[last] = self.output(self.layers[str(last)](h[last - 1]))
        return h[last]


def train(network, steps=300):
    """Products and differences of neighbours, learned from random inputs."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    inputs, outputs = network.widths[0], network.widths[-1]
    for _ in range(steps):
        x = 2 * torch.rand(64, inputs) - 1
        products = x * x.roll(1, 1)
        loss = ((network(x) - torch.cat([products, x - x.roll(1, 1)], 1)[:, :outputs]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python pytorch.py MODEL.safetensors")
    torch.manual_seed(1)
    network = FeedbackNetwork([3, 8, 5, 2])
    print("loss:", train(network))
    save_file(network.state_dict(), sys.argv[1])
    with torch.no_grad():
        print("outputs for 0.5, -1.0, 0.25:", network(torch.tensor([[0.5, -1.0, 0.25]]), sweeps=200)[0].tolist())
