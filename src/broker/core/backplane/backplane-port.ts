/**
 * What the core of a broker asks of the engine that connects it with the other nodes of its cluster, and what it hears from there. As with a store
 * ({@link StorePort}), it asks synchronously, what the engine does with the network it does behind this, and news are taken when the core polls
 * ({@link BackplanePort.tell}). So the core stays free of I/O, and knows no engine by name. A broker that is alone has none.
 */

import type { ValueEvents, ValuePort } from './value-port.ts';

/** The face of a cluster. */
export interface BackplanePort {
  /** The name of this node, which no other node of the cluster has. */
  readonly node: string;
  /** False: nothing comes and nothing goes. Live messages reach subscribers of this node alone; the rest waits, or is refused. */
  readonly isConnected: boolean;
  /** Most bytes of a PUBLISH that the other nodes can be given now; infinite: that is not known, or nothing goes. It changes with the engine's configuration. */
  readonly messageBytesMax: number;
  /** There is something to {@link tell}. */
  readonly hasNews: boolean;
  /** The last values of all nodes. */
  readonly values: ValuePort;
  /** Whether a node is of the cluster now, as far as this one knows: {@link BackplaneEvents.nodeGone} was not told of it since it came. */
  hasNode(node: string): boolean;
  /** Tells what has happened since the last time, or a part of it that fits a turn. What is asked meanwhile is news of the next time. */
  tell(events: BackplaneEvents): void;

  // ---- live messages ----

  /**
   * Hands a PUBLISH to all other nodes that want its topic: at most once, in order. The bytes are copied.
   *
   * @param topicEnd - end of the topic in `message`
   * @param ttlMs - how long it is of use; infinite: it does not say
   * @param request - above 0: `unanswered(request)` follows when no node wants the topic
   */
  publish(message: Uint8Array, topicEnd: number, priority: number, ttlMs: number, request: number): void;
  /** Somebody here has subscribed to this filter, the first: messages of other nodes are to come. `$share/group/filter`, whole: each goes to one of the nodes that want it, this one among them. */
  want(filter: string): void;
  /** Nobody here holds it any more. */
  unwant(filter: string): void;

  // ---- what one node has alone ----

  /**
   * Asks for a session (`s/<name>`), a durable subscription (`d/<name>`) or a shared group (`d/$share/group/filter`): kindly, or at once whoever has it. `claimed`, `claimDenied` or
   * `claimedByOther` follows, unless it is released before.
   *
   * @param asker - for whom
   */
  claim(key: string, demand: ClaimDemand, asker: ClaimAsker): void;
  /** Gives it back: what belongs to it is written, and nobody's now. Of one that was asked for: it is not waited for any more. */
  release(key: string): void;
  /** It stays here, though another node has asked for it, which is told. */
  keep(key: string): void;
  /** A number that no node was ever given before, below 2^40. */
  newNumber(): number;

  // ---- between nodes ----

  /** To one node; what does not reach it, `nodeGone` tells. In order. */
  send(node: string, bytes: Uint8Array): void;
  /** To all others. */
  broadcast(bytes: Uint8Array): void;
}

/** How a claim is asked for: its holder may settle first and hand it over, or loses it. */
export type ClaimDemand = 'ask' | 'force';

/** For whom a claim is asked for. */
export interface ClaimAsker {
  /** Looks at what belongs to it before anybody is asked; false: it is denied. */
  mayTake(entries: ClaimEntries): boolean;
  /** How long ago it asked, in ms. Of the holder that has had it since then it is not taken. */
  readonly ageMs: number;
}

/** What belongs to a claim: values of the state (`StatePort`) by their keys. */
export type ClaimEntries = ReadonlyMap<string, Uint8Array>;

/** What an engine tells. */
export interface BackplaneEvents extends ValueEvents {
  connected(): void;
  disconnected(): void;
  /** {@link BackplanePort.want} stands: what is published anywhere from now on comes. */
  wanted(filter: string): void;
  /**
   * A message of another node.
   *
   * @param message - the PUBLISH, which the listener may keep
   * @param deadlineMs - monotonic, as the core counts: from then on it is of no use; infinite: never
   * @param group - the `$share/group/filter` through which it came to this node alone; null: it is for everybody but groups
   */
  message(message: Uint8Array, priority: number, deadlineMs: number, group: string | null): void;
  /** So many live messages of another node have not reached this one, before `message`, which is of the same topic and comes next. */
  missed(count: number, message: Uint8Array): void;
  /** Nobody on any node wants the topic of this request. */
  unanswered(request: number): void;
  /** This node has it now, with what belongs to it. */
  claimed(key: string, entries: ClaimEntries): void;
  /** What belongs to it is not for who asks. */
  claimDenied(key: string): void;
  /**
   * It was asked for kindly, and another node has not given it within 2 s.
   *
   * @param stays - it says that it does not give it
   */
  claimedByOther(key: string, node: string, stays: boolean): void;
  /** Another node has it now: what belongs to it is dropped at once, and nothing of it written. */
  claimLost(key: string): void;
  /**
   * Another node asks for it: what is under way is settled and written, then it is released.
   *
   * @param ageMs - how long ago it was asked there, without the time that this took to come here
   */
  claimAsked(key: string, by: string, ageMs: number): void;
  /** A node is no more of the cluster, for it is gone, or cut off for so long that it has given up what it had. */
  nodeGone(node: string): void;
  received(node: string, bytes: Uint8Array): void;
  /** This node could not say for so long that it lives that others take what it has; or can again. What it had is told as lost before. */
  cutOff(isCutOff: boolean): void;
}
