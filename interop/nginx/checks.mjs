/** What has to become of the reads of a case: all are right. */
export const RIGHT = { opens: true, may: [] };

/** The file is not opened, with this error. */
export const noOpening = (code) => ({ opens: false, must: [code] });

/** It is opened, and reads fail, all with one of these errors; the others are right. */
export const someFail = (...codes) => ({ opens: true, must: codes });

/** Reads are right or fail with one of these errors. */
export const mayFail = (...codes) => ({ opens: true, may: codes });

/** Holds what became of the reads against what was expected. */
export function checkOutcome(report, { key, expect, statuses = [], check }, outcome, requests, size) {
  report.equal(`${key}: neither right nor an error of ours`, outcome.wrong, []);
  report.equal(`${key}: opens`, outcome.opened, expect.opens);
  const codes = [...outcome.codes.keys()];
  const allowed = expect.must ?? expect.may;
  report.equal(
    `${key}: errors`,
    codes.filter((code) => !allowed.includes(code)),
    [],
  );
  if (expect.must) report.check(`${key}: fails`, codes.length > 0);
  else if (expect.may.length === 0) report.check(`${key}: reads something`, outcome.right > 0);
  for (const status of statuses) {
    report.check(
      `${key}: status ${status} was seen`,
      requests.some((request) => request.status === status),
    );
  }
  check?.({ report, key, requests, size });
}

export function takesOneRequest({ report, key, requests }) {
  report.equal(`${key}: requests`, requests.length, 1);
}

/** One for the header, one for the tensor, which is read whole and alone. */
export function takesTwoRequests({ report, key, requests }) {
  report.equal(`${key}: requests`, requests.length, 2);
}

/** The first request brings the first bytes; no byte of all tensors is asked for again. */
export function readsNothingTwice({ report, key, requests, size }) {
  const bytes = requests.reduce((sum, request) => sum + request.bytes, 0);
  report.equal(`${key}: bytes`, bytes, size);
}

/** It goes on where it was cut off. */
export function takesManyRequests({ report, key, requests }) {
  report.check(`${key}: takes many requests`, requests.length > 4, String(requests.length));
}

export function neverKeeps({ report, key, requests }) {
  const connections = new Set(requests.map(({ connection }) => connection));
  report.equal(`${key}: connections`, connections.size, requests.length);
}

/** Headers of the user come to the first server, each time, and never to the second. */
export const keepsSecrets =
  (second) =>
  ({ report, key, requests }) => {
    const secrets = requests.map((request) => [request.port === second, request.authorization, request.key]);
    const expected = secrets.map(([isSecond]) =>
      isSecond ? [true, "", ""] : [false, `Basic ${btoa("user:secret")}`, "secret key"],
    );
    report.equal(`${key}: user's headers`, secrets, expected);
    report.check(
      `${key}: reaches the second server`,
      secrets.some(([isSecond]) => isSecond),
    );
  };
