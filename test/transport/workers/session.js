/** What the workers of tests do: they echo, say who they are, and come to an end in as many ways as a thread can. */

let stops = null;
let stopFails = false;

export function start({ data }) {
  if (data?.startFails) throw new Error('start says no');
  if (data?.startEnds) process.exit(7);
  stopFails = data?.stopFails === true;
  stops = data?.stops === undefined ? null : new Int32Array(data.stops);
}

export default (connection, { worker, workers, data }) => {
  connection.on('stream', (stream) =>
    stream.on('message', (message) => {
      const text = message.toString();
      switch (text) {
        case 'who':
          return stream.send(`${worker} of ${workers}`);
        case 'data':
          return stream.send(String(data?.word));
        case 'throw':
          throw new Error('thrown by the test');
        case 'reject':
          return void Promise.reject(new Error('rejected by the test'));
        case 'exit':
          return process.exit(3);
        case 'block':
          return void Atomics.wait(new Int32Array(data.gate), 0, 0);
        default:
          return stream.send(message);
      }
    }),
  );
};

export function authorize({ payload }) {
  const word = payload?.toString();
  if (word === 'fault') throw new Error('authorize cannot tell');
  return word === 'no' ? { accept: false, code: 4, reason: 'not you' } : { accept: true };
}

export async function stop() {
  if (stops !== null) Atomics.add(stops, 0, 1);
  if (stopFails) throw new Error('stop says no');
}
