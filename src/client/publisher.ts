import { Command } from '../pubsub/command.ts';
import { encodePlain, publishPrefix } from '../pubsub/command-writer.ts';
import type { MessageConnection, StreamPriority } from '../pubsub/message-stream.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { CommandStream, closedError } from './command-stream.ts';
import { PendingRequests } from './pending-requests.ts';

/** A client's publishing stream. */
export class Publisher {
  /** The last publish was above the high-water mark, and the queue has not drained since. */
  full = false;
  private readonly commands: CommandStream;
  private readonly prefixes = new Map<string, Buffer>();
  private lastTopic = '';
  private lastPrefix: Buffer = Buffer.alloc(0);

  private readonly drains = new PendingRequests();

  constructor(connection: MessageConnection, priority: StreamPriority, onDrain: () => void) {
    this.commands = new CommandStream(connection, priority, {
      onDrain: () => {
        this.full = false;
        this.drains.settleAll();
        onDrain();
      },
      onDelivery: () => {}, // nothing is subscribed here, so an honest broker sends none
      onClosed: (error) => this.drains.failAll(error ?? closedError()),
    });
  }

  /** Resolves with the next drain. */
  drained(signal?: AbortSignal): Promise<void> {
    return this.drains.request(() => {}, signal);
  }

  publish(topic: string, payload: Uint8Array | string): boolean {
    const prefix = topic === this.lastTopic ? this.lastPrefix : this.prefixOf(topic);
    const start = prefix.length;
    const length = start + payloadBytes(payload);
    const small = length <= SCRATCH_BYTES;
    const message = small ? scratch(length) : Buffer.allocUnsafe(length);
    message.set(prefix, 0);
    if (typeof payload === 'string') message.write(payload, start);
    else message.set(payload, start);
    const { stream } = this.commands;
    this.full = !(small ? stream.send(message) : stream.send(message, TRANSFER));
    return !this.full;
  }

  /** Resolves when the broker has everything published so far. [BRK-25] */
  flush(signal?: AbortSignal): Promise<void> {
    return this.commands.request((id) => encodePlain(Command.FLUSH, id), signal);
  }

  private prefixOf(topic: string): Buffer {
    let prefix = this.prefixes.get(topic);
    if (prefix === undefined) {
      assertTopic(topic);
      prefix = publishPrefix(topic);
      if (this.prefixes.size >= PREFIXES_MAX) this.prefixes.clear();
      this.prefixes.set(topic, prefix);
    }
    this.lastTopic = topic;
    this.lastPrefix = prefix;
    return prefix;
  }
}

function payloadBytes(payload: Uint8Array | string): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload);
  if (payload instanceof Uint8Array) return payload.length;
  throw new TypeError('payload must be a Uint8Array or a string');
}

/** The first `length` bytes of memory in which small commands are put together; the transport copies them at once. */
function scratch(length: number): Buffer {
  let view = scratchViews[length];
  if (view === undefined) {
    view = SCRATCH.subarray(0, length);
    scratchViews[length] = view;
  }
  return view;
}

const SCRATCH_BYTES = 4_096;
const SCRATCH = Buffer.alloc(SCRATCH_BYTES);
const scratchViews = new Array<Buffer | undefined>(SCRATCH_BYTES + 1).fill(undefined);
/** Topics whose encoding is remembered; past it all are forgotten. */
const PREFIXES_MAX = 1_024;
const TRANSFER = { transfer: true };
