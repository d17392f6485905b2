/** Codes of a CLOSE with scope 1, of a STREAM_RESET and of REFUSED between a broker and its clients (spec/broker.md). */
export const BrokerCode = {
  NO_ERROR: 0x00,
  INTERNAL_ERROR: 0x01,
  COMMAND_ENCODING_ERROR: 0x02,
  UNKNOWN_COMMAND: 0x03,
  TOPIC_INVALID: 0x04,
  WRONG_STREAM: 0x05,
  UNSUPPORTED: 0x06,
  UNKNOWN_PROTOCOL: 0x07,
  SHUTTING_DOWN: 0x08,
  FILTER_INVALID: 0x0a,
  TOO_MANY_SUBSCRIPTIONS: 0x0b,
  POLICY_MISMATCH: 0x0c,
  NOT_SUBSCRIBED: 0x0d,
  STALLED: 0x0e,
} as const;
export type BrokerCode = (typeof BrokerCode)[keyof typeof BrokerCode];

/** The table's name for a code, or its number in hex. */
export function brokerCodeName(code: number): string {
  for (const [name, value] of Object.entries(BrokerCode)) if (value === code) return name;
  return `0x${code.toString(16)}`;
}
