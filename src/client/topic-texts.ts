import { HEADER_BYTES } from '../pubsub/command.ts';
import { TopicTable } from '../pubsub/topic.ts';

/** Topics as text, decoded once as long as they are remembered. */
export class TopicTexts {
  private readonly texts = new TopicTable<string>(TOPICS_MAX);

  /** The topic of a PUBLISH. */
  textOf(message: Buffer, topicEnd: number): string {
    const known = this.texts.lookup(message, HEADER_BYTES, topicEnd);
    if (known !== undefined) return known;
    const text = message.toString('utf8', HEADER_BYTES, topicEnd);
    this.texts.store(message, HEADER_BYTES, topicEnd, text);
    return text;
  }
}

const TOPICS_MAX = 1_024;
