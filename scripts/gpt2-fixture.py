#!/usr/bin/env python3
"""Makes language/tests/data/gpt2-tiny: a small GPT-2 written by transformers, a sequence of tokens and the logits of transformers.

    pip install torch==2.15.0 transformers==5.24.0 numpy==2.4.6 safetensors==0.8.0
    scripts/gpt2-fixture.py

The parameters are random, none of them zero or one, so that a gain or a bias in the wrong place is seen. Logits are about 1 to 5.
"""

import pathlib

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "language/tests/data/gpt2-tiny"
SEED = 17


def main():
    random = np.random.RandomState(SEED)  # its numbers stay the same in all versions
    config = GPT2Config(
        vocab_size=256, n_embd=24, n_head=3, n_layer=2, n_positions=32, bos_token_id=None, eos_token_id=None
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            numbers = random.standard_normal(tuple(tensor.shape))
            if "ln_" in name and name.endswith("weight"):
                numbers = 1 + 0.3 * numbers
            elif name.endswith("bias"):
                numbers = 0.2 * numbers
            elif "wte" in name or "wpe" in name:
                numbers = 0.4 * numbers
            else:
                numbers = 0.25 * numbers
            tensor.copy_(torch.from_numpy(numbers))
        tokens = random.randint(0, 256, 32)
        tokens[:2] = 0, 255
        logits = model(torch.from_numpy(tokens)[None]).logits[0]
    model.save_pretrained(FOLDER)
    (FOLDER / "generation_config.json").unlink(missing_ok=True)
    expected = {"tokens": torch.from_numpy(tokens.astype(np.int32)), "logits": logits.contiguous()}
    save_file(expected, FOLDER / "expected.safetensors")
    print(f"logits: root mean square {logits.square().mean().sqrt():.2f}, largest {logits.abs().max():.2f}")


if __name__ == "__main__":
    main()
