// Runs the checks of everywhere.mjs in a web page. The page holds the context, and its server takes the results.
import { runChecks } from "./describe.mjs";
import { everywhere } from "./everywhere.mjs";

const context = JSON.parse(document.querySelector("#context").textContent);
const results = await runChecks(everywhere, { ...context, url: location.href });
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
