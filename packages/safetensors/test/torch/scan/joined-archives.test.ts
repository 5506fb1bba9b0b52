import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBytes } from "../../../src/source/memory.ts";
import { openTorch } from "../../../src/torch/index.ts";
import { concat, raises } from "../../support.ts";
import { assemble, uint } from "../pickle/assembler.ts";
import { call, push, tensor, torchFile } from "../torch-file.ts";
import { checkRow, scanned } from "./scanned.ts";

const GOOD = assemble("PROTO", 2, tensor(), "STOP");
const EVIL = assemble("PROTO", 2, call("os.system", "id"), "STOP");

/** As torch.distributed.checkpoint writes a tensor. */
const saved = (pickle: Uint8Array, data = new Uint8Array(48), root = "archive"): Uint8Array<ArrayBuffer> =>
  torchFile({ "data.pkl": pickle, "data/0": data }, root);
const BYTES = torchFile({ "data.pkl": assemble("PROTO", 2, push({ step: 3 }), "STOP") }, "archive");

test("each archive of torch.distributed.checkpoint is scanned", async () => {
  const file = concat([BYTES, saved(GOOD), saved(GOOD), saved(GOOD)]);
  const report = await scanned(file);
  assert.equal(report.verdict, "clean", JSON.stringify(report.findings));
  assert.equal(report.scanned.filter((member) => member.endsWith("archive/data.pkl")).length, 4);
  for (const at of [0, 1, 2]) {
    const archives = [saved(GOOD), saved(GOOD), saved(GOOD)];
    archives[at] = saved(EVIL);
    await checkRow([`archive ${at}`, concat(archives), "dangerous", "forbidden-global"]);
  }
});

test("archives in a row that are something else stay ambiguous", async () => {
  const other = concat([saved(GOOD, undefined, "model"), saved(GOOD, undefined, "model")]);
  await checkRow(["another folder", other, "incomplete", "ambiguous-archive"]);
  const between = concat([saved(GOOD), new Uint8Array(3), saved(GOOD)]);
  await checkRow(["bytes between", between, "incomplete", "ambiguous-archive"]);
  const cut = concat([saved(GOOD).subarray(1), saved(GOOD)]);
  await checkRow(["a cut one", cut, "incomplete"]);
});

test("a directory that only offsets from the start of the file lead to", async () => {
  const signatureAt = (bytes: Uint8Array, signature: string): number =>
    new TextDecoder("latin1").decode(bytes).lastIndexOf(signature);
  const last = saved(GOOD);
  for (const signature of ["PK\x01\x02", "PK\x06\x06"]) {
    const target =
      signature === "PK\x01\x02"
        ? new TextDecoder("latin1").decode(last).indexOf(signature)
        : signatureAt(last, signature);
    const data = new Uint8Array(2000);
    const probe = torchFile({ "data/0": data.fill(1), "data.pkl": GOOD }, "archive");
    const start = new TextDecoder("latin1").decode(probe).indexOf("\x01\x01\x01\x01\x01\x01\x01\x01");
    data.fill(0).set(new TextEncoder().encode(signature), target - start);
    const first = torchFile({ "data/0": data, "data.pkl": assemble("NONE", "STOP") }, "archive");
    await checkRow([signature, concat([first, last]), "incomplete", "ambiguous-archive"]);
    const harmless = torchFile({ "data/0": data.fill(0), "data.pkl": assemble("NONE", "STOP") }, "archive");
    await checkRow(["nothing there", concat([harmless, last]), "clean"]);
  }
});

test("such a file is named where a checkpoint is wanted", async () => {
  const file = concat([saved(GOOD), saved(GOOD)]);
  await assert.rejects(
    openTorch(fromBytes(file)),
    raises("UNSUPPORTED", /torch\.distributed\.checkpoint, with 2 archives/),
  );
  const tiny = concat(Array.from({ length: 3 }, () => concat([assemble(), uint(4, 0)])));
  await assert.rejects(openTorch(fromBytes(tiny)));
});
