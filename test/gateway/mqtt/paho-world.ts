/** What the cases of Paho's suite begin with, in both of its versions: a broker that forbids one filter, and two clients of the names that the suite has. */

import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import type { Connecting, MqttPeer } from './mqtt-peer.ts';
import { mqttInMemory, StandingClock, type TestMqtt, until } from './mqtt-server.ts';

export const FORBIDDEN = 'test/nosubscribe';

export class PahoWorld {
  readonly clock = new StandingClock();
  server!: TestMqtt;
  private readonly version: 4 | 5;
  private readonly peers: MqttPeer[] = [];

  /**
   * Is set up and taken down with the file that makes it. Each of its cases begins with nobody connected, no session and no last value, whatever became of the one before.
   *
   * @param topics - those that cases keep last values of
   */
  constructor(version: 4 | 5, topics: readonly string[]) {
    this.version = version;
    beforeAll(async () => {
      const rules = [
        { allow: '*', topics: ['#'] },
        { deny: ['subscribe'], topics: [FORBIDDEN] },
      ] as const;
      const { clock } = this;
      this.server = await mqttInMemory({ clock }, { clock, auth: { anonymous: { rules } } });
    });
    afterEach(async () => {
      const { mqtt, broker } = this.server;
      for (const peer of this.peers.splice(0)) peer.terminate();
      await until(() => mqtt.metrics().connections === 0 && broker.metrics().clients === 0);
      for (const clientId of CLIENT_IDS) {
        const client = await this.welcomed({ clientId, clean: true });
        for (const topic of topics) await client.publish(topic, '', { qos: 1, retain: true });
        await client.disconnect();
      }
      await until(() => broker.metrics().clients === 0);
    });
    afterAll(async () => {
      expect(this.server.faults).toEqual([]);
      await this.server.close();
    });
  }

  readonly a = (more: Connecting = {}): Promise<MqttPeer> =>
    this.welcomed({ clientId: CLIENT_IDS[0], ...more });
  readonly b = (more: Connecting = {}): Promise<MqttPeer> =>
    this.welcomed({ clientId: CLIENT_IDS[1], ...more });

  /** A client of this version, which is gone when the case is over. */
  async welcomed(connecting: Connecting): Promise<MqttPeer> {
    const peer = await this.server.welcomed({ protocolVersion: this.version, ...connecting });
    this.peers.push(peer);
    return peer;
  }
}

const CLIENT_IDS = ['myclientid', 'myclientid2'] as const;
