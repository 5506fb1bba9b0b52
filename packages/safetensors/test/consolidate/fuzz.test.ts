import assert from "node:assert/strict";
import { it } from "node:test";
import { SafetensorsError } from "../../src/errors.ts";
import { numbers } from "../support.ts";
import { fixtureFiles, withRanks } from "./stores.ts";

/** Texts that sharding information is made of, to be put in anywhere. */
const TEXTS = [
  "0",
  "[",
  "]",
  "{",
  "}",
  ",",
  '\\"',
  "99999999999999999999",
  "-1",
  "saved_offsets",
  "rows",
  "grid",
];

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/** Puts a text somewhere, or changes the next digit from there on. */
function change(bytes: Uint8Array, next: () => number): void {
  const at = 8 + (next() % (bytes.length - 40));
  const text = next() % 2 === 0 ? TEXTS[next() % TEXTS.length]! : undefined;
  const digit = bytes.findIndex((byte, place) => place >= at && isDigit(byte));
  if (text !== undefined) bytes.set(new TextEncoder().encode(text), at);
  else if (digit >= 0) bytes[digit] = 0x30 + (next() % 10);
}

it("files of ranks that were changed are read or refused, and closed in any case", async () => {
  const next = numbers(42);
  const originals = Object.entries(fixtureFiles("dcp"));
  let refused = 0;
  for (let run = 0; run < 150; run++) {
    const files = Object.fromEntries(originals.map(([name, bytes]) => [name, new Uint8Array(bytes)]));
    for (let changes = 1 + (next() % 2); changes > 0; changes--) {
      const [name] = originals[next() % originals.length]!;
      change(files[name]!, next);
    }
    try {
      await withRanks(files, {}, async ({ checkpoint }) => {
        for (const tensor of checkpoint) assert.equal((await tensor.bytes()).length, tensor.byteLength);
      });
    } catch (error) {
      assert.ok(error instanceof SafetensorsError, String((error as Error).stack));
      refused++;
    }
  }
  assert.ok(refused > 60 && refused < 145, `${refused} were refused`);
});
