/** A set of packet identifiers, of which a client may hold 65,535: few cost little, and all of them some tens of KiB. [MQT-12] */
export class PacketIds {
  /** Bits of 256 identifiers each, where there is one of them. */
  private readonly pages = new Map<number, Uint32Array>();

  has(id: number): boolean {
    const page = this.pages.get(id >> PAGE_BITS);
    return page !== undefined && (page[wordOf(id)] & bitOf(id)) !== 0;
  }

  add(id: number): void {
    let page = this.pages.get(id >> PAGE_BITS);
    if (page === undefined) {
      page = new Uint32Array(WORDS);
      this.pages.set(id >> PAGE_BITS, page);
    }
    page[wordOf(id)] |= bitOf(id);
  }

  delete(id: number): void {
    const page = this.pages.get(id >> PAGE_BITS);
    if (page === undefined) return;
    page[wordOf(id)] &= ~bitOf(id);
    if (page.every((word) => word === 0)) this.pages.delete(id >> PAGE_BITS);
  }

  all(): number[] {
    const ids: number[] = [];
    for (const number of this.pages.keys()) {
      const first = number << PAGE_BITS;
      for (let id = first; id < first + PAGE; id++) if (this.has(id)) ids.push(id);
    }
    return ids;
  }
}

function wordOf(id: number): number {
  return (id & (PAGE - 1)) >> 5;
}

function bitOf(id: number): number {
  return 1 << (id & 31);
}

const PAGE_BITS = 8;
const PAGE = 1 << PAGE_BITS;
const WORDS = PAGE / 32;
