/** A broker with a door for MQTT, in memory and on ports of the system's choice, for the tests of a file; and time that passes when they say so. */

import { type Broker, type BrokerOptions, startBroker } from '../../../src/broker/index.ts';
import { type MqttDoor, type MqttOptions, startMqtt } from '../../../src/gateway/index.ts';
import { generateIdentity } from '../../../src/transport/system-crypto.ts';
import { ManualClock } from '../../client/manual-clock.ts';
import { type Connecting, MqttPeer } from './mqtt-peer.ts';

export interface TestMqtt {
  readonly broker: Broker;
  readonly mqtt: MqttDoor;
  readonly port: number;
  /** Faults of either. */
  readonly faults: unknown[];
  /** A client that was welcomed. */
  welcomed(connecting?: Connecting): Promise<MqttPeer>;
  close(): Promise<void>;
}

export async function mqttInMemory(
  options: Partial<MqttOptions> = {},
  brokerOptions: Partial<BrokerOptions> = {},
): Promise<TestMqtt> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0, ...brokerOptions });
  const mqtt = await startMqtt({ broker, port: 0, ...options });
  const faults: unknown[] = [];
  broker.on('fault', (fault) => faults.push(fault));
  mqtt.on('fault', (fault) => faults.push(fault));
  return {
    broker,
    mqtt,
    port: mqtt.port,
    faults,
    welcomed: (connecting) => MqttPeer.welcomed(mqtt.port, connecting),
    close: async () => {
      await mqtt.close({ drainMs: 0 });
      await broker.close({ drainMs: 0 });
    },
  };
}

/** Time that passes when the test says so, and turns of the event loop as they come. */
export class StandingClock extends ManualClock {
  override soon(callback: () => void): void {
    setImmediate(callback);
  }

  /** Lets seconds pass, one after the other, with some turns for what they set going. */
  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds; i++) {
      this.advance(1_000);
      await turns(4);
    }
  }
}

/** So many turns of the event loop. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Resolves when it is so, which takes turns of the event loop and nothing else. After many of them it looks once a millisecond: one that spins takes the CPU
 * from the programs that it waits for.
 */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++)
    await (turn < TURNS_AT_ONCE ? turns(1) : new Promise((resolve) => setTimeout(resolve, 1)));
}

const TURNS_AT_ONCE = 1_000;
