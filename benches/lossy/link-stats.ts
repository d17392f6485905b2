/** What a link says of itself at the end: a line a direction, with `name=value` behind its name. */

export interface LinkStats {
  /** From client to server, and back. */
  readonly up: DirectionStats;
  readonly down: DirectionStats;
  /** How late a packet was released, at most: more than a few ms, and the machine had no time for the link. */
  readonly lateMsMax: number;
}

/** What was handed to the link, IP headers included, and what it lost. */
export interface DirectionStats {
  readonly packets: number;
  readonly bytes: number;
  readonly lost: number;
}

export function linkStats(text: string): LinkStats {
  const directions = new Map(
    [...text.matchAll(/^\w+: (up|down) (.*)$/gm)].map(([, name, values]) => [name, valuesOf(values)]),
  );
  const up = directions.get('up');
  const down = directions.get('down');
  if (up === undefined || down === undefined) throw new Error(`the link told no counters: ${text}`);
  const lateMicros = Math.max(up('late_max_us'), down('late_max_us'));
  return { up: directionOf(up), down: directionOf(down), lateMsMax: lateMicros / 1_000 };
}

function valuesOf(text: string): (name: string) => number {
  const values = new Map(text.split(' ').map((pair) => pair.split('=') as [string, string]));
  return (name) => {
    const value = Number(values.get(name));
    if (Number.isNaN(value)) throw new Error(`the link has no counter "${name}": ${text}`);
    return value;
  };
}

function directionOf(value: (name: string) => number): DirectionStats {
  return { packets: value('in'), bytes: value('in_bytes'), lost: value('lost') + value('lost_burst') };
}
