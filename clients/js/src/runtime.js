/** Where this runs. Nothing here needs a page; some of it is for pages alone. */

/** Whether this is a page, or a worker of one: there are other tabs, origins that are refused, and few connections. */
export const inBrowser = Boolean(globalThis.document ?? globalThis.WorkerGlobalScope) && !globalThis.Deno;
