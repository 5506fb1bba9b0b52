/** What a file is, after all of it was looked at. `incomplete`: something in it was not understood, so nobody can say. */
export type Verdict = "clean" | "dangerous" | "incomplete";

/** How a finding counts: the verdict is that of the worst one, and notes do not count. */
export type Severity = "dangerous" | "incomplete" | "note";

/** A kind of finding, as a word a program can match. A code never changes its meaning; new ones may be added. */
export type FindingCode =
  | "forbidden-global"
  | "extension-code"
  | "keras-lambda"
  | "keras-module"
  | "unknown-global"
  | "indirect-load"
  | "hidden-name"
  | "indirect-call"
  | "made-class"
  | "constructor-call"
  | "function-call"
  | "allocation"
  | "odd-codec"
  | "malformed-pickle"
  | "odd-protocol"
  | "newer-opcode"
  | "memo-overwritten"
  | "outside-buffer"
  | "persistent-id"
  | "several-pickles"
  | "bytes-after-end"
  | "storage-size"
  | "ambiguous-archive"
  | "archive-after-data"
  | "salvaged-member"
  | "member-outside-root"
  | "case-variants"
  | "crc-mismatch"
  | "contains-code"
  | "compressed"
  | "keras-custom"
  | "not-understood"
  | "not-downloaded"
  | "malformed-file"
  | "limit"
  | "unreadable"
  | "holds-no-code";

/** What can be found: how it counts, and what it means. */
export const FINDINGS: Readonly<Record<FindingCode, readonly [severity: Severity, meaning: string]>> = {
  "forbidden-global": [
    "dangerous",
    "The pickle names something that no checkpoint needs and that can do harm",
  ],
  "extension-code": ["dangerous", "The pickle asks for a registered extension, which can stand for any name"],
  "keras-lambda": ["dangerous", "The Keras configuration holds Python bytecode"],
  "keras-module": ["dangerous", "The Keras configuration names a module that can do harm"],
  "unknown-global": ["incomplete", "The pickle names something that nobody vouches for"],
  "indirect-load": ["incomplete", "The pickle can load another pickle in a way that cannot be followed"],
  "hidden-name": ["incomplete", "The pickle asks for a name that cannot be followed"],
  "indirect-call": [
    "incomplete",
    "The pickle calls or changes what a call returned, or keeps such a call for later",
  ],
  "made-class": ["incomplete", "The pickle makes a class"],
  "constructor-call": [
    "incomplete",
    "The pickle runs a constructor with arguments that honest pickles do not give",
  ],
  "function-call": ["incomplete", "The pickle calls a function of tensors, which honest ones only name"],
  allocation: ["incomplete", "The pickle takes as much memory as a number in it says"],
  "odd-codec": ["incomplete", "The pickle decodes text in an unusual way"],
  "malformed-pickle": [
    "incomplete",
    "The pickle breaks the rules of the format, or Python's readers disagree about it",
  ],
  "odd-protocol": ["incomplete", "The pickle's protocol is announced twice, late, or is not known"],
  "newer-opcode": ["incomplete", "The pickle uses opcodes that are newer than its protocol"],
  "memo-overwritten": ["incomplete", "The pickle overwrites what it has memorized"],
  "outside-buffer": ["incomplete", "The pickle wants a buffer from outside the file"],
  "persistent-id": ["incomplete", "The pickle refers to something outside of it that is no storage"],
  "several-pickles": ["note", "The file holds several pickles in a row"],
  "bytes-after-end": ["incomplete", "Bytes follow the end of the pickle that are not accounted for"],
  "storage-size": ["incomplete", "The data of a storage is missing or has another size than the pickle says"],
  "ambiguous-archive": ["incomplete", "The archive is damaged, or readers could see different members"],
  "archive-after-data": ["incomplete", "A ZIP archive is appended to another file"],
  "salvaged-member": ["note", "A member of a damaged archive was found by its signature"],
  "member-outside-root": ["incomplete", "The archive has members beside its folder"],
  "case-variants": ["incomplete", "Two members differ in upper and lower case only"],
  "crc-mismatch": ["incomplete", "A member does not have its checksum"],
  "contains-code": [
    "incomplete",
    "The archive contains code that loading may run: TorchScript, modules of Python or libraries",
  ],
  compressed: ["incomplete", "Compressed data that was not unpacked"],
  "keras-custom": ["incomplete", "The Keras configuration has a Lambda layer or a class of its own"],
  "not-understood": ["incomplete", "The format is not one that the scanner understands"],
  "not-downloaded": ["incomplete", "The file is a placeholder or a server's answer"],
  "malformed-file": ["incomplete", "The file breaks the rules of its format"],
  limit: ["incomplete", "A limit of the scanner was reached"],
  unreadable: ["incomplete", "The file could not be read"],
  "holds-no-code": ["note", "The file is of a kind from which loading runs nothing"],
};

/** One thing that was found. */
export interface Finding {
  readonly code: FindingCode;
  readonly severity: Severity;
  /** One sentence. Names in it are quoted and escaped. */
  readonly message: string;
  /** The file, as its source is called. */
  readonly file: string;
  /** The member of the file, from the outside in: `["model.mar", "model/data.pkl"]`. Empty for the file itself. */
  readonly member: readonly string[];
  /** Byte at which it is, counted from the start of the innermost member. */
  readonly at?: number;
  /** The same, from the start of the file; not there if the bytes lie in it in another form. */
  readonly fileOffset?: number;
  /** The opcode there, and what it acts on. */
  readonly opcode?: string;
  /** The Python name in question, in the spelling of today's Python. */
  readonly global?: string;
}
