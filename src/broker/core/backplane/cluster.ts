/** This broker as a node of its cluster: what the backplane tells goes to the parts that want to hear it. A broker that is alone has none. */

import type { BackplaneEvents, BackplanePort, ClaimEntries } from './backplane-port.ts';
import type { ValueChange } from './value-port.ts';

export class Cluster implements BackplaneEvents {
  readonly port: BackplanePort;
  /** Parts that hear what the backplane tells, each what it wants to know. */
  readonly listeners: Partial<BackplaneEvents>[] = [];
  private readonly report: (error: unknown) => void;

  /** @param report - told of each fault of a listener, which is a fault of the broker [BRK-40] */
  constructor(port: BackplanePort, report: (error: unknown) => void) {
    this.port = port;
    this.report = report;
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
    for (let i = 0; i < this.listeners.length; i++) {
      try {
        this.listeners[i].message?.(message, priority, deadlineMs, group);
      } catch (error) {
        this.report(error);
      }
    }
  }

  missed(count: number): void {
    this.hear((listener) => listener.missed?.(count));
  }

  unanswered(request: number): void {
    this.hear((listener) => listener.unanswered?.(request));
  }

  claimed(key: string, entries: ClaimEntries, isNew: boolean, wasAlive: boolean): void {
    this.hear((listener) => listener.claimed?.(key, entries, isNew, wasAlive));
  }

  claimDenied(key: string): void {
    this.hear((listener) => listener.claimDenied?.(key));
  }

  claimedByOther(key: string, node: string): void {
    this.hear((listener) => listener.claimedByOther?.(key, node));
  }

  claimLost(key: string): void {
    this.hear((listener) => listener.claimLost?.(key));
  }

  claimAsked(key: string, by: string): void {
    this.hear((listener) => listener.claimAsked?.(key, by));
  }

  nodeGone(node: string): void {
    this.hear((listener) => listener.nodeGone?.(node));
  }

  received(node: string, bytes: Uint8Array): void {
    this.hear((listener) => listener.received?.(node, bytes));
  }

  valueChanged(change: ValueChange): void {
    this.hear((listener) => listener.valueChanged?.(change));
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
