import { openUrl, type UrlOptions } from "./http.ts";
import { parseUrl } from "./http-request.ts";
import type { FileStore, StorePlace } from "./store.ts";

/**
 * The folder on a web server that an address lies in. Files beside it are asked for with the same query, which may hold a
 * key to the folder. A web server has no list of its files. The address of a folder ends with a slash.
 *
 * @param options for every file that is opened: see `openUrl`.
 * @throws `IO` for what is no http or https address
 */
export function urlPlace(url: string | URL, options: UrlOptions = {}): StorePlace {
  const address = parseUrl(String(url));
  const [, folder, last] = /^(.*\/)([^/]*)$/.exec(address.pathname)!;
  const file = decode(last!);
  const store: FileStore = {
    name: address.origin + folder,
    open(name, { signal = options.signal } = {}) {
      const beside = new URL(address);
      // The address that was given stays as it is: it may be signed.
      if (name !== file) beside.pathname = folder + encodeURIComponent(name);
      return openUrl(beside, { ...options, signal });
    },
  };
  return file === "" ? { store } : { store, file };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
