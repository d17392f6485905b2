/** Whether a text names a node: names stand in subjects and keys, and whatever another says is looked at before it does. [CLU-11] */
export function isNodeName(text: string): boolean {
  return text.length <= NODE_NAME_LENGTH_MAX && NAME.test(text);
}

export const NODE_NAME_LENGTH_MAX = 64;
const NAME = /^[A-Za-z0-9_-]+$/;
