/**
 * Promises of a client's calls. One that fails because of the broker, the connection or an end harms no application that does not await it, as it may well not:
 * what it would have to know is told by events, too. A call that cannot be meant so is a mistake in the program, and is heard as such. [CLT-36]
 *
 * @param check - throws where the call is such a mistake
 */
export function undertake<T>(check: () => void, action: () => Promise<T>): Promise<T> {
  try {
    check();
  } catch (mistake) {
    return Promise.reject(mistake);
  }
  const undertaken = action();
  undertaken.catch(() => {}); // whoever waits hears of it
  return undertaken;
}
