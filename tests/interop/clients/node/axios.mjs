// axios
import axios from "axios";
import { PUBLISHED, jsonLines, longPoll, run, say } from "./common.mjs";

await run({
  ndjson: (url) =>
    jsonLines(async (after) => {
      const accept = { Accept: "application/x-ndjson" };
      const { data } = await axios.get(url, { params: { after }, headers: accept, responseType: "stream" });
      return data.setEncoding("utf8");
    }),
  poll: (url) => longPoll(async (after) => (await axios.get(url, { params: { after, wait: 20 } })).data),
  publish: async (url) => say({ status: (await axios.post(url, PUBLISHED)).status }),
});
