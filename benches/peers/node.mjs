// Node's `ws`, run where that is installed; the last argument is `echo`, `deflate` or `fanout`.
import { WebSocketServer } from 'ws';

const work = process.argv.at(-1);
// It compresses as clients offer; its own threshold of 1 KiB would leave our messages as they are.
const perMessageDeflate = work === 'deflate' && { threshold: 0 };
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    const receivers = work === 'fanout' ? server.clients : [socket];
    for (const receiver of receivers) receiver.send(data, { binary: isBinary });
  });
});
