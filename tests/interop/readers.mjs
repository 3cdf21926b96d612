// Readers of event streams, as their documentation uses them: `node readers.mjs NAME URL` prints what the reader NAME
// takes for a message, one JSON object in a line, until it is stopped.

const [name, url] = process.argv.slice(2);

/** What a page does with a message. A phantom without data fails here. */
function onmessage({ data, id, lastEventId }) {
  console.log(JSON.stringify({ message: JSON.parse(data), id: id ?? lastEventId }));
}

const READERS = {
  async 'fetch-event-source'() {
    const { fetchEventSource } = await import('@microsoft/fetch-event-source');
    // It is made for pages.
    globalThis.window = globalThis;
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    await fetchEventSource(url, { onmessage, openWhenHidden: true, onerror: fail });
  },
  async eventsource() {
    const { EventSource } = await import('eventsource');
    Object.assign(new EventSource(url), { onmessage, onerror: fail });
  },
  async 'eventsource-parser'() {
    const { createParser } = await import('eventsource-parser');
    const parser = createParser({ onEvent: onmessage, onError: fail });
    const response = await fetch(url, { headers: { Accept: 'text/event-stream' } });
    for await (const text of response.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
  },
};

function fail(error) {
  console.error(error);
  process.exit(1);
}

await READERS[name]().catch(fail);
