#!/usr/bin/env python3
"""Opens an exported model with transformers and compares: by hand, for transformers is large.

    pip install torch==2.15.0 transformers==5.24.0 numpy==2.4.6 safetensors==0.8.0
    scripts/check-export.py FOLDER [LOGITS]

FOLDER is what `attractor-lm export` wrote. Checked are
- that transformers finds every tensor it needs and knows every one that is there, but those of feedback;
- its logits after 32 tokens (or the context) against NumPy in f64, by formulas written here, of the file's tensors: within 1e-4;
- that its tokenizer turns text into bytes and back;
- that a text can be generated;
- LOGITS, a safetensors file with `tokens` and `logits` (tokens x vocabulary) that another program calculated: within 1e-4.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel

BOUND = 1e-4


def normalised(x, tensors, name):
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return centred / scale * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def affine(x, tensors, name):
    return x @ tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


def gelu(z):
    return z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def logits(tensors, config, tokens):
    """One sweep of GPT-2 in f64."""
    tensors = {name.removeprefix("transformer."): tensor.astype(np.float64) for name, tensor in tensors.items()}
    count, size = len(tokens), config["n_embd"] // config["n_head"]
    x = tensors["wte.weight"][tokens] + tensors["wpe.weight"][:count]
    for block in range(config["n_layer"]):
        name = f"h.{block}"
        fused = affine(normalised(x, tensors, f"{name}.ln_1"), tensors, f"{name}.attn.c_attn")
        query, key, value = np.split(fused, 3, axis=1)
        taken = np.zeros_like(x)
        for head in range(config["n_head"]):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / np.sqrt(size)
            scores[np.triu_indices(count, 1)] = -np.inf
            weights = np.exp(scores - scores.max(1, keepdims=True))
            taken[:, part] = weights / weights.sum(1, keepdims=True) @ value[:, part]
        x = x + affine(taken, tensors, f"{name}.attn.c_proj")
        hidden = gelu(affine(normalised(x, tensors, f"{name}.ln_2"), tensors, f"{name}.mlp.c_fc"))
        x = x + affine(hidden, tensors, f"{name}.mlp.c_proj")
    return normalised(x, tensors, "ln_f") @ tensors["wte.weight"].T


def close(what, found, expected):
    difference = np.abs(np.asarray(found, np.float64) - expected).max()
    print(f"{what}: logits differ by {difference:.1e} at most, their root mean square is {np.sqrt(np.mean(np.square(expected))):.2f}")
    if not difference < BOUND:
        sys.exit(f"that is more than {BOUND}")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    config = json.loads((folder / "config.json").read_text())
    model, report = GPT2LMHeadModel.from_pretrained(folder, output_loading_info=True)
    model.eval()
    unknown = [name for name in report["unexpected_keys"] if ".feedback." not in name]
    print(f"tensors: {len(report['missing_keys'])} missing, {len(unknown)} unknown")
    if report["missing_keys"] or unknown or report.get("mismatched_keys"):
        sys.exit(f"transformers says {report}")

    count = min(32, config["n_positions"])
    tokens = np.random.RandomState(1).randint(0, config["vocab_size"], count)
    with torch.no_grad():
        of = lambda tokens: model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0].numpy()
        close("transformers and NumPy", of(tokens), logits(load_file(folder / "model.safetensors"), config, tokens))
        if len(sys.argv) == 3:
            other = load_file(sys.argv[2])
            close("transformers and the other program", of(other["tokens"]), other["logits"])

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in ["In the beginning\n  God created the heaven", " Ä 漢字 🙂\t\0\x7f", ""]:
        tokens = tokenizer(text)["input_ids"]
        if config["vocab_size"] == 256 and tokens != list(text.encode()):
            sys.exit(f"{text!r} is not its bytes but {tokens}")
        if tokenizer.decode(tokens) != text:
            sys.exit(f"{text!r} comes back as {tokenizer.decode(tokens)!r}")
    print(f"tokenizer: {type(tokenizer).__name__} of {len(tokenizer)} tokens gives text back")

    prompt = torch.tensor([tokenizer("In")["input_ids"]])
    drawn = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=min(8, count - 2), do_sample=False, pad_token_id=0)
    print(f"generated: {tokenizer.decode(drawn[0])!r}")


if __name__ == "__main__":
    main()
