import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { open, openStore, parseIndex, SafetensorsError } from "safetensors.js";
import { openS3, s3Store } from "safetensors.js/s3";
import { compareTensor } from "../compare.mjs";
import { sha256 } from "../python.mjs";
import { changeObjects } from "./server.mjs";

/** A key with all that needs care in an address. */
const ODD_KEY = "odd/ a+b%20c%41é😀//x'(~)!*&=;?#,$@:.safetensors";

/** More names than the server lists on one page. */
const MANY = Array.from({ length: 25 }, (_, i) => `file ${String(i).padStart(3, "0")}+é`);

const access = ({ endpoint, region, accessKeyId, secretAccessKey }) => ({
  endpoint,
  region,
  credentials: { accessKeyId, secretAccessKey },
  retry: { tries: 3, firstWait: 50 },
});

/** Uploads with boto3 what the later steps read. */
export function upload(report, { server, folder }) {
  const file = join(folder, "model.safetensors");
  const small = join(folder, "small");
  writeFileSync(small, "x");
  writeFileSync(join(folder, "empty"), "");
  const shards = [
    "model.safetensors.index.json",
    ...[1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`),
  ];
  const printed = changeObjects(server, [
    { bucket: "models" },
    { put: "one.safetensors", file },
    { put: "parts.safetensors", file, parts: true },
    { put: ODD_KEY, file },
    { put: "empty", file: join(folder, "empty") },
    ...shards.map((name) => ({ put: `sharded/${name}`, file: join(folder, "sharded", name), parts: true })),
    ...MANY.map((name) => ({ put: `many/${name}`, file: small })),
    ...MANY.map((name) => ({ put: `many/${name}/below`, file: small })),
  ]);
  report.check("the large object is sent in several parts", Number(printed.split("\n")[0]) > 1, printed);
}

/** Objects sent whole and in parts, under plain and odd keys: every tensor, and parts of tensors. */
export async function readObjects(report, { server, expected }) {
  const { tensors, parts } = expected.single;
  for (const key of ["one.safetensors", "parts.safetensors", ODD_KEY]) {
    await report.try(key, async () => {
      const checkpoint = await open(await openS3(`s3://models/${key}`, access(server)));
      report.equal(`${key}: metadata`, checkpoint.metadata, new Map([["format", "np"]]));
      report.equal(`${key}: number of tensors`, checkpoint.size, tensors.length);
      for (const tensor of tensors) await compareTensor(report, key, checkpoint, tensor);
      for (const { name, index, sha256: hash } of parts) {
        const part = await checkpoint
          .get(name)
          .slice(...parseIndex(index))
          .bytes();
        report.equal(`${key}: ${name}[${index}]`, sha256(part), hash);
      }
    });
  }
  const empty = await openS3("s3://models/empty", access(server));
  report.equal("an empty object", empty.size, 0);
}

/** A sharded checkpoint, opened through its store. */
export async function readStore(report, { server, expected }) {
  const { tensors } = expected.sharded;
  for (const address of ["s3://models/sharded/", "s3://models/sharded"]) {
    const checkpoint = await openStore(s3Store(address, access(server)));
    report.equal(`${address}: number of tensors`, checkpoint.size, tensors.length);
    for (const tensor of tensors) await compareTensor(report, address, checkpoint, tensor);
  }
}

/** Names in a bucket, on one page and on several. */
export async function listNames(report, { server }) {
  const list = async (address) => [...(await s3Store(address, access(server)).list())].sort();
  report.equal("the top of the bucket", await list("s3://models"), [
    "empty",
    "one.safetensors",
    "parts.safetensors",
  ]);
  report.equal("names on several pages", await list("s3://models/many/"), MANY);
  const cut = ODD_KEY.lastIndexOf("/") + 1;
  report.equal("below an odd prefix", await list(`s3://models/${ODD_KEY.slice(0, cut)}`), [
    ODD_KEY.slice(cut),
  ]);
  report.equal("below nothing", await list("s3://models/nothing/"), []);
}

/** The server says which region it is in to those who sign for another. */
export async function findRegion(report, { server, expected }) {
  for (const region of [undefined, "us-west-2"]) {
    const store = s3Store("s3://models/", { ...access(server), region });
    const checkpoint = await open(await store.open("one.safetensors"));
    report.equal(`signed for ${region}: number of tensors`, checkpoint.size, expected.single.tensors.length);
    report.check(`signed for ${region}: list`, (await store.list()).length > 0);
  }
}

/** What the server refuses, and how it is told. */
export async function refuse(report, { server }) {
  const options = access(server);
  const withKeys = (keys) => ({ ...options, credentials: { ...options.credentials, ...keys } });
  const cases = [
    ["no such key", "s3://models/nothing", options, "NOT_FOUND", /"NoSuchKey"/],
    ["no such bucket", "s3://nothing/one.safetensors", options, "NOT_FOUND", /"NoSuchBucket"/],
    [
      "another secret",
      "s3://models/one.safetensors",
      withKeys({ secretAccessKey: "wrong" }),
      "IO",
      /secret access key/,
    ],
    [
      "another user",
      "s3://models/one.safetensors",
      withKeys({ accessKeyId: "test:nobody" }),
      "IO",
      /403|Signature|Key/,
    ],
    [
      "no signature",
      "s3://models/one.safetensors",
      { ...options, credentials: undefined },
      "IO",
      /was not signed/,
    ],
  ];
  for (const [name, address, how, code, message] of cases) {
    const error = await openS3(address, how).then(
      () => undefined,
      (reason) => reason,
    );
    const ok = error instanceof SafetensorsError && error.code === code && message.test(error.message);
    report.check(name, ok, String(error));
    report.check(`${name}: no secret is shown`, !error?.message.includes("testing"), String(error));
  }
}

/** An object that is overwritten or deleted while it is read. */
export async function notice(report, { server, folder }) {
  const put = { put: "one.safetensors", file: join(folder, "model.safetensors") };
  const smaller = {
    put: "one.safetensors",
    file: join(folder, "sharded", "model-00001-of-00003.safetensors"),
  };
  for (const [name, change, code] of [
    ["overwritten by a shorter one", smaller, "SOURCE_CHANGED"],
    ["deleted", { delete: "one.safetensors" }, "NOT_FOUND"],
  ]) {
    changeObjects(server, [put]);
    const checkpoint = await open(await openS3("s3://models/one.safetensors", access(server)));
    changeObjects(server, [change]);
    const tensor = checkpoint.get("wide");
    const found = await tensor.bytes().then(
      () => "read",
      (error) => error.code,
    );
    report.equal(name, found, code);
  }
  changeObjects(server, [{ put: "two", file: join(folder, "model.safetensors") }]);
  const source = await openS3("s3://models/two", access(server));
  const changed = join(folder, "changed");
  writeFileSync(changed, await source.read(0, source.size).then((bytes) => bytes.fill(1, 1_000_000)));
  changeObjects(server, [{ put: "two", file: changed }]);
  const found = await source.read(2_000_000, 10).then(
    () => "read",
    (error) => error.code,
  );
  report.equal("overwritten by one of the same length", found, "SOURCE_CHANGED");
}
