import { openPool } from "../../src/workers/index.ts";

// Reads from a pool and ends in the way it is told to. Nothing else keeps it alive.
const [path, ending] = process.argv.slice(2);
const pool = await openPool(path!, { workers: 2 });
const reading = pool.read({ as: "F32", budget: 10 << 20 });
const first = await reading.next();
if (ending === "closed") await pool.close();
if (ending === "finished") for await (const _ of reading);
console.log(`${ending}: ${first.value!.name}`);
