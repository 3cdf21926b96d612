// Node's `ws`: `node node.mjs echo` or `node node.mjs fanout`, run where `ws` is installed.
import { WebSocketServer } from 'ws';

const fanOut = process.argv[2] === 'fanout';
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    const receivers = fanOut ? server.clients : [socket];
    for (const receiver of receivers) receiver.send(data, { binary: isBinary });
  });
});
