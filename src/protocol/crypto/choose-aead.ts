import { JspError } from '../../base/errors.ts';
import { type AeadName, type AeadProvider, TAG_BYTES } from './aead.ts';
import { AeadBySize } from './aead-by-size.ts';
import { loadNobleAead } from './aead-noble.ts';
import { loadNodeAead } from './aead-node.ts';
import { loadSodiumAead } from './aead-sodium.ts';

export type AeadPreference = 'auto' | AeadName;

/**
 * The cipher implementation to use: the named one, or with `'auto'` the fastest of those that load (`sodium-native`, but
 * `node:crypto` for packets of 12 KB and more; else `node:crypto`, else `@noble/ciphers`).
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
  fastest ??= chooseFastest();
  return fastest;
}

function chooseFastest(): AeadProvider {
  const sodium = load('sodium');
  const node = load('node');
  if (sodium !== null && node !== null) return new AeadBySize(sodium, node, LONG_PACKET_BYTES);
  return sodium ?? node ?? loadNobleAead();
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
let fastest: AeadProvider | null = null;
const LOADED = new Map<AeadName, AeadProvider | null>();
const REMEDY: Record<AeadName, string> = {
  sodium: "install the optional dependency 'sodium-native', or choose 'auto'",
  node: "this Node was built without chacha20-poly1305; choose 'auto'",
  noble: "choose 'auto'",
};
/**
 * From here on OpenSSL (9 us a packet and 0.25 us a KB with AVX-512, half the speed with AVX2) is ahead of libsodium (1 us and 1 us).
 */
const LONG_PACKET_BYTES = 12_288;
const PROBE_BYTES = 12;
const PROBE_NONCE = new Uint8Array(12);
/** Four zero bytes of associated data, then eight zero bytes sealed under the zero key and nonce. */
const PROBE_SEALED = '000000009f07e7be5551387a5e9314c6395188c1724f994d7592fe08';
