import { Access, type AccessRule } from '../../../../src/broker/core/access/access.ts';
import { EVERYONE, type Principal } from '../../../../src/broker/core/access/principal.ts';
import type { BrokerLimits } from '../../../../src/broker/core/state.ts';
import { PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../../../src/pubsub/properties.ts';
import { AuthMethod, type Hello } from '../../../../src/pubsub/session-commands.ts';
import type { FakeStream } from '../fake-client.ts';
import { type Guest, World } from '../world.ts';

/** A broker that lets in whom the test knows. */
export class Guarded extends World {
  constructor(limits: BrokerLimits = {}, anonymous: Principal | null = null) {
    super(limits);
    this.guard(anonymous);
  }

  /** Also after a crash. */
  guard(anonymous: Principal | null = null): void {
    this.core.admission.policy = { authenticates: true, anonymous };
  }

  /** A client that was let in, with a session of that name. */
  enter(principal: Principal, session = '', options: Partial<Hello> = {}): Guest {
    const guest = this.hello(session, {
      method: AuthMethod.API_KEY,
      credentials: Buffer.from('k'),
      ...options,
    });
    this.core.answer({ principal });
    return guest;
  }
}

/** Somebody with these rules, as `allow publish,subscribe a/#`. */
export function somebody(name: string, rules: readonly string[], more: Partial<Principal> = {}): Principal {
  return {
    ...EVERYONE,
    name,
    kind: 'apiKey',
    id: `key-${name}`,
    access: new Access(rules.map(ruleOf)),
    ...more,
  };
}

function ruleOf(text: string): AccessRule {
  const [effect, actions, ...filters] = text.split(' ');
  return {
    effect: effect as 'allow' | 'deny',
    actions: actions.split(',') as AccessRule['actions'],
    filters,
  };
}

export function message(topic: string, payload: string, properties: Properties = {}, id = 0): Buffer {
  const flags = PublishFlag.PROPERTIES | (id === 0 ? 0 : PublishFlag.QOS1);
  return Buffer.concat([publishPrefix(topic, flags, id), encodeProperties(properties), Buffer.from(payload)]);
}

/** A stream of the client that is subscribed to `filter`, or was refused. */
export function reader(guest: Guest, filter: string): FakeStream {
  const stream = guest.client.open();
  stream.subscribe(1, filter);
  stream.carry();
  return stream;
}
