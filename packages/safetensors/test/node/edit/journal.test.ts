import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../../src/errors.ts";
import { editFileOn } from "../../../src/node/edit/edit-file.ts";
import { finishEdits } from "../../../src/node/edit/journal-finish.ts";
import { groupJournalOf, journalOf } from "../../../src/node/edit/journal-look.ts";
import { ownOwner, ownsJournal } from "../../../src/node/edit/journal-owner.ts";
import { openFile } from "../../../src/node/file-source.ts";
import { saveFile } from "../../../src/node/write/save-file.ts";
import { crc32 } from "../../../src/zip/crc32.ts";
import { fileAround, handMade, raises, temporaryFolder } from "../../support.ts";
import { dyingDisk } from "./dying-disk.ts";

const root = temporaryFolder();
const posix = { skip: process.platform === "win32" };
let folders = 0;
let file = "";
let before: Buffer;
beforeEach(async () => {
  const folder = join(root, String(folders++));
  mkdirSync(folder);
  file = join(folder, "model.safetensors");
  const weights = { dtype: "U8", shape: [1000], data: new Uint8Array(1000) } as const;
  await saveFile(file, { w: weights }, { reserve: 1000 });
  before = readFileSync(file);
});

const CHANGES = { setMetadata: { key: "x".repeat(900) } };

/** Dies when the journal is there and half of the header is written. */
async function interrupt(): Promise<void> {
  const whole = dyingDisk(Number.POSITIVE_INFINITY);
  await editFileOn(whole, file, CHANGES, {});
  writeFileSync(file, before);
  const steps = whole.steps.lastIndexOf("write");
  const half = dyingDisk(steps, (fd, bytes, offset) => {
    whole.write(fd, bytes.subarray(0, 512), offset);
  });
  await assert.rejects(
    editFileOn(half, file, CHANGES, {}),
    raises("IO", /interrupted.*will be finished/, { file }),
  );
  assert.ok(existsSync(journalOf(file)));
}

const openIt = async (): Promise<void> => (await openFile(file)).close();

describe("a journal of an interrupted edit", () => {
  it("is finished through links, and by name alone", posix, async () => {
    await interrupt();
    const link = join(root, `link${folders}`);
    symlinkSync(file, link);
    await (await openFile(link)).close();
    assert.match(readFileSync(file, "latin1"), /x{900}/);
    assert.deepEqual(readdirSync(join(file, "..")), ["model.safetensors"]);
  });

  it("is not followed where the file was written to since", async () => {
    await interrupt();
    const changed = readFileSync(file);
    changed[700] = 0x21;
    writeFileSync(file, changed);
    await assert.rejects(
      openIt(),
      raises("SOURCE_CHANGED", /has been written to, at byte 512; if it is whole/, { file }),
    );
    writeFileSync(file, changed.subarray(1));
    await assert.rejects(openIt(), raises("SOURCE_CHANGED", /bytes by now/));
    assert.ok(existsSync(journalOf(file)));
  });

  it("is litter where another file has taken the place", async () => {
    await interrupt();
    const other = handMade({ w: { dtype: "U8", shape: [1], data: Uint8Array.of(7) } });
    writeFileSync(`${file}.new`, other);
    renameSync(`${file}.new`, file);
    await openIt();
    assert.deepEqual(new Uint8Array(readFileSync(file)), other);
    assert.deepEqual(readdirSync(join(file, "..")), ["model.safetensors"]);
  });

  it("is not followed for a copy of the file, unless that is asked for", async () => {
    await interrupt();
    const folder = join(root, `copy${folders}`);
    cpSync(join(file, ".."), folder, { recursive: true });
    file = join(folder, "model.safetensors");
    const half = readFileSync(file);
    await assert.rejects(
      openIt(),
      raises("IO", /^IO: [^:]* is a copy of a file in the middle of an edit.*--finish/, { file }),
    );
    assert.deepEqual(readFileSync(file), half);
    await finishEdits(file, { force: true });
    assert.match(readFileSync(file, "latin1"), /x{900}/);
    assert.deepEqual(readdirSync(folder), ["model.safetensors"]);
  });

  it("is litter where the file was put there again", async () => {
    await interrupt();
    writeFileSync(`${file}.new`, before);
    renameSync(`${file}.new`, file);
    await openIt();
    assert.deepEqual(readFileSync(file), before);
    assert.deepEqual(readdirSync(join(file, "..")), ["model.safetensors"]);
  });

  it("is refused under the name of another user", posix, async () => {
    if (process.geteuid?.() !== 0) return;
    await interrupt();
    chownSync(journalOf(file), 12345, 12345);
    await assert.rejects(openIt(), raises("IO", /another user \(12345\)/, { file }));
    chownSync(file, 12345, 12345);
    await openIt();
  });

  it("cannot be finished where the file may not be written, and that is said", posix, async () => {
    await interrupt();
    for (const one of [root, join(file, "..")]) chmodSync(one, 0o755);
    for (const one of [file, journalOf(file)]) chmodSync(one, 0o444);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid!(65_534);
    try {
      const said = isRoot ? /another user|cannot be finished here/ : /cannot be finished here.*open it once/;
      await assert.rejects(openIt(), raises("IO", said, { file }));
    } finally {
      if (isRoot) process.seteuid!(0);
    }
    chmodSync(file, 0o644);
    await openIt();
  });

  it("is waited for while its edit is under way", async () => {
    await interrupt();
    let opened = false;
    let waiting: Promise<void> | undefined;
    await ownsJournal(journalOf(file), async () => {
      waiting = openIt().then(() => {
        opened = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
      assert.ok(!opened);
    });
    await waiting;
    assert.match(readFileSync(file, "latin1"), /x{900}/);
  });

  it("does not stop one who opens another file", async () => {
    await interrupt();
    renameSync(journalOf(file), groupJournalOf(file));
    const other = join(file, "..", "other.safetensors");
    writeFileSync(other, handMade({}));
    await (await openFile(other)).close();
    assert.ok(existsSync(groupJournalOf(file)));
    await openIt();
    assert.ok(!existsSync(groupJournalOf(file)));
  });
});

/** Lets `file` have a journal with this content, and opens it. */
async function withJournal(parts: {
  files?: unknown;
  owner?: unknown;
  format?: string;
  tensors?: object;
  data?: Uint8Array;
}): Promise<void> {
  const { files = [{ name: "model.safetensors", size: before.length, inode: String(statSync(file).ino) }] } =
    parts;
  const metadata = {
    format: parts.format ?? "safetensors.js journal 1",
    owner: JSON.stringify(parts.owner ?? { ...ownOwner(), writer: "0-0-00000000-000000000000" }),
    files: JSON.stringify(files),
  };
  const header = JSON.stringify({ __metadata__: metadata, ...parts.tensors });
  writeFileSync(journalOf(file), fileAround(header, parts.data ?? new Uint8Array(516)));
  await openIt();
}

describe("a hostile journal", () => {
  const after = (offset: string | number, begin = 4, end = 516) => ({
    [`0.after.${offset}`]: { dtype: "U8", shape: [end - begin], data_offsets: [begin, end] },
  });
  const sums = (offset: string | number) => ({
    [`0.before.${offset}`]: { dtype: "U32", shape: [1], data_offsets: [0, 4] },
  });

  it("is refused, and the file left as it is", async () => {
    const refused: [string, Parameters<typeof withJournal>[0]][] = [
      ["no tensors for its data", {}],
      ["another format", { format: "x", tensors: { ...sums(0), ...after(0) } }],
      ["no owner", { owner: {}, tensors: { ...sums(0), ...after(0) } }],
      ["an owner of no form", { owner: { writer: "x", thread: 0 }, tensors: { ...sums(0), ...after(0) } }],
      ["an offset inside a sector", { tensors: { ...sums(1), ...after(1) } }],
      ["a range beyond the end", { tensors: { ...sums(2048), ...after(2048) } }],
      [
        "a range far beyond the end",
        { tensors: { ...sums("9007199254740992"), ...after("9007199254740992") } },
      ],
      ["no sums", { tensors: { ...sums(512), ...after(0) } }],
      [
        "too few sums",
        { tensors: { "0.before.0": { dtype: "U32", shape: [0], data_offsets: [0, 0] }, ...after(0, 0) } },
      ],
      [
        "a name of no range",
        { tensors: { ...sums(0), x: { dtype: "U8", shape: [512], data_offsets: [4, 516] } } },
      ],
      ["a file that is not named", { files: [], tensors: { ...sums(0), ...after(0) } }],
      ["no list of files", { files: {}, tensors: { ...sums(0), ...after(0) } }],
      [
        "a path",
        {
          files: [{ name: "../model.safetensors", size: 9, inode: "1" }],
          tensors: { ...sums(0), ...after(0) },
        },
      ],
      [
        "a size of no number",
        { files: [{ name: "x", size: "9", inode: "1" }], tensors: { ...sums(0), ...after(0) } },
      ],
    ];
    for (const [what, parts] of refused) {
      await assert.rejects(withJournal(parts), raises("IO", /not valid/, { file: journalOf(file) }), what);
      assert.deepEqual(readFileSync(file), before, what);
    }
  });

  it("does not write what the file's old content does not agree with", async () => {
    const tensors = { ...sums(0), ...after(0) };
    await assert.rejects(withJournal({ tensors }), raises("SOURCE_CHANGED", /byte 0/));
    assert.deepEqual(readFileSync(file), before);
  });

  it("must be of the file whose name it has", async () => {
    const files = [{ name: "x", size: 9999, inode: "1" }];
    const journal = withJournal({ files, tensors: { ...sums(0), ...after(0) } });
    await assert.rejects(journal, raises("IO", /an edit of another file/, { file: journalOf(file) }));
  });

  it("does no harm when its bytes are changed at random", async () => {
    await interrupt();
    const [half, journal] = [readFileSync(file), readFileSync(journalOf(file))];
    const { ino } = statSync(file);
    await openIt();
    const finished = readFileSync(file);
    const length = 8 + Number(journal.readBigUInt64LE());
    const change = fc.record({ at: fc.nat(length - 1), byte: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const mutant = Buffer.from(journal);
        for (const { at, byte } of changes) mutant[at] = byte;
        writeFileSync(file, half);
        writeFileSync(journalOf(file), mutant);
        await openIt().catch((error: unknown) => assert.ok(error instanceof SafetensorsError, String(error)));
        const now = readFileSync(file);
        assert.ok(now.equals(half) || now.equals(finished));
      }),
      { seed: 42, numRuns: 100 },
    );
    assert.equal(statSync(file).ino, ino);
  });

  it("does not lead through a link in the folder", posix, async () => {
    const outside = join(root, `outside${folders}`);
    writeFileSync(outside, new Uint8Array(512));
    symlinkSync(outside, join(file, "..", "link"));
    const files = ["model.safetensors", "link"].map((name) => {
      const { size, ino } = statSync(join(file, "..", name));
      return { name, size, inode: String(ino) };
    });
    const tensors = {
      "1.before.0": { dtype: "U32", shape: [1], data_offsets: [0, 4] },
      "1.after.0": { dtype: "U8", shape: [512], data_offsets: [4, 516] },
    };
    const data = new Uint8Array(516).fill(1);
    new DataView(data.buffer).setUint32(0, crc32(new Uint8Array(512)), true);
    await assert.rejects(withJournal({ files, tensors, data }), raises("IO", /cannot be finished here/));
    assert.deepEqual(new Uint8Array(readFileSync(outside)), new Uint8Array(512));
  });

  it("is refused if it is no plain file", posix, async () => {
    mkdirSync(journalOf(file));
    await assert.rejects(openIt(), raises("IO", /not a file/));
    const other = join(file, "..", "linked.safetensors");
    linkSync(file, other);
    symlinkSync(file, journalOf(other));
    await assert.rejects(openFile(other), raises("IO", /cannot open|not a file/));
    const third = join(file, "..", "piped.safetensors");
    linkSync(file, third);
    execFileSync("mkfifo", [journalOf(third)]);
    await assert.rejects(openFile(third), raises("IO", /not a file/));
  });
});
