"""Makes the files of this folder with PyTorch, and what their networks must give with NumPy alone.

pip install torch numpy safetensors
python tools/exchange/tests/data/make.py
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parents[3] / "examples"))
sys.dont_write_bytecode = True
from pytorch import FeedbackNetwork, train  # noqa: E402

identity = lambda z: z
sigmoid = lambda z: 1 / (1 + np.exp(-z))


def solve(file, x, feedback, hidden=np.tanh, output=identity):
    """The solution in f64 from the file alone: every sum by itself, sweep after sweep until nothing changes."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(here / file).items()}
    depth = sum(name.endswith(".bias") for name in tensors)
    w = [None] + [tensors[f"layers.{l}.weight"] for l in range(1, depth + 1)]
    h = [np.array(x)] + [np.zeros(len(w[l])) for l in range(1, depth + 1)]
    for _ in range(10_000):
        before = np.concatenate(h)
        for l in range(1, depth + 1):
            z = w[l] @ h[l - 1] + tensors[f"layers.{l}.bias"]
            if l < depth:
                if feedback == "adjacent":
                    z = z + tensors[f"layers.{l}.feedback"] @ h[l + 1]
                elif feedback == "dense":
                    column = 0
                    for above in h[l + 1 :]:
                        z = z + tensors[f"layers.{l}.feedback"][:, column : column + len(above)] @ above
                        column += len(above)
                elif feedback != "feedforward":
                    z = z + int(feedback.removeprefix("tied:")) / 100 * w[l + 1].T @ h[l + 1]
            h[l] = (hidden if l < depth else output)(z)
        if np.abs(np.concatenate(h) - before).max() < 1e-15:
            return h[depth]
    raise ArithmeticError(f"{file} does not settle")


torch.manual_seed(1)
adjacent = FeedbackNetwork([3, 8, 5, 2])
train(adjacent)
save_file(adjacent.state_dict(), here / "adjacent.safetensors")

dense = FeedbackNetwork([3, 6, 5, 4, 2], dense=True, hidden=torch.sigmoid, output=torch.tanh).double()
torch.set_default_dtype(torch.float64)
train(dense)
save_file(
    dense.state_dict(),
    here / "dense.safetensors",
    {"attractor.feedback": "dense", "attractor.hidden": "sigmoid", "attractor.output": "tanh"},
)

# A plain network, as `nn.Sequential` has it but for the names.
torch.set_default_dtype(torch.float32)
plain = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2))
names = {"0": "layers.1", "2": "layers.2"}
tensors = {names[key.split(".")[0]] + "." + key.split(".")[1]: value for key, value in plain.state_dict().items()}
save_file(tensors, here / "plain.safetensors")

x = [0.5, -1.0, 0.25]
expected = {
    "adjacent": solve("adjacent.safetensors", x, "adjacent"),
    "dense": solve("dense.safetensors", x, "dense", sigmoid, np.tanh),
    "feedforward": solve("plain.safetensors", x, "feedforward"),
    "tied:50": solve("plain.safetensors", x, "tied:50"),
}
with torch.no_grad():  # PyTorch and NumPy agree
    assert np.allclose(adjacent(torch.tensor([x]), 200)[0].numpy(), expected["adjacent"], atol=1e-6)
    assert np.allclose(dense(torch.tensor([x], dtype=torch.float64), 200)[0].numpy(), expected["dense"], atol=1e-12)
    assert np.allclose(plain(torch.tensor([x]))[0].numpy(), expected["feedforward"], atol=1e-6)
lines = [f"{name} {' '.join(repr(float(y)) for y in outputs)}\n" for name, outputs in expected.items()]
(here / "expected.txt").write_text("".join(lines))
