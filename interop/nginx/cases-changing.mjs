import { readFileSync, renameSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { mayFail, someFail } from "./checks.mjs";

/** Bytes that the first request brings. */
const HEAD = 128 << 10;

/** In seconds since 1970. */
const OTHER_DATE = 1.6e9;

/**
 * Files that change between requests, and in the middle of one; see `casesFor` for the fields. One that is overwritten in
 * its place is no case: nginx sends the new bytes in the answer that it began with the old ETag.
 */
export function changingCases(behind) {
  const changes = someFail("SOURCE_CHANGED");
  const slow = "limit_rate 1m;";
  const proxied = `proxy_pass http://127.0.0.1:${behind};`;
  return [
    { key: "replaced", expect: changes, afterOpen: replace },
    { key: "replaced-etag-off", first: "etag off;", expect: changes, afterOpen: replace },
    { key: "replaced-while-reading", first: slow, expect: changes, afterOpen: soon(replace) },
    // nginx goes on with the file that it has open, until it looks again.
    {
      key: "replaced-while-open",
      first: `${slow} open_file_cache max=9; open_file_cache_valid 1s;`,
      expect: mayFail("SOURCE_CHANGED"),
      afterOpen: soon(replace),
    },
    { key: "replaced-behind-slices", first: slices(proxied), expect: changes, afterOpen: replace },
    { key: "truncated", expect: changes, afterOpen: truncate },
    ...["on", "off"].map((sendfile) => ({
      key: `truncated-while-reading-sendfile-${sendfile}`,
      first: `${slow} sendfile ${sendfile};`,
      expect: changes,
      afterOpen: soon(truncate),
    })),
    // nginx still believes in the old length.
    {
      key: "truncated-while-open",
      first: "open_file_cache max=9; open_file_cache_valid 1h;",
      expect: someFail("IO"),
      afterOpen: truncate,
      options: { retry: { tries: 3, firstWait: 1 } },
    },
    { key: "emptied", expect: changes, afterOpen: (file) => truncateSync(file, 0) },
    { key: "grown", expect: changes, afterOpen: (file) => writeFileSync(file, "more", { flag: "a" }) },
    {
      key: "removed",
      expect: someFail("NOT_FOUND"),
      statuses: [404],
      afterOpen: (file) => renameSync(file, `${file}.gone`),
    },
  ];
}

/** The slice module: parts of the file are cached, each for itself. */
export function slices(proxyPass, size = "512k") {
  return `slice ${size}; ${proxyPass} proxy_cache slices; proxy_cache_key $uri$slice_range;
      proxy_set_header Range $slice_range; proxy_cache_valid 200 206 1h;`;
}

/** Another file of the same size and with the same header takes the place of this one; what has it open keeps it. */
export function replace(file) {
  const next = `${file}.next`;
  const bytes = readFileSync(file);
  for (let at = HEAD; at < bytes.length; at++) bytes[at] ^= 255;
  writeFileSync(next, bytes);
  // nginx makes the ETag of the size and the time, in seconds.
  utimesSync(next, OTHER_DATE, OTHER_DATE);
  renameSync(next, file);
}

/** What is left has the first tensors. */
function truncate(file) {
  truncateSync(file, 3_000_000);
}

/** The change comes in the middle of the reads, which have to be slow. */
export function soon(change) {
  return (...args) => {
    setTimeout(change, 300, ...args);
  };
}
