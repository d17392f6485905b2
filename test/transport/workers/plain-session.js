/** Workers that let everybody in, as early as they come, and echo. */

export default (connection) =>
  connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
