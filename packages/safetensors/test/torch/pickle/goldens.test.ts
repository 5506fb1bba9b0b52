import assert from "node:assert/strict";
import { test } from "node:test";
import { SafetensorsError } from "../../../src/errors.ts";
import { runPickle } from "../../../src/torch/pickle/machine.ts";
import { OPCODE_NAMES } from "../../../src/torch/pickle/opcodes.ts";
import { finish } from "../../../src/torch/steps.ts";
import { fixture } from "../../fixtures.ts";
import { describe } from "./describe.ts";

interface Golden {
  pickle: string;
  /** What both of Python's unpicklers read; missing if one fails or they disagree. */
  value?: unknown;
}

const goldens: { opcodes: Record<string, string>; honest: Golden[]; damaged: Golden[] } = JSON.parse(
  new TextDecoder().decode(fixture("pickle-goldens.json")),
);

test("the opcodes are those of Python", () => {
  const named = Object.fromEntries([...OPCODE_NAMES].map(([code, name]) => [String(code), name]));
  assert.deepEqual(named, goldens.opcodes);
});

test("honest pickles of protocols 0 to 5 give the values that Python reads", () => {
  for (const { pickle, value } of goldens.honest) {
    assert.deepEqual(describe(finish(runPickle(Buffer.from(pickle, "base64"))).value), value, pickle);
  }
});

test("damaged pickles give Python's value or are refused, never another value", () => {
  let read = 0;
  for (const { pickle, value } of goldens.damaged) {
    try {
      const found = describe(finish(runPickle(Buffer.from(pickle, "base64"))).value);
      assert.deepEqual(found, value, `${pickle} (${Buffer.from(pickle, "base64").toString("latin1")})`);
      read++;
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
    }
  }
  assert.ok(read > 40, `only ${read} were read`);
});
