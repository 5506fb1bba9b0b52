import { quote, SafetensorsError } from "../errors.ts";
import type { StorePlace } from "../source/store.ts";
import { formatHubAddress, parseHubAddress } from "./address.ts";
import { hubStore, openHub } from "./open.ts";
import type { HubOptions } from "./options.ts";

/**
 * What an address of the Hub leads to, for `openStore`: a file (its name has a dot), or a repository or folder. A file of
 * weights is opened without asking for anything else; an index brings its folder, of which the commit is looked up.
 *
 * @throws what `hubStore` throws
 */
export async function hubPlace(address: string, options: HubOptions = {}): Promise<StorePlace> {
  const parsed = parseHubAddress(address);
  const [, folder, file] = /^(?:(.*)\/)?([^/]*\.[^/]*)$/.exec(parsed.path) ?? [];
  if (file === undefined) return { store: await hubStore(address, options) };
  if (file.endsWith(".json")) {
    return { store: await hubStore(formatHubAddress({ ...parsed, path: folder ?? "" }), options), file };
  }
  const store = {
    name: address,
    async open(name: string) {
      if (name === file) return openHub(address, options);
      throw new SafetensorsError("NOT_FOUND", `${quote(address)} names one file, not ${quote(name)}`);
    },
  };
  return { store, file };
}
