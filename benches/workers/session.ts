/** What the workers of the benchmark do: they count what comes, each in a number of its own. */
import type { Connection, WorkerContext } from '../../src/index.ts';

export default function count(connection: Connection, { data, worker }: WorkerContext): void {
  const messages = new Float64Array(data as SharedArrayBuffer);
  connection.on('stream', (stream) =>
    stream.on('message', () => {
      messages[worker]++;
    }),
  );
}
