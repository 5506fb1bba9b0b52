import { changingCases, replace, slices, soon } from "./cases-changing.mjs";
import * as check from "./checks.mjs";
import { mayFail, noOpening, RIGHT, someFail } from "./checks.mjs";
import { readOne, readTogether, readWithPauses } from "./reading.mjs";
import { pause } from "./server.mjs";

const SECRETS = { Authorization: `Basic ${btoa("user:secret")}`, "X-Key": "secret key" };

/**
 * The cases. Each has a location of its name on each server, with these directives, and a file of its own.
 *
 * - `options`: of `openUrl`; `read`: what to read, see reading.mjs, instead of everything.
 * - `afterOpen(file, nginx)`: what happens when the header has been read.
 * - `expect`, `check`: see checks.mjs; `statuses`: what nginx must have answered at least once.
 */
export function casesFor(ports) {
  const upstream = (fault) => `proxy_pass http://127.0.0.1:${ports.upstream}/${fault}/;`;
  return [
    ...plainCases(),
    ...unsuitableCases(),
    ...troubledCases(),
    ...accessCases(ports, upstream),
    ...proxyCases(ports, upstream),
    ...changingCases(ports.behind),
  ];
}

const plainCases = () => [
  { key: "plain", expect: RIGHT, statuses: [206] },
  { key: "one-tensor", expect: RIGHT, read: readOne, check: check.takesTwoRequests },
  { key: "all-tensors", expect: RIGHT, read: readTogether, check: check.readsNothingTwice },
  { key: "etag-off", first: "etag off;", expect: RIGHT },
  { key: "directio", first: "directio 1m; sendfile off; output_buffers 1 32k;", expect: RIGHT },
  { key: "keepalive-off", first: "keepalive_requests 1;", expect: RIGHT, check: check.neverKeeps },
  { key: "keepalive-short", first: "keepalive_timeout 20ms;", expect: RIGHT, read: readWithPauses },
  { key: "slow", first: "limit_rate 3m;", expect: RIGHT },
  // The pauses of nginx are longer than the patience: each attempt gets some bytes, the next goes on behind them.
  {
    key: "slow-impatient",
    first: "limit_rate 200k;",
    expect: RIGHT,
    options: { patience: 150 },
    read: readOne,
    check: check.takesManyRequests,
  },
  { key: "gzip-not-asked", first: gzip, expect: RIGHT },
];

const gzip = "gzip on; gzip_types application/octet-stream;";
const asksForGzip = (url, init) => {
  const headers = new Headers(init.headers);
  headers.set("accept-encoding", "gzip");
  return fetch(url, { ...init, headers });
};

const unsuitableCases = () => [
  { key: "no-ranges", first: "max_ranges 0;", expect: someFail("UNSUPPORTED"), statuses: [200] },
  {
    key: "no-ranges-small",
    first: "max_ranges 0;",
    expect: RIGHT,
    options: { firstRead: 1 << 24 },
    check: check.takesOneRequest,
  },
  { key: "gzip-asked", first: gzip, expect: noOpening("UNSUPPORTED"), options: { fetch: asksForGzip } },
  { key: "gzip-always", first: "gzip_static always;", expect: noOpening("UNSUPPORTED") },
  {
    key: "rewritten",
    first: "sub_filter_types *; sub_filter 'never to be found' '';",
    expect: noOpening("UNSUPPORTED"),
  },
  { key: "missing", first: "root nowhere;", expect: noOpening("NOT_FOUND"), statuses: [404] },
  { key: "page-instead", first: "try_files /nowhere /index.html;", expect: noOpening("NOT_SAFETENSORS") },
];

/** However long it takes. */
const patient = { retry: { tries: 200, firstWait: 10, longestWait: 60 } };

const troubledCases = () => [
  {
    key: "limited-requests",
    first: "limit_req zone=requests burst=2 nodelay; limit_req_status 429; add_header Retry-After 1 always;",
    expect: RIGHT,
    statuses: [429],
    options: patient,
  },
  {
    key: "limited-connections",
    first: "limit_rate 8m; limit_conn connections 1; limit_conn_status 503;",
    expect: RIGHT,
    statuses: [503],
    options: patient,
  },
  {
    key: "limited-for-long",
    first: "limit_req zone=rare; limit_req_status 503;",
    expect: someFail("IO"),
    statuses: [503],
    options: { retry: { tries: 2, firstWait: 1 } },
  },
  {
    key: "faults",
    first: "if ($luck = error) { return 500; } if ($luck = silence) { return 444; }",
    expect: RIGHT,
    options: { retry: { tries: 20, firstWait: 1, longestWait: 20 } },
  },
  // New workers come, and the old ones end what they are at; then nginx ends at once, and is away for a while.
  ...["reload", "restart"].map((action) => ({
    key: action,
    first: "limit_rate 3m;",
    expect: RIGHT,
    options: patient,
    afterOpen: soon((_, nginx) => nginx[action]()),
  })),
];

const accessCases = ({ second, upstream: signer }, upstream) => {
  const redirect = `return 302 http://127.0.0.1:${second}$request_uri;`;
  const sign = (key) => `proxy_pass http://127.0.0.1:${signer}/sign/${second}/${key}/;`;
  const signed = (expired) =>
    `if ($secure_link = "") { return 400; } if ($secure_link = "0") { return ${expired}; }`;
  const basic = "auth_basic closed; auth_basic_user_file users;";
  const expiry = { expect: RIGHT, afterOpen: () => pause(2100), options: { headers: SECRETS } };
  return [
    { key: "password", first: basic, expect: RIGHT, options: { headers: SECRETS } },
    { key: "no-password", first: basic, expect: noOpening("IO"), statuses: [401] },
    {
      key: "redirect",
      first: redirect,
      expect: RIGHT,
      options: { headers: SECRETS },
      check: check.keepsSecrets(second),
    },
    {
      // nginx writes variables like $uri into Location as they are: in UTF-8, with spaces.
      key: "redirect-unescaped",
      first: `return 302 "http://127.0.0.1:${second}/redirect-unescaped/für alle";`,
      second: 'rewrite "/für alle$" /redirect-unescaped/model.safetensors break;',
      expect: RIGHT,
      statuses: [302, 206],
    },
    { key: "key-and-accel", first: upstream("accel"), expect: RIGHT, options: { headers: SECRETS } },
    ...[403, 410].map((status) => ({
      key: `signed-${status}`,
      first: sign(`signed-${status}`),
      second: signed(status),
      ...expiry,
      statuses: [302, 206, status],
      check: check.keepsSecrets(second),
    })),
    ...[
      [403, "IO"],
      [410, "NOT_FOUND"],
    ].map(([status, code]) => ({
      key: `expired-${status}-always`,
      first: sign(`expired-${status}-always`),
      second: signed(status),
      expect: noOpening(code),
      check: check.takesTwoRequests,
    })),
  ];
};

const proxyCases = ({ behind }, upstream) => [
  ...["cut-head", "cut-body", "cut-unsaid"].flatMap((fault) =>
    ["on", "off"].map((buffering) => ({
      key: `${fault}-buffering-${buffering}`,
      first: `${upstream(fault)} proxy_buffering ${buffering};`,
      expect: RIGHT,
      options: patient,
      statuses: fault === "cut-head" ? [502, 206] : [206],
    })),
  ),
  ...["stall-head", "stall-body"].map((fault) => ({
    key: fault,
    first: `${upstream(fault)} proxy_read_timeout 200ms;`,
    expect: RIGHT,
    read: readTogether,
    options: patient,
    statuses: fault === "stall-head" ? [504, 206] : [206],
  })),
  {
    key: "forced-ranges",
    first: `${upstream("whole")} proxy_force_ranges on;`,
    expect: RIGHT,
    statuses: [206],
  },
  {
    key: "cached",
    first: `proxy_pass http://127.0.0.1:${behind}; proxy_cache cache; proxy_cache_valid any 1h;`,
    expect: RIGHT,
    // What is in the cache stays as it was.
    afterOpen: (file) => pause(300).then(() => replace(file)),
  },
  {
    key: "sliced",
    first: slices(`proxy_pass http://127.0.0.1:${behind};`),
    expect: RIGHT,
    read: readTogether,
    check: check.readsNothingTwice,
  },
  // Were the upstream not to announce lengths, nginx 1.22 would join cut slices without a gap: one answer with the bytes
  // of two places, which nobody can tell from a right one.
  { key: "sliced-cut", first: slices(upstream("cut-body"), "1m"), expect: mayFail("IO", "SOURCE_CHANGED") },
  // Each mirror has the file under another date, so nginx gives it another ETag.
  { key: "mirrors", first: "root $mirror;", expect: mayFail("SOURCE_CHANGED") },
];
