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
    assert.deepEqual(["10GiB", "10GB", "10Gb", "1.5KiB", "2mb", 7].map(parseMemory), [
      10 * 2 ** 30,
      10e9,
      1.25e9,
      1536,
      250_000,
      7,
    ]);
    for (const wrong of ["10", "GB", "10 TB", "-1GB", -1, 0.5])
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

  it("has all on one device where that is enough, what is tied counted once", () => {
    assert.deepEqual(infer(small(), [[0, 1000]]), { "": 0 });
    const tied = small()
      .filter(({ name }) => name !== "linear2.weight")
      .with(0, { name: "linear1.weight", byteLength: 80 });
    const aliases = [["linear2.weight", "linear1.weight"]] as const;
    assert.deepEqual(
      infer(
        tied,
        [
          [0, 200],
          [1, 200],
        ],
        { aliases },
      ),
      { "": 0 },
    );
    assert.deepEqual(
      infer(
        tied,
        [
          [0, 170],
          [1, 200],
        ],
        { aliases },
      ),
      {
        linear1: 0,
        batchnorm: 1,
        linear2: 1,
        "linear2.weight": 0,
      },
    );
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

  it("takes a module that is a tensor too as one", () => {
    const tensors = ["a", "a.b", "a.c"].map((name) => ({ name, byteLength: 10 }));
    assert.deepEqual(
      infer(tensors, [
        [0, 25],
        [1, 30],
      ]),
      { "": 1 },
    );
  });

  it("is refused for what is no device, and for names without end", () => {
    assert.throws(() => infer(small(), [["tpu", 1]]), raises("INVALID_SLICE", /no device tpu/));
    assert.throws(() => infer(small(), [[0, "much"]]), raises("INVALID_SLICE", /no amount of memory/));
    const deep = [{ name: "a.".repeat(1e5), byteLength: 1 }];
    assert.throws(() => infer(deep, [[0, 1]]), raises("INVALID_SLICE", /more than 64 modules/));
  });
});
