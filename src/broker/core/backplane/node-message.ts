/** What messages of one node to another are about: the first byte says it. */
export const NodeMessage = {
  /** A frame of a stream between the two. [CLU-50] */
  STREAM: 1,
  /** What an operator has ordered on one node, and the answer. [CLU-53] */
  ORDER: 2,
} as const;
