"""Writes what NumPy answers to random chains of indexing, transposing and reshaping.

Each case starts from numpy.arange over a shape. The answer is the shape and the elements, or "error" where NumPy
refuses; a reshape that NumPy could only do with a copy counts as refused, since a view is what is asked for.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).parent.parent / "packages/safetensors/test/fixtures/index-goldens.json"
CASES = 700


def random_bound(rng: random.Random, size: int) -> str:
    return "" if rng.random() < 0.35 else str(rng.randint(-size - 2, size + 2))


def random_item(rng: random.Random, size: int) -> str:
    kind = rng.random()
    if kind < 0.25:
        # Mostly inside the axis; sometimes not, to see the refusal.
        reach = size if rng.random() < 0.9 else size + 1
        return str(rng.randint(-reach, max(reach - 1, 0)))
    if kind < 0.4 and size > 0:
        return str([rng.randint(-size, size - 1) for _ in range(rng.choice([0, 1, 2, 2, 3]))])
    step = "" if rng.random() < 0.4 else ":" + rng.choice(["1", "2", "3", "-1", "-2", "-3", "", "7"])
    return f"{random_bound(rng, size)}:{random_bound(rng, size)}{step}"


def random_index(rng: random.Random, shape: tuple[int, ...]) -> str:
    used = rng.randint(0, len(shape))
    items = [random_item(rng, size) for size in shape[:used]]
    if rng.random() < 0.3:
        tail = rng.randint(0, used)
        items = [random_item(rng, size) for size in shape[: used - tail]]
        items += ["..."] + [random_item(rng, size) for size in (shape[-tail:] if tail else ())]
    while rng.random() < 0.15:
        items.insert(rng.randint(0, len(items)), "None")
    return ", ".join(items) if items else "..."


def random_shape(rng: random.Random, count: int) -> list[int]:
    shape: list[int] = []
    while count > 1:
        divisor = rng.choice([d for d in range(2, count + 1) if count % d == 0])
        shape.append(divisor)
        count //= divisor
    for _ in range(rng.randint(0, 2)):
        shape.insert(rng.randint(0, len(shape)), 1)
    if count == 0:
        shape.insert(rng.randint(0, len(shape)), 0)
    elif shape and rng.random() < 0.3:
        shape[rng.randrange(len(shape))] = -1
    return shape


def evaluate(index: str) -> tuple:
    """The index as NumPy takes it: lists become integer arrays, so that an empty one is one too."""
    names = {"None": None}
    return tuple(
        np.array(item, dtype=int) if isinstance(item, list) else item
        for item in eval(f"np.index_exp[{index}]", {"np": np}, names)
    )


def answer(rng: random.Random) -> dict:
    shape = [rng.choice([0, 1, 2, 3, 4, 5]) if rng.random() < 0.9 else 7 for _ in range(rng.randint(0, 4))]
    base = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
    steps: list[dict] = []
    # The oracle works on copies, so that lists, which copy in NumPy, do not hide what a later reshape could share.
    array = base
    has_list = False
    for _ in range(rng.randint(1, 3)):
        kind = rng.random()
        try:
            if kind < 0.7 or has_list:
                index = random_index(rng, array.shape)
                steps.append({"slice": index})
                has_list = has_list or "[" in index
                array = array[evaluate(index)]
            elif kind < 0.85:
                axes = list(range(array.ndim))
                rng.shuffle(axes)
                steps.append({"transpose": axes})
                array = array.transpose(axes)
            else:
                target = random_shape(rng, array.size)
                steps.append({"reshape": target})
                reshaped = array.reshape(target)
                if array.size > 0 and not np.shares_memory(array, reshaped):
                    raise ValueError("needs a copy")
                array = reshaped
        except (IndexError, ValueError):
            return {"shape": shape, "steps": steps, "answer": "error"}
        if np.ndim(array) == 0:
            array = np.asarray(array)
    if array.size > 64:
        return answer(rng)
    return {
        "shape": shape,
        "steps": steps,
        "answer": {"shape": list(array.shape), "elements": array.ravel().tolist()},
    }


def main() -> None:
    rng = random.Random(20260101)
    text = "[\n" + ",\n".join(json.dumps(answer(rng), separators=(",", ":")) for _ in range(CASES)) + "\n]\n"
    if "--check" in sys.argv:
        sys.exit(
            0 if OUTPUT.read_text() == text else f"{OUTPUT.name} is not what NumPy {np.__version__} answers"
        )
    OUTPUT.write_text(text)


if __name__ == "__main__":
    main()
