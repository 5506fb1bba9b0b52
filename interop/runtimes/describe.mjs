/** SHA-256 in hex, in any runtime. */
export async function sha256(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The whole file at an address. */
export async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** All tensors of a checkpoint, by name, as plain data. */
export async function describe(checkpoint) {
  const tensors = [];
  for (const { name, dtype, shape, bytes } of (await checkpoint.load()).values()) {
    tensors.push({ name, dtype, shape: [...shape], sha256: await sha256(bytes) });
  }
  await checkpoint.close();
  return sorted(tensors);
}

/** In the order of their names, by UTF-16 units as JavaScript compares them. */
export function sorted(tensors) {
  return tensors.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Runs all checks, one after the other: name -> `{ value }`, or `{ error }` with what was thrown. */
export async function runChecks(checks, context) {
  const results = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      results[name] = { value: await check(context) };
    } catch (error) {
      results[name] = { error: String(error?.stack ?? error) };
    }
  }
  return results;
}
