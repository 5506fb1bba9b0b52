// node --import kill-at.mjs: with KILL_AT=n, the process kills itself instead of its call n that changes names.

import fs from "node:fs";
import fsp from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";

let left = Number(process.env.KILL_AT);

/** Called when the writing begins. */
globalThis.killsFromHere = () => {
  for (const [module, calls] of [
    [fs, ["openSync", "renameSync", "unlinkSync", "linkSync"]],
    [fsp, ["open", "rename", "unlink", "link", "copyFile"]],
  ]) {
    for (const call of calls) {
      const original = module[call];
      module[call] = (...args) => {
        const isReading = /^open/.test(call) && (args[1] ?? "r") === "r";
        if (!isReading && left-- === 0) process.kill(process.pid, "SIGKILL");
        return original(...args);
      };
    }
  }
  syncBuiltinESMExports();
};
