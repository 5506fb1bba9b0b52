import { closeSync, openSync, truncateSync, writeSync } from "node:fs";

/**
 * Writes a PyTorch file with F32 tensors of this many zeros each, as torch.save does. The zeros take no room on disks
 * that know sparse files, so that it may be large.
 */
export function writeTorchFile(path: string, tensors: Readonly<Record<string, number>>): void {
  const members: Member[] = [{ name: "data.pkl", size: 0, data: stateDictPickle(tensors) }];
  for (const [index, length] of Object.values(tensors).entries()) {
    members.push({ name: `data/${index}`, size: length * 4 });
  }
  members.push({ name: "version", size: 0, data: Buffer.from("3\n") });
  writeZip(path, members);
}

interface Member {
  readonly name: string;
  /** Size of a member of zeros. */
  readonly size: number;
  readonly data?: Buffer;
}

function writeZip(path: string, members: readonly Member[]): void {
  const file = openSync(path, "w");
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, size: zeros, data } of members) {
    const fileName = Buffer.from(`archive/${name}`);
    const size = data?.length ?? zeros;
    // Version, flags, method, time and date, checksum (none, as torch can be told to), sizes, lengths.
    const fields = Buffer.alloc(26);
    fields.writeUInt32LE(size, 14);
    fields.writeUInt32LE(size, 18);
    fields.writeUInt16LE(fileName.length, 22);
    const local = Buffer.concat([Buffer.from("PK\x03\x04"), fields, fileName]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    directory.push(Buffer.from("PK\x01\x02\0\0", "latin1"), fields, rest, fileName);
    writeSync(file, data ? Buffer.concat([local, data]) : local, 0, null, at);
    at += local.length + size;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(listing.length, 12);
  end.writeUInt32LE(at, 16);
  closeSync(file);
  truncateSync(path, at);
  const tail = openSync(path, "r+");
  writeSync(tail, Buffer.concat([listing, end]), 0, null, at);
  closeSync(tail);
}

/** Pickle protocol 2 of a dict of tensors, each with a storage of its own. */
function stateDictPickle(tensors: Readonly<Record<string, number>>): Buffer {
  const text = (value: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(Buffer.byteLength(value));
    return Buffer.concat([Buffer.from("X"), length, Buffer.from(value)]);
  };
  const int = (value: number): Buffer => {
    const bytes = Buffer.alloc(5);
    bytes.write("J");
    bytes.writeInt32LE(value, 1);
    return bytes;
  };
  const parts: (string | Buffer)[] = ["\x80\x02}("];
  for (const [index, [name, length]] of Object.entries(tensors).entries()) {
    parts.push(text(name), "ctorch._utils\n_rebuild_tensor_v2\n(");
    parts.push(
      "(",
      text("storage"),
      "ctorch\nFloatStorage\n",
      text(`${index}`),
      text("cpu"),
      int(length),
      "tQ",
    );
    parts.push(int(0), "(", int(length), "t(", int(1), "t\x89ccollections\nOrderedDict\n)RtR");
  }
  parts.push("u.");
  return Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)));
}
