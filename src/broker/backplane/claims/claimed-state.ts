/** The state of a broker that is a node of a cluster: what belongs to claims is theirs, and goes where they go; the rest is this process's alone, and ends with it. [CLU-21] */

import { claimOfState } from '../../core/backplane/claim-keys.ts';
import type { StatePort } from '../../core/store-port.ts';
import type { ClaimTable } from './claim-table.ts';

export class ClaimedState implements StatePort {
  private readonly table: ClaimTable;
  private readonly own = new Map<string, Uint8Array>();

  constructor(table: ClaimTable) {
    this.table = table;
  }

  get written(): number {
    return this.table.written;
  }

  get synced(): number {
    return this.table.synced;
  }

  get(key: string): Uint8Array | undefined {
    const claim = claimOfState(key);
    return claim === null ? this.own.get(key) : this.table.entriesOf(claim)?.get(key);
  }

  put(key: string, value: Uint8Array): void {
    const claim = claimOfState(key);
    if (claim === null) this.own.set(key, value);
    else if (claim.startsWith('w/') && !this.table.has(claim)) this.table.create(claim, key, value);
    else this.table.put(claim, key, value);
  }

  delete(key: string): void {
    const claim = claimOfState(key);
    if (claim === null) this.own.delete(key);
    else this.table.put(claim, key, null);
  }

  *entries(prefix: string): Iterable<readonly [key: string, value: Uint8Array]> {
    for (const entry of this.own) if (entry[0].startsWith(prefix)) yield entry;
    for (const entry of this.table.entries()) if (entry[0].startsWith(prefix)) yield entry;
  }
}
