/** What each worker of workers.ts does. */

/** @type {import('jetstream-proto').WorkerModule['default']} */
export default (connection, { worker }) => {
  connection.on('stream', (stream) => {
    stream.on('message', (message) => {
      if (message.toString() === 'a bug') throw new Error('nobody caught this');
      stream.send(`worker ${worker} says ${message}`);
    });
  });
};
