/**
 * What a configuration of BlipMQ says, for those who come from there: its `[queues]` and `[delivery]` tables are taken as they are, and of its other tables
 * a fault says which of ours they are. Whatever has nothing to set here is told, for a setting that silently does nothing is worse than none. [CFG-7]
 */

/** A key of ours that it is another name of; or why nothing is to be set; or what to write instead. */
export type ForeignName = { readonly key: string } | { readonly note: string } | { readonly fault: string };

/** A key of one of BlipMQ's tables that are ours as well; null: it has none of that name. */
export function foreignKey(table: string, key: string): ForeignName | null {
  const keys = KEYS[table];
  return keys !== undefined && Object.hasOwn(keys, key) ? keys[key] : null;
}

/** A table of BlipMQ's that is called otherwise here. */
export function foreignTable(name: string): ForeignName | null {
  return Object.hasOwn(TABLES, name) ? TABLES[name] : null;
}

const KEYS: Readonly<Record<string, Readonly<Record<string, ForeignName>>>> = {
  queues: {
    subscriber_capacity: { key: 'max_messages' },
    topic_capacity: {
      note: 'a topic has no queue of its own here: a message goes to the queues of its subscribers at once, and publishers wait for those',
    },
    overflow_policy: {
      note: 'each subscription says what becomes of messages that it does not take: the option overflow of subscribe',
    },
  },
  delivery: {
    max_batch: {
      note: 'what is ready at the same moment goes out together, and nothing waits for company: both the throughput and the latency of it need no choice',
    },
    max_batch_bytes: { note: 'what is ready at the same moment goes out together, by the congestion window' },
    flush_interval_ms: { note: 'nothing waits for a flush' },
    fanout_shards: { note: 'fan-out is no work for several threads here' },
    default_ttl_ms: {
      note: 'publishers say how long a message lives: "jsp pub --ttl", or the option ttlMs of publish',
    },
  },
};

const TABLES: Readonly<Record<string, ForeignName>> = {
  server: {
    fault:
      "there is no such table; BlipMQ's is [broker] here, bind_addr its host and port, and max_connections stands in [limits]",
  },
  wal: { fault: "there is no such table; BlipMQ's is [store] here, with its directory" },
  metrics: { fault: 'there is no such table; metrics are at /metrics of [http] listen' },
};
