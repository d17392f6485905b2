/** The table `[backplane]`: the engine by which several brokers are one. */

import { isPinnedUrl } from '../../transport/url.ts';
import { BACKPLANE_OPTIONS } from '../backplane/options.ts';
import { durationOf, listOf, numberOf, path, textOf, wordOf } from './kinds.ts';
import { optional, setting, table } from './setting.ts';

const SECOND = 1_000;

export const BACKPLANE_SETTINGS = table('What makes this broker one with others: a node of a cluster.', {
  kind: setting(
    wordOf(['none', 'nats']),
    'none',
    'The engine: "nats" is a NATS server with JetStream, or several. "none": this broker is alone, which is enough for most.',
  ),
  urls: setting(
    listOf(textOf()),
    ['nats://127.0.0.1:4222'],
    'Where the engine is: any of these will do, and the next is tried when one fails.',
  ),
  cluster: setting(
    textOf(BACKPLANE_OPTIONS.cluster),
    'main',
    'Brokers of this name are one, whatever else uses the engine.',
  ),
  node: optional(
    textOf(BACKPLANE_OPTIONS.node),
    '"broker-1"',
    'What this broker is called in the cluster, and no other. By default the name of the machine, with something random.',
  ),
  credentials: optional(path, '"/etc/jsp/nats.creds"', 'File with the credentials of a user of NATS.'),
  user: optional(textOf(), '"jsp"', 'Name of a user of NATS, with its password.'),
  password: optional(
    textOf(),
    '"secret"',
    'Best in the environment, as JSP_BROKER_BACKPLANE_PASSWORD, for a configuration is read by many.',
  ),
  token: optional(textOf(), '"secret"', 'Token of NATS, in the place of a user.'),
  tls_ca: optional(
    path,
    '"/etc/jsp/nats-ca.pem"',
    'File with the authority that vouches for the servers of NATS; the connection is encrypted. By default those that the system knows, with a URL of tls://.',
  ),
  tls_cert: optional(
    path,
    '"/etc/jsp/nats-client.pem"',
    'File with the certificate of this broker, where NATS asks for one.',
  ),
  tls_key: optional(path, '"/etc/jsp/nats-client-key.pem"', 'File with its private key.'),
  replicas: setting(
    numberOf(BACKPLANE_OPTIONS.replicas),
    1,
    'How many servers of NATS keep what is stored: 3 outlive the loss of one.',
  ),
  duplicate_window: setting(
    durationOf(BACKPLANE_OPTIONS.duplicateWindowMs),
    120 * SECOND,
    'For so long a message that is published once more is known to be stored already.',
  ),
  advertise: setting(
    listOf(
      textOf((value) => (isPinnedUrl(value) ? null : 'a URL with the fingerprint of its broker')),
      16,
    ),
    [],
    'URLs under which clients reach this broker, the best first: other brokers send their clients there when they stop. By default its own URL.',
    { example: '["jsp://<fingerprint>@broker-1.example.org:4577"]' },
  ),
});
