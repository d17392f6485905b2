/** Preloaded into a process: at SIGUSR2 each of its UDP sockets reports an error after which it is of no use. */

const dgram = require('node:dgram');
const { syncBuiltinESMExports } = require('node:module');

const { createSocket } = dgram;
dgram.createSocket = (...args) => {
  const socket = createSocket(...args);
  process.once('SIGUSR2', () => {
    socket.emit('error', Object.assign(new Error('recvmsg EBADF'), { code: 'EBADF' }));
  });
  return socket;
};
syncBuiltinESMExports();
