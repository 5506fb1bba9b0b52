import { pools } from "./pools.mjs";
import { portable } from "./portable.mjs";
import { quantized } from "./quantized.mjs";
import { shares } from "./shares.mjs";

/**
 * Checks for every runtime, browsers too. Each gives plain data that is the same everywhere. The context has the address
 * of the folder with the inputs, `url`, and of the same folder behind redirects to another server, `moved`.
 */
export const everywhere = { ...portable, ...quantized, ...shares, ...pools };
