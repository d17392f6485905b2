/**
 * Sends a folder over a connection that breaks on the way, and shows how far it is: `npm run ts examples/file-transfer.ts [MEGABYTES]`.
 * docs/examples/file-transfer.md tells it step by step.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, connect, generateIdentity, listen } from 'jetstream-proto';
import { receiveFiles, type SendProgress, sendFiles } from 'jetstream-proto/files';

const megabytes = Number(process.argv[2] ?? 50);
const folder = await mkdtemp(join(tmpdir(), 'file-transfer-'));
const album = join(folder, 'album');
await mkdir(join(album, 'empty'), { recursive: true });
await writeFile(join(album, 'film.bin'), randomBytes(megabytes * 1_000_000));
await writeFile(join(album, 'notes.txt'), 'two photos are missing');

// The receiver: a listener whose connections may bring files into one folder.
const listener = await listen({ identity: generateIdentity(), port: 0, profile: 'fileTransfer' });
const receiver = await receiveFiles(join(folder, 'inbox'), {
  onEvent(event) {
    if (event.type === 'begin' && event.resumedAt > 0)
      console.log(`${event.file.path} goes on where it broke off`);
    if (event.type === 'done') console.log(`received ${event.file.path}`);
  },
});
listener.on('connection', (connection) => receiver.serve(connection));

// The sender: given a function that connects, it connects again when the connection breaks. Here that happens once, at half.
let connection: Connection | undefined;
let hasBroken = false;
const report = await sendFiles(
  async () => {
    connection = await connect(listener.url, { profile: 'fileTransfer' });
    return connection;
  },
  [album],
  {
    onProgress(progress) {
      show(progress);
      if (hasBroken || progress.bytesSettled < progress.bytes / 2) return;
      hasBroken = true;
      connection?.destroy(1, 'pulled the plug');
    },
  },
);

for (const { path, outcome } of report.files) console.log(`${outcome} ${path}`);
const again = Math.max(0, report.sentBytes - report.bytes);
console.log(`${report.connections} connections; ${((100 * again) / report.bytes).toFixed(1)} % sent again`);
console.log(`in the inbox: ${(await readdir(join(folder, 'inbox', 'album'))).sort().join(', ')}`);

await receiver.close();
await listener.close();
await rm(folder, { recursive: true });

/** One line that changes in place, on a terminal. */
function show({ bytesSettled, bytes }: SendProgress): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r${Math.floor((100 * bytesSettled) / bytes)} % of ${bytes} bytes\x1b[K\r`);
}
