/** Sums by name over many runs: evidence of what the runs met. */
export class Totals {
  private readonly sums = new Map<string, number>();

  add(name: string, amount: number): void {
    this.sums.set(name, this.of(name) + amount);
  }

  addAll(prefix: string, amounts: Readonly<Record<string, number>>): void {
    for (const [name, amount] of Object.entries(amounts)) this.add(`${prefix}${name}`, amount);
  }

  merge(other: Totals): void {
    for (const [name, amount] of other.sums) this.add(name, amount);
  }

  of(name: string): number {
    return this.sums.get(name) ?? 0;
  }

  /** Names of those that stayed 0. */
  zeros(names: readonly string[]): string[] {
    return names.filter((name) => this.of(name) === 0);
  }

  toObject(): Record<string, number> {
    return Object.fromEntries(this.sums);
  }

  /** A line for each name. */
  toString(): string {
    return [...this.sums]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([name, amount]) => `${name.padEnd(36)}${Math.round(amount).toLocaleString('en').padStart(16)}`)
      .join('\n');
  }
}
