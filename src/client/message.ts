/** A message as a subscriber gets it. */
export class Message {
  readonly topic: string;
  /** The publisher's bytes; they belong to the receiver. */
  readonly payload: Buffer;

  constructor(topic: string, payload: Buffer) {
    this.topic = topic;
    this.payload = payload;
  }

  /** The payload as UTF-8. */
  text(): string {
    return this.payload.toString();
  }
}
