import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Device,
  deviceOf,
  groupByDevice,
  parseDeviceMap,
  parseMemory,
} from "../../src/parallel/device-map.ts";
import { type DeviceMapOptions, inferDeviceMap } from "../../src/parallel/infer-device-map.ts";
import { raises } from "../support.ts";

describe("a device map", () => {
  const map = parseDeviceMap({ model: 0, "model.layers.1": "cpu", "model.layers.1.mlp": "cuda:1" });

  it("gives a tensor the device of the longest name around it", () => {
    assert.equal(deviceOf(map, "model.layers.0.w"), 0);
    assert.equal(deviceOf(map, "model.layers.1"), "cpu");
    assert.equal(deviceOf(map, "model.layers.1.w"), "cpu");
    assert.equal(deviceOf(map, "model.layers.11.w"), 0);
    assert.equal(deviceOf(map, "model.layers.1.mlp.up.w"), "cuda:1");
    assert.equal(deviceOf(map, "models.w"), undefined);
    assert.equal(deviceOf(parseDeviceMap({ "": "disk" }), "models.w"), "disk");
  });

  it("has to have a device for each tensor, unless one is given", () => {
    const tensors = [{ name: "model.w" }, { name: "lm_head.w" }];
    const expected = new Map<Device, object[]>([
      [0, [tensors[0]!]],
      ["cpu", [tensors[1]!]],
    ]);
    assert.deepEqual(groupByDevice(map, tensors, "cpu"), expected);
    const details = { tensor: "lm_head.w" };
    assert.throws(
      () => groupByDevice(map, tensors),
      raises("INVALID_SLICE", /no device for tensor "lm_head.w"/, details),
    );
  });

  it("is an object of names and devices", () => {
    assert.throws(() => parseDeviceMap([]), raises("INVALID_SLICE", /an object/));
    assert.throws(() => parseDeviceMap({ a: null }), raises("INVALID_SLICE", /the device of "a" is "null"/));
    assert.throws(() => parseDeviceMap({ a: -1 }), raises("INVALID_SLICE", /expected a number or a name/));
  });
});

describe("amounts of memory", () => {
  it("are written as accelerate takes them", () => {
    assert.deepEqual(
      ["10GiB", "10gib", "10GB", "10Gb", "1.5KiB", ".5KB", "3.KB", "2mb", 7].map(parseMemory),
      [10 * 2 ** 30, 10 * 2 ** 30, 10e9, 1.25e9, 1536, 500, 3000, 250_000, 7],
    );
    for (const wrong of ["10", "GB", ".GB", "10 TB", "-1GB", -1, 0.5])
      assert.throws(() => parseMemory(wrong), raises("INVALID_SLICE", /no amount of memory/));
  });
});

/** Sizes of the model of accelerate's own tests, whose expected maps these are: 64, 72 and 100 bytes. */
const small = (prefix = ""): { name: string; byteLength: number }[] =>
  (
    [
      ["linear1.weight", 48],
      ["linear1.bias", 16],
      ["batchnorm.weight", 16],
      ["batchnorm.bias", 16],
      ["batchnorm.running_mean", 16],
      ["batchnorm.running_var", 16],
      ["batchnorm.num_batches_tracked", 8],
      ["linear2.weight", 80],
      ["linear2.bias", 20],
    ] as const
  ).map(([name, byteLength]) => ({ name: `${prefix}${name}`, byteLength }));

const infer = (
  tensors: Iterable<{ name: string; byteLength: number }>,
  maxMemory: readonly (readonly [Device, number | string])[],
  more: Partial<DeviceMapOptions> = {},
): Record<string, Device> =>
  Object.fromEntries(inferDeviceMap(tensors, { maxMemory, strategy: "sequential", ...more }));

describe("a device map that is worked out", () => {
  it("leaves room for the largest layer on the first device only", () => {
    const expected = { linear1: 0, batchnorm: 1, linear2: 1 };
    assert.deepEqual(
      infer(small(), [
        [0, 200],
        [1, 200],
      ]),
      expected,
    );
    assert.deepEqual(
      infer(small(), [
        [2, 200],
        [1, 172],
        [0, 200],
      ]),
      expected,
    );
  });

  it("has all on one device where that is enough", () => {
    assert.deepEqual(infer(small(), [[0, 1000]]), { "": 0 });
    assert.deepEqual(infer([{ name: "a.b.w", byteLength: 1 }], [[0, 10]]), { a: 0 });
  });

  it("splits what does not fit, unless it has to be whole", () => {
    const three = [...small("0."), ...small("1."), ...small("2.")];
    assert.deepEqual(
      infer(three, [
        [0, 500],
        [1, 500],
      ]),
      {
        "0": 0,
        "1.linear1": 0,
        "1.batchnorm": 0,
        "1.linear2": 1,
        "2": 1,
      },
    );
    const isWhole = (module: string): boolean => /^\d$/.test(module);
    assert.deepEqual(
      infer(
        three,
        [
          [0, 500],
          [1, 500],
        ],
        { isWhole },
      ),
      { "0": 0, "1": 1, "2": 1 },
    );
  });

  it("goes on with the processor's memory, and then the disk", () => {
    assert.deepEqual(
      infer(small(), [
        ["cpu", 150],
        [0, 164],
      ]),
      { linear1: 0, batchnorm: "disk", linear2: "disk" },
    );
    assert.deepEqual(
      infer(small(), [
        ["cpu", 172],
        [0, 164],
      ]),
      { linear1: 0, batchnorm: "cpu", linear2: "cpu" },
    );
    assert.deepEqual(infer(small(), []), { "": "disk" });
  });

  it("leaves room on Apple's GPU, and then not in the processor's memory", () => {
    const three = [...small("0."), ...small("1."), ...small("2.")];
    const memory = [
      ["mps", 500],
      ["cpu", 100],
    ] as const;
    assert.deepEqual(infer(three, memory), {
      "0": "mps",
      "1.linear1": "mps",
      "1.batchnorm": "mps",
      "1.linear2": "cpu",
      "2": "disk",
    });
  });

  it("is balanced as in accelerate's own tests", () => {
    // The first of two devices gets 236 / 2 and 1.25 times the mean of the layers, which makes 215.
    const map = (first: number): object =>
      infer(
        small(),
        [
          [0, first],
          [1, 300],
        ],
        { strategy: "balanced" },
      );
    assert.deepEqual(
      map(300),
      infer(small(), [
        [0, 215],
        [1, 300],
      ]),
    );
    assert.deepEqual(
      map(200),
      infer(small(), [
        [0, 200],
        [1, 300],
      ]),
    );
    const low = infer(
      small(),
      [
        [0, 300],
        [1, 200],
        [2, 300],
      ],
      { strategy: "balanced_low_0" },
    );
    assert.deepEqual(low, { linear1: 1, batchnorm: 1, linear2: 2 });
  });

  it("leaves room for the first module of each kind that has to be whole", () => {
    const sizes = [10, 10, 10, 100, 100];
    const tensors = sizes.map((byteLength, layer) => ({ name: `layers.${layer}.w`, byteLength }));
    const onTwo = (isWhole?: DeviceMapOptions["isWhole"]): object =>
      infer(
        tensors,
        [
          [0, 500],
          [1, 500],
        ],
        { strategy: "balanced", ...(isWhole && { isWhole }) },
      );
    // Half of the model is 115 bytes, and the mean of the modules 46: 172 bytes, of which the largest layer takes 100.
    assert.deepEqual(onTwo(), { "layers.0": 0, "layers.1": 0, "layers.2": 0, "layers.3": 1, "layers.4": 1 });
    // If the large ones are of their own kind, they count: 240 bytes.
    const isLarge = (module: string): boolean | string => {
      const layer = /^layers\.(\d)$/.exec(module)?.[1];
      return layer !== undefined && (Number(layer) < 3 ? "small" : "large");
    };
    assert.deepEqual(onTwo(isLarge), { layers: 0 });
  });

  it("keeps layers whole and takes them in the order of the model", () => {
    const names = ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"];
    for (const layer of [0, 1, 10, 2])
      names.push(`model.layers.${layer}.a.weight`, `model.layers.${layer}.b.weight`);
    const tensors = names.map((name) => ({ name, byteLength: 10 }));
    assert.deepEqual(
      infer(tensors, [
        [0, 75],
        [1, 45],
        [2, 100],
      ]),
      {
        "model.embed_tokens": 0,
        "model.layers.0": 0,
        "model.layers.1": 0,
        "model.layers.2": 1,
        "model.layers.10": 1,
        "model.norm": 2,
        lm_head: 2,
      },
    );
  });

  it("takes the embeddings of tokens before those of positions, and their norm last", () => {
    const names = ["LayerNorm", "position_embeddings", "word_embeddings"].map(
      (part) => `embeddings.${part}.weight`,
    );
    const tensors = names.map((name) => ({ name, byteLength: 10 }));
    assert.deepEqual(
      infer(tensors, [
        [0, 0],
        [1, 20],
        [2, 10],
      ]),
      {
        "embeddings.word_embeddings": 1,
        "embeddings.position_embeddings": 1,
        "embeddings.LayerNorm": 2,
      },
    );
  });

  it("takes them as they are given if it is told to", () => {
    const tensors = ["norm.w", "embed_tokens.w"].map((name) => ({ name, byteLength: 10 }));
    const memory = [
      [0, 0],
      [1, 10],
      [2, 10],
    ] as const;
    assert.deepEqual(infer(tensors, memory), { embed_tokens: 1, norm: 2 });
    assert.deepEqual(infer(tensors, memory, { order: "given" }), { embed_tokens: 2, norm: 1 });
  });

  it("takes a module that is a tensor too as one", () => {
    const tensors = ["a", "a.b", "a.c"].map((name) => ({ name, byteLength: 10 }));
    assert.deepEqual(
      infer(tensors, [
        [0, 25],
        [1, 30],
      ]),
      { a: 1 },
    );
  });

  it("is refused for what is no device, and for names without end", () => {
    assert.throws(() => infer(small(), [["tpu", 1]]), raises("INVALID_SLICE", /no device tpu/));
    assert.throws(() => infer(small(), [[0, "much"]]), raises("INVALID_SLICE", /no amount of memory/));
    const deep = [{ name: "a.".repeat(1e5), byteLength: 1 }];
    assert.throws(() => infer(deep, [[0, 1]]), raises("INVALID_SLICE", /more than 64 modules/));
  });
});

/** What accelerate 1.15 gives for three linear layers, of which the last, in a module, has the weight of an embedding. */
const TIED = [
  ["embed.weight", 160],
  ["body.weight", 64],
  ["body.bias", 16],
  ["head.dense.weight", 256],
  ["head.dense.bias", 32],
  ["head.out.bias", 40],
] as const;

describe("a device map of a model with tied tensors", () => {
  const sized = TIED.map(([name, byteLength]) => ({ name, byteLength }));
  const aliases = [["head.out.weight", "embed.weight"]] as const;
  const tied = (
    maxMemory: readonly (readonly [Device, number])[],
    more: Partial<DeviceMapOptions> = {},
  ): Record<string, Device> => infer(sized, maxMemory, { aliases, order: "given", ...more });

  it("counts them once", () => {
    assert.deepEqual(tied([[0, 640]]), { "": 0 });
  });

  it("takes the module of the other one along, in parts if need be", () => {
    const parted = { embed: 0, "head.out": 0, body: 1, "head.dense": 1 };
    for (const bytes of [500, 528, 560])
      assert.deepEqual(
        tied([
          [0, bytes],
          [1, 900],
        ]),
        parted,
      );
    assert.deepEqual(
      tied([
        ["mps", 460],
        ["cpu", 500],
      ]),
      { embed: "cpu", "head.out": "cpu", body: "cpu", "head.dense": "disk" },
    );
  });

  it("goes on to the next device if they do not fit together", () => {
    const memory = [
      [0, 560],
      [1, 900],
    ] as const;
    assert.deepEqual(tied(memory, { isWhole: (module) => module === "head" }), { "": 1 });
    assert.deepEqual(tied([["cpu", 400]]), { "": "disk" });
  });

  it("leaves room for a layer that was taken along, until one is split", () => {
    const tensors = (
      [
        ["a.b.w", 5],
        ["a.c.w", 20],
        ["a.c.v", 100],
        ["d.e.w", 200],
        ["d.f.w", 100],
        ["g.h.w", 50],
        ["g.i.w", 100],
        ["g.i.v", 100],
      ] as const
    ).map(([name, byteLength]) => ({ name, byteLength }));
    const memory = [
      [0, 230],
      [1, 660],
      ["cpu", 526],
    ] as const;
    const more: Partial<DeviceMapOptions> = {
      aliases: [["d.w", "a.c.w"]],
      isWhole: (module) => ["d", "g"].includes(module),
      order: "given",
    };
    assert.deepEqual(infer(tensors, memory, more), { a: 1, d: 1, g: "disk" });
  });

  it("has the bytes where the first of them is, whichever is stored", () => {
    const stored = [...sized.slice(1), { name: "head.out.weight", byteLength: 160 }];
    const swapped = [["embed.weight", "head.out.weight"]] as const;
    const [gpu, next] = [
      [0, 528],
      [1, 900],
    ] as const;
    const parted = { embed: 0, "head.out": 0, body: 1, "head.dense": 1 };
    const first = [{ name: "embed.weight", byteLength: 160 }, ...stored.slice(0, -1)];
    assert.deepEqual(infer(first, [gpu, next], { aliases: swapped, order: "given" }), parted);
    assert.deepEqual(infer(stored, [gpu, next], { aliases: swapped }), parted);
  });

  it("may be of more than two, and of many at most", () => {
    const tensors = [
      { name: "a.w", byteLength: 10 },
      { name: "b.w", byteLength: 10 },
    ];
    const three = [
      ["c.w", "d.w"],
      ["d.w", "a.w"],
    ] as const;
    assert.deepEqual(
      infer(
        tensors,
        [
          [0, 0],
          [1, 10],
          [2, 10],
        ],
        { aliases: three, order: "given" },
      ),
      { a: 1, c: 1, d: 1, b: 2 },
    );
    const many = Array.from({ length: 1025 }, (_, i) => [`t${i}.w`, "a.w"] as const);
    assert.throws(() => infer(tensors, [[0, 1]], { aliases: many }), raises("INVALID_SLICE", /1024 aliases/));
  });
});
