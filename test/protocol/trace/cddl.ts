/**
 * As much of CDDL (RFC 8610) as the definitions of qlog use, read from their text and matched against JSON values. It knows nothing of what
 * writes logs: what it takes is what the definitions say.
 */

export type Type =
  | { kind: 'name'; name: string }
  | { kind: 'literal'; value: string | number }
  | { kind: 'choice'; of: Type[] }
  | { kind: 'map'; entries: Entry[] }
  | { kind: 'array'; entries: Entry[] }
  | { kind: 'control'; type: Type; control: string; argument: string | number };

interface Entry {
  least: number;
  most: number;
  /** Null in arrays, and for any text. */
  key: string | null;
  type: Type;
}

/** Rules by their names; those that are added to (`/=`) are choices. */
export type Schema = ReadonlyMap<string, Type>;

export function parseCddl(text: string): Schema {
  return new Parser(text).schema();
}

/** What is wrong with a value, as sentences with paths; nothing when it is of the type. */
export function mismatches(schema: Schema, type: Type, value: unknown, path = '$'): string[] {
  switch (type.kind) {
    case 'literal':
      return value === type.value ? [] : [`${path} is ${shown(value)}, not ${shown(type.value)}`];
    case 'choice':
      return choiceMismatches(schema, type.of, value, path);
    case 'control':
      return controlMismatches(schema, type, value, path);
    case 'map':
      return mapMismatches(schema, type.entries, value, path);
    case 'array':
      return arrayMismatches(schema, type.entries, value, path);
    case 'name': {
      const prelude = PRELUDE[type.name];
      if (prelude !== undefined) return prelude(value) ? [] : [`${path} is ${shown(value)}, no ${type.name}`];
      const rule = schema.get(type.name);
      if (rule === undefined)
        return type.name.startsWith('$')
          ? [`${path}: ${type.name} is empty`]
          : [`${type.name} is not defined`];
      return mismatches(schema, rule, value, path);
    }
  }
}

function choiceMismatches(schema: Schema, of: readonly Type[], value: unknown, path: string): string[] {
  const all: string[][] = [];
  for (const type of of) {
    const found = mismatches(schema, type, value, path);
    if (found.length === 0) return [];
    all.push(found);
  }
  // The alternative that is nearest, such as the one with the same frame_type.
  const [nearest] = all.sort((a, b) => a.length - b.length);
  return [`${path} is ${shown(value)}, none of ${of.length}; ${nearest[0]}`];
}

function controlMismatches(
  schema: Schema,
  { type, control, argument }: Type & { kind: 'control' },
  value: unknown,
  path: string,
): string[] {
  const found = mismatches(schema, type, value, path);
  if (found.length > 0) return found;
  if (control === 'regexp' && !new RegExp(`^(?:${argument})$`).test(value as string))
    return [`${path} is ${shown(value)}, not as ${argument}`];
  if (control === 'size') {
    const fits =
      typeof value === 'string'
        ? Buffer.byteLength(value) === argument
        : (value as number) < 256 ** (argument as number);
    if (!fits) return [`${path} is ${shown(value)}, which is not of size ${argument}`];
  }
  return [];
}

function mapMismatches(schema: Schema, entries: readonly Entry[], value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [`${path} is ${shown(value)}, no map`];
  const members = value as Record<string, unknown>;
  const found: string[] = [];
  for (const { least, key, type } of entries) {
    if (key === null) continue;
    if (key in members) found.push(...mismatches(schema, type, members[key], `${path}.${key}`));
    else if (least > 0) found.push(`${path}.${key} is missing`);
  }
  const rest = entries.find(({ key }) => key === null);
  for (const name of Object.keys(members)) {
    if (entries.some(({ key }) => key === name)) continue;
    if (rest === undefined) found.push(`${path}.${name} is not foreseen`);
    else found.push(...mismatches(schema, rest.type, members[name], `${path}.${name}`));
  }
  return found;
}

function arrayMismatches(schema: Schema, [entry]: readonly Entry[], value: unknown, path: string): string[] {
  if (!Array.isArray(value)) return [`${path} is ${shown(value)}, no array`];
  if (value.length < entry.least || value.length > entry.most)
    return [`${path} has ${value.length} members, not ${entry.least} to ${entry.most}`];
  return value.flatMap((item, i) => mismatches(schema, entry.type, item, `${path}[${i}]`));
}

function shown(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 120);
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const PRELUDE: Readonly<Record<string, (value: unknown) => boolean>> = {
  any: () => true,
  bool: (value) => typeof value === 'boolean',
  text: (value) => typeof value === 'string',
  uint: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  float32: isNumber,
  float64: isNumber,
};

class Parser {
  private readonly tokens: string[];
  private at = 0;

  constructor(text: string) {
    this.tokens = text.replace(/;.*/g, '').match(TOKEN) ?? [];
  }

  schema(): Schema {
    const rules = new Map<string, Type>();
    while (this.at < this.tokens.length) {
      const name = this.next();
      const assign = this.next();
      const type = this.type();
      const known = rules.get(name);
      if (assign === '=' && known === undefined) rules.set(name, type);
      else if (assign === '/=')
        rules.set(name, { kind: 'choice', of: known === undefined ? [type] : [known, type] });
      else throw new Error(`${name} ${assign} is no rule, or is there twice`);
    }
    return rules;
  }

  private type(): Type {
    const of = [this.controlled()];
    while (this.peek() === '/') {
      this.next();
      of.push(this.controlled());
    }
    return of.length === 1 ? of[0] : { kind: 'choice', of };
  }

  private controlled(): Type {
    const type = this.primary();
    if (!this.peek()?.startsWith('.')) return type;
    const control = this.next().slice(1);
    const argument = this.next();
    // JSON's defaults are what is meant when a member is absent.
    if (control === 'default') return type;
    return {
      kind: 'control',
      type,
      control,
      argument: argument.startsWith('"') ? argument.slice(1, -1) : Number(argument),
    };
  }

  private primary(): Type {
    const token = this.next();
    if (token === '{') return { kind: 'map', entries: this.entries('}') };
    if (token === '[') return { kind: 'array', entries: this.entries(']') };
    if (token.startsWith('"')) return { kind: 'literal', value: token.slice(1, -1) };
    if (/^\d/.test(token)) return { kind: 'literal', value: Number(token) };
    if (/^\$?\w+$/.test(token)) return { kind: 'name', name: token };
    throw new Error(`${token} begins no type`);
  }

  private entries(end: string): Entry[] {
    const entries: Entry[] = [];
    while (this.peek() !== end) {
      const [least, most] = this.occurrence();
      let key: string | null = null;
      if (this.peek(1) === ':') {
        key = this.next();
        this.next();
      } else if (this.peek(1) === '=>') {
        this.next();
        this.next();
      }
      entries.push({ least, most, key, type: this.type() });
      if (this.peek() === ',') this.next();
    }
    this.next();
    return entries;
  }

  private occurrence(): [number, number] {
    const [, low, high] = /^(\d*)\*(\d*)$/.exec(this.peek() ?? '') ?? [];
    if (low !== undefined) {
      this.next();
      return [Number(low || 0), high ? Number(high) : Number.POSITIVE_INFINITY];
    }
    if (this.peek() !== '?' && this.peek() !== '+') return [1, 1];
    return this.next() === '?' ? [0, 1] : [1, Number.POSITIVE_INFINITY];
  }

  private peek(ahead = 0): string | undefined {
    return this.tokens[this.at + ahead];
  }

  private next(): string {
    const token = this.tokens[this.at++];
    if (token === undefined) throw new Error('the text ends too early');
    return token;
  }
}

const TOKEN = /"[^"]*"|\d*\*\d*|\d+|\.[a-z]+|\$?[A-Za-z_]\w*|=>|\/=|[{}[\]=/:,?+]/g;
