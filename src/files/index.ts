/**
 * Files over connections: {@link sendFiles} and {@link receiveFiles}, which `jsp send` and `jsp receive` are made of.
 *
 * @example
 * const receiver = await receiveFiles('inbox');
 * listener.on('connection', (connection) => receiver.serve(connection));
 *
 * await sendFiles(() => connect(url), ['photos', 'notes.txt']);
 */

export type { OnExisting } from './incoming-file.ts';
export type { RefusalName } from './messages.ts';
export { type NameRule, PARTS_FOLDER } from './names.ts';
export { type FileReceiver, type ReceiveOptions, receiveFiles } from './receive-files.ts';
export type { ReceivedEntry, ReceiverEvent } from './receiving.ts';
export {
  type SendFilesOptions,
  type SendProgress,
  type SendReport,
  type SentFile,
  sendFiles,
} from './send-files.ts';
export type { SendOutcome } from './sending.ts';
export type { Skipped } from './walk.ts';
