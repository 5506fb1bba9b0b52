export { type HubAddress, type HubRepoType, parseHubAddress } from "./address.ts";
export { hubStore, openHub } from "./open.ts";
export {
  type Environment,
  endpointFromEnvironment,
  type HubOptions,
  tokenFromEnvironment,
} from "./options.ts";
export { hubPlace } from "./place.ts";
