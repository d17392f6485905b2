/** The table `[mqtt]`: doors for clients of MQTT in the process of the broker. What it means is the gateway's, which is told it by whoever starts both. */

import { whole } from '../../base/options.ts';
import { listenAddress } from './http-settings.ts';
import { bytesOf, durationOf, numberOf, path } from './kinds.ts';
import { optional, setting, table } from './setting.ts';

const MIB = 1_024 * 1_024;
const SECOND = 1_000;

export const MQTT_SETTINGS = table(
  'MQTT 5, 3.1.1 and 3.1 in this process; WebSockets come by /mqtt of [http].',
  {
    listen: optional(
      listenAddress(1_883),
      '"127.0.0.1:1883"',
      'Where it listens for TCP. By default it does not.',
    ),
    tls_listen: optional(
      listenAddress(8_883),
      '"0.0.0.0:8883"',
      'Where it listens for TLS. By default it does not.',
    ),
    tls_cert: optional(
      path,
      '"/etc/jsp/tls/fullchain.pem"',
      'File with a certificate and those above it, for TLS; it is read again when the broker reloads. By default that of [http].',
    ),
    tls_key: optional(path, '"/etc/jsp/tls/privkey.pem"', 'File with its private key; read again with it.'),
    max_connections: setting(
      numberOf(whole(1, 1_000_000)),
      20_000,
      'Most connections at once, of each way in; the next is closed as it comes.',
    ),
    max_packet_bytes: setting(
      bytesOf(whole(1_024, 16 * MIB)),
      MIB,
      'Most bytes of one packet, which clients of MQTT 5 are told.',
    ),
    receive_maximum: setting(
      numberOf(whole(1, 65_535)),
      1_024,
      'Most messages of QoS 1 and 2 that a client may publish before the first is answered.',
    ),
    max_in_flight: setting(
      numberOf(whole(1, 16_384)),
      256,
      'Most messages of QoS 1 that a client is given before it acknowledges the first, where it does not ask for fewer.',
    ),
    topic_aliases: setting(numberOf(whole(0, 1_024)), 64, 'Most topic aliases that a client may define.'),
    max_keep_alive: setting(
      durationOf(whole(0, 65_535 * SECOND)),
      0,
      'The longest keep-alive of MQTT 5, which is told a client that asks for more; 0: whatever it says.',
    ),
    connect_timeout: setting(
      durationOf(whole(1, 2 ** 31 - 1)),
      5 * SECOND,
      'How long a client may take to send its CONNECT.',
    ),
    max_partial_bytes: setting(
      bytesOf(whole(1, 2 ** 40)),
      64 * MIB,
      'Most bytes of all packets together that have not come whole.',
    ),
  },
);
