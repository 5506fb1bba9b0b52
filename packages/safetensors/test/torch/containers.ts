import { concat } from "../support.ts";
import { assemble, uint } from "./pickle/assembler.ts";
import { call, global, type Plain, push, strided, tuple } from "./torch-file.ts";

/** A pickle of protocol 2. */
export function pickleOf(value: Plain): Uint8Array<ArrayBuffer> {
  return assemble("PROTO", 2, push(value), "STOP");
}

/** The number that begins a legacy file. */
export const MAGIC: Uint8Array<ArrayBuffer> = assemble(
  "LONG1",
  10,
  Uint8Array.of(0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19),
);

/** A storage of a legacy file: the persistent id of six parts. */
export function legacyStorage(
  key: Plain = "1",
  length: Plain = 12,
  view: Plain = null,
  className = "torch.FloatStorage",
): Uint8Array<ArrayBuffer> {
  return assemble(tuple("storage", global(className), key, "cpu", length, view), "BINPERSID");
}

/** A tensor of shape [3, 4] in such a storage. */
export function legacyTensor(storage: Plain = legacyStorage()): Uint8Array<ArrayBuffer> {
  return call(
    "torch._utils._rebuild_tensor_v2",
    ...strided({ storage }),
    false,
    call("collections.OrderedDict"),
  );
}

interface LegacyParts {
  readonly magic?: Plain;
  readonly version?: Plain;
  readonly machine?: Plain;
  readonly object?: Plain;
  readonly keys?: Plain;
  /** Of each storage: the number of elements that is written, and its data. */
  readonly storages?: readonly (readonly [count: number, data: Uint8Array])[];
  readonly after?: Uint8Array;
}

/** A legacy file; with one storage of 48 bytes and the tensor `x` unless said otherwise. */
export function legacyFile(parts: LegacyParts = {}): Uint8Array<ArrayBuffer> {
  return concat([
    pickleOf(parts.magic ?? MAGIC),
    pickleOf(parts.version ?? 1001),
    pickleOf(parts.machine ?? { protocol_version: 1001, little_endian: true }),
    pickleOf(parts.object ?? { x: legacyTensor() }),
    pickleOf(parts.keys ?? ["1"]),
    ...(parts.storages ?? [[12, new Uint8Array(48)]]).flatMap(([count, data]) => [uint(8, count), data]),
    parts.after ?? new Uint8Array(0),
  ]);
}

/** A member of a tar archive; what is not given is as Python writes it. */
export interface TarMember {
  readonly name: string | Uint8Array;
  readonly data?: Uint8Array;
  readonly size?: number;
  readonly type?: string;
  readonly prefix?: string;
  readonly magic?: string;
  readonly checksum?: number;
}

/** A tar archive, with two blocks of zeros at its end. */
export function tarFile(
  members: readonly TarMember[],
  end: Uint8Array = new Uint8Array(1024),
): Uint8Array<ArrayBuffer> {
  return concat([
    ...members.flatMap((member) => [tarHeader(member), padded(member.data ?? new Uint8Array(0))]),
    end,
  ]);
}

function tarHeader(member: TarMember): Uint8Array {
  const header = new Uint8Array(512);
  const put = (at: number, text: string): void =>
    void new TextEncoder().encodeInto(text, header.subarray(at));
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
  if (typeof member.name === "string") put(0, member.name);
  else header.set(member.name);
  put(100, "0000644\0");
  put(124, octal(member.size ?? member.data?.length ?? 0, 11));
  put(136, octal(0, 11));
  put(156, member.type ?? "0");
  put(257, member.magic ?? "ustar\0" + "00");
  put(345, member.prefix ?? "");
  const sum = header.reduce((total, byte) => total + byte, 8 * 0x20);
  put(148, `${octal(member.checksum ?? sum, 6)}\0 `);
  return header;
}

function padded(data: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(Math.ceil(data.length / 512) * 512);
  blocks.set(data);
  return blocks;
}

/** The properties of a member: lines of `length key=value`. */
export function tarProperties(...properties: readonly (readonly [key: string, value: string])[]): Uint8Array {
  const lines = properties.map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const length = rest.length + String(rest.length + 2).length;
    return `${length}${rest}`;
  });
  return new TextEncoder().encode(lines.join(""));
}
