import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SafetensorsError } from "../../src/errors.ts";
import { fromBytes } from "../../src/source/memory.ts";
import { openZip, type ZipArchive } from "../../src/zip/archive.ts";
import { MemberHeads } from "../../src/zip/heads.ts";
import { fixture } from "../fixtures.ts";
import { concat, raises } from "../support.ts";
import { buildZip, type End, fields, type Member, sparseZip } from "./zip-builder.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const A: Member = { name: "root/a", data: bytes("first") };
const B: Member = { name: "root/b", data: bytes("second member") };

async function open(members: readonly Member[], end?: End): Promise<ZipArchive> {
  return openZip(fromBytes(buildZip(members, end)));
}

/** Names and data of all members, found through each of the two ways. */
async function contents(archive: ZipArchive): Promise<[string, string][]> {
  const offsets = await archive.dataOffsets();
  const found: [string, string][] = [];
  for (const name of archive.names()) {
    const entry = archive.find(name)!;
    const offset = await archive.dataOffset(entry);
    assert.equal(offsets[entry.row], offset);
    const data = await archive.source.read(offset, entry.compressedSize);
    found.push([name, new TextDecoder().decode(data)]);
  }
  return found;
}

test("members are found with their data", async () => {
  const expected = [
    ["root/a", "first"],
    ["root/b", "second member"],
  ];
  const ends: End[] = [
    {},
    { zip64: true },
    { comment: bytes("made by hand") },
    { zip64: true, comment: bytes("x") },
  ];
  for (const end of ends) assert.deepEqual(await contents(await open([A, B], end)), expected);
  const archive = await open([A, B]);
  assert.equal(archive.size, 2);
  assert.equal(archive.find("root/c"), undefined);
  assert.equal(archive.find("__proto__"), undefined);
});

test("names with breaks of lines are names like others, and do not hide one that is unsafe", async () => {
  const odd = ["root/a\nb", "root/\r", "root/\u2028/c", "root/ü"].map((name) => ({
    name,
    data: bytes(name),
    flags: 0x800,
  }));
  assert.deepEqual(
    await contents(await open([A, ...odd, B])),
    [A, ...odd, B].map(({ name, data }) => [name, new TextDecoder().decode(data as Uint8Array)]),
  );
  for (const name of ["root/../x", "..", "root/a\n/../b", "a\\b"])
    for (const others of [
      [A, B],
      [A, ...odd, B],
    ])
      await assert.rejects(
        open([...others, { ...B, name }]),
        raises("INVALID_ARCHIVE", /unsafe member name/),
      );
});

test("names of line breaks do not make a list of as many names", async (context) => {
  const { mock } = context.mock.method(String.prototype, "split");
  await open([A, { name: `root/b${"\n".repeat(1000)}b`, data: bytes("") }]);
  const lengths = mock.calls.map(({ result }) => (result as unknown as string[]).length);
  assert.deepEqual(lengths, [3]);
});

test("an archive without members", async () => {
  assert.deepEqual(await contents(await open([])), []);
  assert.deepEqual(await contents(await open([], { zip64: true })), []);
});

test("members as torch writes them: sizes in a data descriptor, padding before the data, nothing after empty ones", async () => {
  const local = {
    crc32: 0,
    size: 0,
    compressedSize: 0,
    extra: new Uint8Array([0x46, 0x42, 2, 0, 0x5a, 0x5a]),
  };
  const described = (member: Member, length: number): Member => ({
    ...member,
    flags: 0x0808,
    local,
    after: new Uint8Array(length),
  });
  const empty: Member = { name: "root/empty", local };
  for (const length of [12, 16, 20, 24]) {
    const archive = await open([described(A, length), empty, described(B, length)], { zip64: true });
    assert.deepEqual(
      (await contents(archive)).map(([, data]) => data),
      ["first", "", "second member"],
    );
  }
  for (const length of [0, 1, 13, 30]) {
    const archive = await open([described(A, length), B]);
    await assert.rejects(
      archive.dataOffset(archive.find("root/a")!),
      raises("INVALID_ARCHIVE", /leaves \d+ bytes/),
    );
  }
});

test("names in UTF-8, folders, comments of members, foreign extra fields", async () => {
  const members: Member[] = [
    { name: "root/", comment: bytes("a folder"), attributes: 0x10 },
    { name: "root/层😀", data: bytes("x"), extra: fields([2, 0x5455], [2, 1], [2, 7]).subarray(0, 5) },
    { name: "root/\ufeffbom" },
  ];
  const names = (await contents(await open(members))).map(([name]) => name);
  assert.deepEqual(names, ["root/", "root/层😀", "root/\ufeffbom"]);
});

test("the directory may have another order than the file", async () => {
  const empty = { name: "root/0" };
  const found = await contents(await open([A, empty, B], { order: [2, 0, 1] }));
  assert.deepEqual(found, [
    ["root/b", "second member"],
    ["root/a", "first"],
    ["root/0", ""],
  ]);
});

test("archives of more than 4 GiB", async () => {
  const GiB = 2 ** 30;
  const large: Member = {
    name: "root/large",
    data: 5 * GiB,
    local: {
      size: 0xffffffff,
      compressedSize: 0xffffffff,
      extra: fields([2, 1], [2, 16], [8, 5 * GiB], [8, 5 * GiB]),
    },
  };
  const asTorch: Member = {
    name: "root/torch",
    data: 6 * GiB,
    flags: 0x0808,
    local: { crc32: 0, size: 0, compressedSize: 0 },
    after: new Uint8Array(24),
  };
  const source = sparseZip([A, large, asTorch, B], { zip64: true });
  const archive = await openZip(source);
  const last = archive.find("root/b")!;
  assert.ok(last.headerOffset > 11 * GiB);
  assert.equal(
    new TextDecoder().decode(await source.read(await archive.dataOffset(last), last.size)),
    "second member",
  );
  assert.equal(archive.find("root/large")!.size, 5 * GiB);
  assert.equal((await archive.dataOffsets())[1], await archive.dataOffset(archive.find("root/large")!));
  const wrong = { ...large, local: { ...large.local, extra: fields([2, 1], [2, 16], [8, 1], [8, 5 * GiB]) } };
  const other = await openZip(sparseZip([wrong, B], { zip64: true }));
  await assert.rejects(other.dataOffsets(), raises("INVALID_ARCHIVE", /other sizes/));
});

/** A member whose local header leaves its sizes to a ZIP64 field, behind such fields as Info-ZIP writes, or others. */
const wide = (member: Member, before: Uint8Array, ...sizes: (readonly [8, number])[]): Member => {
  const extra = concat([before, fields([2, 1], [2, 8 * sizes.length], ...sizes)]);
  return { ...member, local: { size: 0xffffffff, compressedSize: 0xffffffff, extra } };
};
const TIMES = fields([2, 0x5455], [2, 8], [8, 7], [2, 0x7875], [2, 8], [8, 7]);

test("the ZIP64 field of a local header may come after others, and after what is read first", async () => {
  const far = fields([2, 0x4646], [2, 2000], ...Array.from({ length: 250 }, () => [8, 7] as const));
  for (const before of [new Uint8Array(0), TIMES, far]) {
    const members = [wide(A, before, [8, 5], [8, 5]), wide(B, before, [8, 13], [8, 13])];
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const found = new Map(await contents(await open(members, { order })));
      assert.deepEqual([found.get("root/a"), found.get("root/b")], ["first", "second member"]);
    }
    const heads = new MemberHeads(2, 5);
    const archive = await open(members);
    assert.deepEqual(await archive.dataOffsets(heads), await archive.dataOffsets());
    for (const row of [0, 1]) {
      const head = heads.of(row, 5);
      if (head) assert.equal(new TextDecoder().decode(head), row === 0 ? "first" : "secon");
    }
  }
});

test("a ZIP64 field of a local header that can be read in two ways, or is another one, is refused", async () => {
  const twice = concat([TIMES, fields([2, 1], [2, 16], [8, 13], [8, 13])]);
  for (const [member, message] of [
    [wide(B, twice, [8, 13], [8, 13]), /two ZIP64 fields/],
    [wide(B, TIMES, [8, 12], [8, 13]), /other sizes/],
    [wide(B, TIMES, [8, 13], [8, 12]), /other sizes/],
    [wide(B, TIMES, [8, 13]), /other sizes/],
    [wide(B, TIMES, [8, 13], [8, 13], [8, 0]), /other sizes/],
    [wide(B, fields([2, 9], [2, 99]), [8, 13], [8, 13]), /runs over its end/],
    [wide(B, fields([2, 0x7075], [2, 0]), [8, 13], [8, 13]), /second name/],
  ] as const) {
    const archive = await open([A, member]);
    await assert.rejects(archive.dataOffset(archive.find("root/b")!), raises("INVALID_ARCHIVE", message));
    await assert.rejects(archive.dataOffsets(), raises("INVALID_ARCHIVE", message));
  }
});

test("near headers are read together", async () => {
  const members = Array.from({ length: 1000 }, (_, index) => ({ name: `root/${index}`, data: 100 }));
  const source = sparseZip(members);
  await (await openZip(source)).dataOffsets();
  assert.ok(source.reads < 10, `${source.reads} reads`);
});

test("the first bytes of members are read along with their headers", async () => {
  const near = [
    A,
    { name: "root/short", data: new Uint8Array([7]) },
    { name: "root/empty", data: new Uint8Array(0) },
  ];
  const far = [{ name: "root/large", data: 1 << 20 }, B];
  const source = sparseZip([...near, ...far]);
  const archive = await openZip(source);
  const reads = source.reads;
  const heads = new MemberHeads(archive.size, 4);
  const offsets = await archive.dataOffsets(heads);
  assert.equal(source.reads - reads, 2);
  for (const row of archive.order) {
    const length = Math.min(4, archive.entry(row).size);
    assert.deepEqual(heads.of(row, length), await source.read(offsets[row]!, length), archive.names()[row]);
    if (length < 4) assert.equal(heads.of(row, length + 1), undefined);
  }
});

test("when a header is wrong, the others are not read", async () => {
  const members = Array.from({ length: 100 }, (_, index) => ({ name: `root/${index}`, data: 1 << 20 }));
  const last = { ...A, local: { name: "root/x" } };
  const source = sparseZip([...members, last]);
  const archive = await openZip(source);
  await assert.rejects(archive.dataOffsets(), raises("INVALID_ARCHIVE"));
  const reads = source.reads;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(source.reads <= reads + 8, `${source.reads - reads} more reads`);
});

test("torch's own archives", async () => {
  const archive = await openZip(fromBytes(fixture("torch/dtypes.pt")));
  const offsets = await archive.dataOffsets();
  for (const offset of offsets) assert.equal(offset % 64, 0);
  const version = archive.find("dtypes/version")!;
  assert.equal(version.size, 2);
});

/** Archives that two readers could read in two ways, or that a reader may not open at all. */
const REFUSED: Record<string, [members: readonly Member[], end: End, code?: "UNSUPPORTED"]> = {
  "bytes after the end": [[A], { after: bytes("x") }],
  "a comment longer than the file": [[A], { classic: { commentLength: 1 } }],
  "a comment shorter than what follows": [[A], { comment: bytes("xx"), classic: { commentLength: 1 } }],
  "a second end record in the comment": [[A], { comment: buildZip([B]) }],
  "the signature of an end record in the comment": [[A], { comment: bytes("PK\x05\x06") }],
  "an end record before the end record": [[A], { between: buildZip([]).fill(22, 20, 21) }],
  "bytes before the first member": [[A], { before: bytes("MZ stub") }],
  "bytes between directory and end": [[A], { between: bytes("hidden") }],
  "too many entries announced": [[A], { classic: { count: 2 } }],
  "too few entries announced": [[A, B], { classic: { count: 1 } }],
  "an impossible number of entries": [
    [A],
    { zip64: true, record: { count: 2 ** 40, countOnDisk: 2 ** 40 }, classic: { count: 0xffff } },
  ],
  "an entry on another disk": [[{ ...A, disk: 1 }], {}],
  "a directory elsewhere": [[A], { classic: { offset: 0 } }],
  "a directory of another size": [[A], { classic: { size: 10 } }],
  "ZIP64 with another count": [[A], { zip64: true, classic: { count: 0 } }],
  "ZIP64 with another size": [[A], { zip64: true, record: { size: 1 } }],
  "ZIP64 with another offset": [[A], { zip64: true, record: { offset: 1 } }],
  "ZIP64 with an offset above 2^53": [[A], { zip64: true, record: { offset: 2 ** 60 } }],
  "a ZIP64 record elsewhere": [[A], { zip64: true, locator: { offset: 0 } }],
  "a ZIP64 record of another size": [[A], { zip64: true, record: { recordSize: 45 } }],
  "a ZIP64 record without a locator": [
    [A],
    { between: new Uint8Array(buildZip([A], { zip64: true }).subarray(-98, -42)) },
  ],
  "several disks": [[A], { classic: { disk: 1 } }, "UNSUPPORTED"],
  "several disks by count": [[A], { classic: { countOnDisk: 0 } }, "UNSUPPORTED"],
  "several disks by the locator": [[A], { zip64: true, locator: { disks: 2 } }, "UNSUPPORTED"],
  "several disks by the ZIP64 record": [[A], { zip64: true, record: { disk: 1 } }, "UNSUPPORTED"],
  "the same name twice": [[A, { ...B, name: A.name }], {}],
  "one member under two names": [[A, { ...A, name: "root/c", headerOffset: 0, data: new Uint8Array(0) }], {}],
  "a member that overlaps the next": [[{ ...A, size: 6, compressedSize: 6 }, B], {}],
  "a member that overlaps the directory": [[{ ...A, size: 6, compressedSize: 6 }], {}],
  "two sizes for stored data": [[{ ...A, size: 4 }], {}],
  "a member that is marked as a folder": [[{ ...A, attributes: 0x10 }], {}],
  "a folder with data": [[{ ...A, name: "root/" }], {}],
  "an absolute name": [[{ ...A, name: "/etc/passwd" }], {}],
  "a name that climbs": [[{ ...A, name: "root/../../x" }], {}],
  "a name that ends in a climb": [[{ ...A, name: "root/.." }], {}],
  "a name with a dot alone": [[{ ...A, name: "root/./x" }], {}],
  "a name with an empty part": [[{ ...A, name: "root//x" }], {}],
  "an empty name": [[{ ...A, name: "" }], {}],
  "a name with a backslash": [[{ ...A, name: "root\\x" }], {}],
  "a name with NUL": [[{ ...A, name: "root/a\0.txt" }], {}],
  "a name that is not UTF-8": [[{ ...A, name: new Uint8Array([0x72, 0xff]) }], {}],
  "a name whose encoding is not said": [[{ ...A, name: "ä", flags: 0 }], {}],
  "a name in an extra field": [[{ ...A, extra: fields([2, 0x7075], [2, 0]) }], {}],
  "an extra field over its end": [[{ ...A, extra: fields([2, 9], [2, 1]) }], {}],
  "half an extra field": [[{ ...A, extra: bytes("xyz") }], {}],
  "a ZIP64 field that nothing refers to": [[{ ...A, extra: fields([2, 1], [2, 8], [8, 5]) }], {}],
  "two ZIP64 fields": [[{ ...A, extra: fields([2, 1], [2, 0], [2, 1], [2, 0]) }], {}],
  "an encrypted member": [[{ ...A, flags: 0x0801 }], {}, "UNSUPPORTED"],
  "an encrypted directory": [[{ ...A, flags: 0x2800 }], {}, "UNSUPPORTED"],
  "an unknown flag": [[{ ...A, flags: 0x8800 }], {}, "UNSUPPORTED"],
  "an unknown method": [[{ ...A, method: 12 }], {}, "UNSUPPORTED"],
};

for (const [what, [members, end, code]] of Object.entries(REFUSED)) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(open(members, end), raises(code ?? "INVALID_ARCHIVE"));
  });
}

/** Local headers that say something else than the directory. */
const CONTRADICTIONS: Record<string, Member> = {
  "no signature": { ...A, local: { signature: 0x02014b50 } },
  "another name": { ...A, local: { name: "root/x" } },
  "a longer name": { ...A, local: { name: "root/aa" } },
  "another method": { ...A, local: { method: 8 } },
  "other flags": { ...A, local: { flags: 0 } },
  "another size": { ...A, local: { size: 4 } },
  "another compressed size": { ...A, local: { compressedSize: 4 } },
  "another CRC": { ...A, local: { crc32: 1 } },
  "sizes of zero without a descriptor": { ...A, local: { size: 0, compressedSize: 0, crc32: 0 } },
  "sizes in a ZIP64 field that is not there": {
    ...A,
    local: { size: 0xffffffff, compressedSize: 0xffffffff },
  },
  "bytes behind the data": { ...A, after: bytes("hidden") },
};

for (const [what, member] of Object.entries(CONTRADICTIONS)) {
  test(`refused when its place is asked for: a local header with ${what}`, async () => {
    const archive = await open([member, B]);
    const entry = archive.find("root/a")!;
    await assert.rejects(
      archive.dataOffset(entry),
      raises("INVALID_ARCHIVE", /the local header of "root\/a"/),
    );
    await assert.rejects(archive.dataOffsets(), raises("INVALID_ARCHIVE", /the local header of "root\/a"/));
  });
}

test("no archive: nothing, a few bytes, other files", async () => {
  for (const content of [new Uint8Array(0), bytes("PK"), bytes("PK\x05\x06"), new Uint8Array(70_000)]) {
    await assert.rejects(openZip(fromBytes(content)), raises("INVALID_ARCHIVE"));
  }
});

test("an archive that is cut anywhere is refused", async () => {
  const whole = buildZip([A, B], { zip64: true });
  for (let length = 0; length < whole.length; length++) {
    await assert.rejects(openZip(fromBytes(whole.subarray(0, length))), raises("INVALID_ARCHIVE"));
  }
});

test("a changed byte gives the same members or one of our errors", async () => {
  const whole = buildZip([A, B], { zip64: true, comment: bytes("comment") });
  const before = await contents(await openZip(fromBytes(whole)));
  const change = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(change, async (changes) => {
      const damaged = whole.slice();
      for (const [at, value] of changes) damaged[at] = value;
      try {
        const found = await contents(await openZip(fromBytes(damaged)));
        assert.equal(found.length, before.length);
      } catch (error) {
        if (!(error instanceof SafetensorsError)) throw error;
      }
    }),
    { seed: 42, numRuns: 2000 },
  );
});
