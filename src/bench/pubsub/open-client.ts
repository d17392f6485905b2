import { JspError } from '../../base/errors.ts';
import { JspLoadClient } from './jsp-client.ts';
import type { PubsubLoad } from './load.ts';
import type { LoadClient } from './load-client.ts';

/** Connects to the broker at this URL, which {@link brokerKindOf} knows. */
export async function connectLoadClient(url: string, load: PubsubLoad): Promise<LoadClient> {
  const kind = brokerKindOf(url);
  if (kind === 'jsp' || kind === null) return await JspLoadClient.connect(url);
  try {
    if (kind === 'mqtt') return await (await import('./mqtt-client.ts')).MqttLoadClient.connect(url);
    return await (await import('./nats-client.ts')).NatsLoadClient.connect(url, load);
  } catch (error) {
    if (error instanceof JspError) throw error;
    const { message } = error as Error; // neither here nor there the name and the password in the URL
    throw new JspError('ERR_JSP_SOCKET', `the broker at ${new URL(url).host}: ${message}`, { cause: error });
  }
}

/** What speaks at a URL; null where that is none that can be measured. */
export function brokerKindOf(url: string): 'jsp' | 'mqtt' | 'nats' | null {
  const [scheme] = url.toLowerCase().split('://');
  return KINDS[scheme] ?? null;
}

const KINDS: Readonly<Record<string, 'jsp' | 'mqtt' | 'nats'>> = {
  jsp: 'jsp',
  mqtt: 'mqtt',
  mqtts: 'mqtt',
  ws: 'mqtt',
  wss: 'mqtt',
  nats: 'nats',
  tls: 'nats',
};
