import { quote, SafetensorsError } from "../errors.ts";

/** What the head of an answer to a range request says. */
export interface RangeAnswer {
  /** Where the range ends: what was asked for, or the end of the file. */
  readonly end: number;
  /** Bytes of the whole file. */
  readonly total: number;
  /** What identifies this version of the file, see `versionOf`. */
  readonly version: string | undefined;
}

/**
 * Reads the head of the first answer of a server, to a request for the first `length` bytes: here it may have no more
 * bytes than that (416 for an empty file), or not serve ranges and send everything (200).
 *
 * @throws `IO`; `UNSUPPORTED` when the server sends everything and does not say how much that is
 */
export function readFirstAnswer({ status, headers }: Response, name: string, length: number): RangeAnswer {
  if (status === 206) return readRangeAnswer(headers, name, 0, length);
  const version = versionOf(headers);
  if (status === 416) {
    if (readRefusedTotal(headers) === 0) return { end: 0, total: 0, version };
    throw new SafetensorsError("IO", `${name} refuses to send its first bytes (status 416)`);
  }
  const total = readNumber(headers.get("content-length"));
  if (total === undefined || isEncoded(headers)) throw noRanges(name);
  return { end: Math.min(total, length), total, version };
}

/**
 * Reads the head of a 206 answer and checks that it is what was asked for, as far as the file goes (RFC 9110, 15.3.7).
 *
 * @throws `IO` when it is another range, or does not say how long the file is
 */
export function readRangeAnswer(headers: Headers, name: string, start: number, end: number): RangeAnswer {
  const written = headers.get("content-range");
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(written?.trim() ?? "");
  const [first, last, total] = (match ?? []).slice(1).map(Number);
  if (first === undefined || last === undefined || !Number.isSafeInteger(total)) {
    const hint = "without Content-Range (a browser hides it unless the server exposes it)";
    const what = written === null ? hint : `with the range ${quote(written)}`;
    throw new SafetensorsError("IO", `${name} answered ${what} when asked for byte ${start}`, { at: start });
  }
  const expected = Math.min(end, total!);
  if (first !== start || last + 1 !== expected) {
    const text = `${name} was asked for bytes ${start} to ${expected} and answered with ${first} to ${last + 1}`;
    throw new SafetensorsError("IO", text, { at: start });
  }
  if (isEncoded(headers)) {
    throw new SafetensorsError("IO", `${name} sends parts of the file compressed`, { at: start });
  }
  const length = headers.get("content-length");
  if (length !== null && readNumber(length) !== expected - start) {
    const text = `${name} announces ${quote(length)} bytes for a range of ${expected - start}`;
    throw new SafetensorsError("IO", text, { at: start });
  }
  return { end: expected, total: total!, version: versionOf(headers) };
}

/** Bytes of the file according to a 416 answer (RFC 9110, 15.5.17), where it says so. */
export function readRefusedTotal(headers: Headers): number | undefined {
  return readNumber(/^bytes \*\/(\d+)$/i.exec(headers.get("content-range")?.trim() ?? "")?.[1]);
}

/**
 * What identifies a version of a file. A weak ETag says that two versions mean the same, not that their bytes are the
 * same, so the date joins it; without an ETag (a browser may hide it) the date alone has to do.
 */
export function versionOf(headers: Headers): string | undefined {
  const etag = headers.get("etag");
  if (etag && !etag.startsWith("W/")) return etag;
  return [etag, headers.get("last-modified")].filter((part) => part !== null).join(" ") || undefined;
}

/** Milliseconds that the server asks to wait (RFC 9110, 10.2.3): it gives seconds or a date. */
export function retryAfter(headers: Headers, now: number): number {
  const value = headers.get("retry-after") ?? "";
  const wait = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Math.max(wait, 0) || 0;
}

/** The error for a server that has only whole files. */
export function noRanges(name: string): SafetensorsError {
  const text = `${name} comes from a server that does not send parts of files: download it and open the copy`;
  return new SafetensorsError("UNSUPPORTED", text, { kind: "no-ranges" });
}

function readNumber(text: string | null | undefined): number | undefined {
  const value = /^\d+$/.test(text ?? "") ? Number(text) : undefined;
  return Number.isSafeInteger(value) ? value : undefined;
}

function isEncoded(headers: Headers): boolean {
  return (headers.get("content-encoding") ?? "identity") !== "identity";
}
