"""Makes the two PyTorch files of the quickstart: pytorch_model.bin and hostile.bin.

pytorch_model.bin is a training checkpoint: a small character-level transformer, trained here for a few hundred steps
on the text below (under a minute on one core). It has what makes real checkpoints awkward: a nested state dict, an
embedding and a head that share their weights, transposed parameters, and buffers of several dtypes.
hostile.bin looks like a checkpoint, but its pickle asks for a shell command. Nothing here loads it.

    python make_checkpoint.py        needs torch; on one machine a second run writes the same bytes
"""

import math
import os
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

TEXT = """\
The lighthouse keeper counted ships the way other people count sheep. Every evening she climbed the ninety-one steps,
lit the lamp, opened the logbook and wrote down what the sea had brought: two trawlers, a ferry, a tanker riding low.
In the margins she drew small waves, one for each hour of wind. When the wind was strong, the margins filled up and the
waves spilled over into the names of the ships, so that some of them seemed to be sinking on the page.

One night a boat came that was on no list. It had no lamp and no name, and it did not answer the horn. She wrote: "one
boat, unknown, heading for the rocks", and then she crossed out the last four words, went down the ninety-one steps,
and rang the bell at the harbour until the whole village was awake.

They found an old man in the boat, asleep, with a sack of seed potatoes and a radio that only played static. He had been
trying to row to the next bay, he said, and the fog had turned him around. In the morning the keeper added a line to the
logbook: "one boat, known, heading home", and drew no wave at all.
"""

CHARACTERS = sorted(set(TEXT))
CONFIG = {"width": 64, "layers": 2, "heads": 4, "context": 64, "vocabulary": "".join(CHARACTERS)}
STEPS = 300
FOLDER = pathlib.Path(__file__).parent


class Projection(nn.Module):
    """A linear layer whose weight lies in memory as (in, out), as in GPT-2, and is seen as (out, in)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter((torch.randn(inputs, outputs) / math.sqrt(inputs)).t())
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = Projection(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, mask):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:length, :length])
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


def positions(context, width):
    """The fixed sines and cosines of the first transformer."""
    angles = torch.arange(context)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).view(context, width)


class CharacterModel(nn.Module):
    def __init__(self, width, layers, heads, context, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(len(vocabulary), width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(vocabulary), bias=False)
        self.head.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=0.1)
        counts = torch.tensor([TEXT.count(character) for character in vocabulary])
        self.register_buffer("positions", positions(context, width).bfloat16())
        self.register_buffer("mask", torch.ones(context, context, dtype=torch.bool).tril())
        self.register_buffer("character_counts", counts)

    def forward(self, tokens):
        x = self.embed(tokens) + self.positions[: tokens.shape[1]].float()
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.norm(x))


def train(model):
    tokens = torch.tensor([CHARACTERS.index(character) for character in TEXT])
    windows = tokens.unfold(0, CONFIG["context"] + 1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(1, STEPS + 1):
        batch = windows[torch.randint(len(windows), (16,))]
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}")


class Command:
    """Pickles as a call of os.system with a harmless argument."""

    def __reduce__(self):
        return os.system, ("echo this line would have been printed by a model file",)


if __name__ == "__main__":
    torch.manual_seed(7)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model = CharacterModel(**CONFIG)
    train(model)
    checkpoint = {"state_dict": model.state_dict(), "step": STEPS, "config": CONFIG}
    torch.save(checkpoint, FOLDER / "pytorch_model.bin")
    torch.save({"embed.weight": torch.zeros(4, 4), "loader": Command()}, FOLDER / "hostile.bin")
