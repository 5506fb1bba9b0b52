import { checkShardFileName } from "../checkpoint/shard-index.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { openUrl } from "../source/http.ts";
import type { ByteSource, ReadOptions } from "../source/source.ts";
import type { FileStore } from "../source/store.ts";
import { formatHubAddress, type HubAddress, parseHubAddress } from "./address.ts";
import { isCommit, namesIn, readFolder, readRevision } from "./listing.ts";
import type { HubOptions } from "./options.ts";
import { advised, HubRepository } from "./repository.ts";

/**
 * Opens one file of the Hub, such as `hf://org/model@main/model.safetensors`: one request, as with `openUrl`. The commit
 * that the Hub answers with is kept to, whatever happens to the branch meanwhile (browsers hide it; there, as everywhere,
 * the file's ETag is kept to).
 *
 * @throws `NOT_FOUND` for a repository, revision or file that is not there; `IO` for an address that is none, for what
 *   the Hub refuses (it says what to do) and for what servers answer; `SOURCE_CHANGED`; `UNSUPPORTED`
 */
export async function openHub(address: string, options: HubOptions = {}): Promise<ByteSource> {
  const parsed = parseHubAddress(address);
  const { repo, path, revision = "main" } = parsed;
  if (path === "") {
    const advice = `for a file of a model without an organisation, write hf://name@main/file; for all files, use hubStore`;
    throw new SafetensorsError(
      "IO",
      `${quote(address)} names the repository ${repo} and no file in it: ${advice}`,
    );
  }
  const repository = new HubRepository(parsed, options);
  const start = repository.fileUrl(revision, path);
  const send = repository.fetchFor(path);
  let pinned = start;
  const pinning = async (url: string, init: RequestInit): Promise<Response> => {
    const response = await send(url === start ? pinned : url, init);
    const commit = response.headers.get("x-repo-commit");
    if (pinned === start && isCommit(commit) && repository.isOwn(response, url)) {
      pinned = repository.fileUrl(commit, path);
    }
    return response;
  };
  return advised(openUrl(start, repository.urlOptions(pinning)));
}

/**
 * A repository of the Hub, or a folder in it, as a place with files: `hf://org/model@main/folder`. The revision is
 * looked up once, by a request that also brings the list of files; everything is then read from that commit.
 *
 * @throws `NOT_FOUND` for a repository, revision or folder that is not there; `IO` for an address that is none, for what
 *   the Hub refuses (it says what to do) and for answers that make no sense; `UNSUPPORTED`; `LIMIT_EXCEEDED`
 */
export async function hubStore(address: string, options: HubOptions = {}): Promise<FileStore> {
  const parsed = parseHubAddress(address);
  const repository = new HubRepository(parsed, options);
  const { commit, files } = await readRevision(repository, options);
  const { path: folder } = parsed;
  if (folder !== "" && files && !files.some((file) => file.startsWith(`${folder}/`))) {
    throw new SafetensorsError(
      "NOT_FOUND",
      `${quote(address)}: the repository has no folder ${quote(folder)}`,
    );
  }
  return new HubStore(repository, commit, files && namesIn(folder, files), options);
}

class HubStore implements FileStore {
  readonly name: string;
  readonly #repository: HubRepository;
  /** The repository's address with the commit for its revision. */
  readonly #address: HubAddress;
  readonly #commit: string;
  /** The files of the folder, where the Hub's answer had them all. */
  readonly #names: ReadonlySet<string> | undefined;
  readonly #options: HubOptions;

  constructor(
    repository: HubRepository,
    commit: string,
    names: ReadonlySet<string> | undefined,
    options: HubOptions,
  ) {
    this.#repository = repository;
    this.#commit = commit;
    this.#address = { ...repository.address, revision: commit };
    this.#names = names;
    this.#options = options;
    this.name = formatHubAddress(this.#address);
  }

  async list({ signal }: ReadOptions = {}): Promise<readonly string[]> {
    const { path } = this.#address;
    if (this.#names) return [...this.#names];
    const options = { ...this.#options, signal };
    return [...namesIn(path, await readFolder(this.#repository, this.#commit, path, options))];
  }

  async open(file: string, { signal }: ReadOptions = {}): Promise<ByteSource> {
    checkShardFileName(file);
    if (this.#names && !this.#names.has(file)) {
      throw new SafetensorsError("NOT_FOUND", `${this.name} has no file ${quote(file)}`, { file });
    }
    const { path: folder } = this.#address;
    const path = folder === "" ? file : `${folder}/${file}`;
    const options = this.#repository.urlOptions(this.#repository.fetchFor(path));
    return advised(openUrl(this.#repository.fileUrl(this.#commit, path), { ...options, signal }));
  }
}
