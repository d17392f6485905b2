/** This broker as a node of its cluster: what the backplane tells goes to the parts that want to hear it. A broker that is alone has none. */

import type { ClusterFigures } from '../output.ts';
import type { BackplaneEvents, BackplanePort, ClaimEntries } from './backplane-port.ts';
import { Interest } from './interest.ts';
import { LiveMessages, type LiveSurroundings } from './live.ts';
import type { LatestChange, ValueChange } from './value-port.ts';

export class Cluster implements BackplaneEvents {
  readonly port: BackplanePort;
  readonly interest: Interest;
  readonly live: LiveMessages;
  /** Parts that hear what the backplane tells, each what it wants to know. */
  readonly listeners: Partial<BackplaneEvents>[] = [];
  private readonly report: (error: unknown) => void;

  /** @param report - told of each fault of a listener, which is a fault of the broker [BRK-40] */
  constructor(port: BackplanePort, broker: LiveSurroundings, report: (error: unknown) => void) {
    this.port = port;
    this.report = report;
    this.interest = new Interest(port, broker);
    this.live = new LiveMessages(broker, port);
    this.listeners.push(this.interest, this.live.requests);
  }

  get figures(): Pick<ClusterFigures, 'missed' | 'invalid' | 'lateSubscriptions'> {
    const { missing: missed, invalid } = this.live;
    return { missed, invalid, lateSubscriptions: this.interest.late };
  }

  connected(): void {
    this.hear((listener) => listener.connected?.());
  }

  disconnected(): void {
    this.hear((listener) => listener.disconnected?.());
  }

  wanted(filter: string): void {
    this.hear((listener) => listener.wanted?.(filter));
  }

  message(message: Uint8Array, priority: number, deadlineMs: number, group: string | null): void {
    try {
      this.live.message(message, priority, deadlineMs, group);
    } catch (error) {
      this.report(error);
    }
  }

  missed(count: number, message: Uint8Array): void {
    try {
      this.live.missed(count, message);
    } catch (error) {
      this.report(error);
    }
  }

  unanswered(request: number): void {
    this.hear((listener) => listener.unanswered?.(request));
  }

  claimed(key: string, entries: ClaimEntries): void {
    this.hear((listener) => listener.claimed?.(key, entries));
  }

  claimDenied(key: string): void {
    this.hear((listener) => listener.claimDenied?.(key));
  }

  claimedByOther(key: string, node: string, stays: boolean): void {
    this.hear((listener) => listener.claimedByOther?.(key, node, stays));
  }

  claimLost(key: string): void {
    this.hear((listener) => listener.claimLost?.(key));
  }

  claimAsked(key: string, by: string, ageMs: number): void {
    this.hear((listener) => listener.claimAsked?.(key, by, ageMs));
  }

  nodeGone(node: string): void {
    this.hear((listener) => listener.nodeGone?.(node));
  }

  received(node: string, bytes: Uint8Array): void {
    this.hear((listener) => listener.received?.(node, bytes));
  }

  cutOff(isCutOff: boolean): void {
    this.hear((listener) => listener.cutOff?.(isCutOff));
  }

  valueChanged(change: ValueChange): void {
    this.hear((listener) => listener.valueChanged?.(change));
  }

  valuePlaced(topic: string, number: number, revision: number): void {
    this.hear((listener) => listener.valuePlaced?.(topic, number, revision));
  }

  valueOutdone(topic: string, number: number, latest: LatestChange): void {
    this.hear((listener) => listener.valueOutdone?.(topic, number, latest));
  }

  valuesReread(): void {
    this.hear((listener) => listener.valuesReread?.());
  }

  valuesComplete(): void {
    this.hear((listener) => listener.valuesComplete?.());
  }

  valuesStored(): void {
    this.hear((listener) => listener.valuesStored?.());
  }

  private hear(tell: (listener: Partial<BackplaneEvents>) => void): void {
    for (const listener of this.listeners) {
      try {
        tell(listener);
      } catch (error) {
        this.report(error);
      }
    }
  }
}
