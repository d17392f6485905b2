import { JspError } from '../base/errors.ts';
import { type AeadName, type AeadProvider, TAG_BYTES } from './aead.ts';
import { loadNobleAead } from './aead-noble.ts';
import { loadNodeAead } from './aead-node.ts';
import { loadSodiumAead } from './aead-sodium.ts';

export type AeadPreference = 'auto' | AeadName;

/**
 * The cipher implementation to use: the named one, or with `'auto'` the fastest that loads (`sodium-native`, then
 * `node:crypto`, then `@noble/ciphers`).
 * @throws {@link JspError} `ERR_JSP_AEAD_UNAVAILABLE` when the named one does not load here
 */
export function chooseAead(preference: AeadPreference = 'auto'): AeadProvider {
  if (preference !== 'auto') {
    const named = load(preference);
    if (named !== null) return named;
    throw new JspError(
      'ERR_JSP_AEAD_UNAVAILABLE',
      `the cipher implementation '${preference}' is not available here: ${REMEDY[preference]}`,
    );
  }
  return load('sodium') ?? load('node') ?? loadNobleAead();
}

function load(name: AeadName): AeadProvider | null {
  let provider = LOADED.get(name);
  if (provider === undefined) {
    const loader = Object.hasOwn(LOADERS, name) ? LOADERS[name] : null;
    if (loader === null)
      throw new TypeError(`aead must be 'auto', 'sodium', 'node' or 'noble', not '${String(name)}'`);
    provider = loader();
    if (provider !== null && !works(provider)) provider = null;
    LOADED.set(name, provider);
  }
  return provider;
}

/** A native module that loads but answers wrongly must not carry traffic: it seals one known packet first. */
function works(provider: AeadProvider): boolean {
  try {
    const buffer = new Uint8Array(PROBE_BYTES + TAG_BYTES);
    const key = provider.createKey(new Uint8Array(32));
    key.seal(buffer, 0, 4, PROBE_BYTES, PROBE_NONCE);
    return (
      Buffer.from(buffer).toString('hex') === PROBE_SEALED &&
      key.open(buffer, 0, 4, buffer.length, PROBE_NONCE)
    );
  } catch {
    return false;
  }
}

const LOADERS: Record<AeadName, () => AeadProvider | null> = {
  sodium: loadSodiumAead,
  node: loadNodeAead,
  noble: loadNobleAead,
};
const LOADED = new Map<AeadName, AeadProvider | null>();
const REMEDY: Record<AeadName, string> = {
  sodium: "install the optional dependency 'sodium-native', or choose 'auto'",
  node: "this Node was built without chacha20-poly1305; choose 'auto'",
  noble: "choose 'auto'",
};
const PROBE_BYTES = 12;
const PROBE_NONCE = new Uint8Array(12);
/** Four zero bytes of associated data, then eight zero bytes sealed under the zero key and nonce. */
const PROBE_SEALED = '000000009f07e7be5551387a5e9314c6395188c1724f994d7592fe08';
