import type { Answer } from "./http-server.ts";
import { good, status } from "./http-server.ts";

/** Answers for files by their path, encoded as in the request and without the query; `missing`, a status, for all others. */
export function folder(files: Readonly<Record<string, Uint8Array>>, missing = 404): Answer {
  const byPath = new Map(Object.entries(files));
  return (exchange) => {
    const bytes = byPath.get(exchange.request.url!.replace(/\?.*/, ""));
    if (!bytes) return status(missing)(exchange);
    const [, last = "Infinity"] = /^bytes=\d+-(\d+)$/.exec(exchange.request.headers.range ?? "") ?? [];
    const end = Math.min(Number(last) + 1, bytes.length);
    good({ ...exchange, file: { ...exchange.file, bytes }, end });
  };
}
