import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { makeApiKey } from '../../src/broker/auth/api-key.ts';
import { addEntry, removeEntries } from '../../src/broker/auth/edit-file.ts';
import { type BrokerClient, type Credentials, connectClient } from '../../src/client/index.ts';
import { AUDIENCE, ISSUER, mint, type SigningKey, signingKey } from '../broker/auth/minting.ts';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp } from './jsp.ts';

test('keys of an issuer and of clients are changed in a broker that runs, and nobody else notices [AUT-14]', async () => {
  const folder = emptyFolder();
  const [file, jwks] = [join(folder, 'auth.toml'), join(folder, 'jwks.json')];
  const publish = (...keys: SigningKey[]) =>
    writeFileSync(jwks, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  const [old, next] = [signingKey('ES256', 'old'), signingKey('EdDSA', 'next')];
  const [shop, till] = [makeApiKey('shop'), makeApiKey('till')];
  publish(old);
  for (const { id, hash } of [shop, till]) addEntry(file, 'key', { id, hash, roles: ['user'] });
  writeFileSync(
    join(folder, 'jsp.toml'),
    `[auth]
keys_file = "auth.toml"
[auth.roles.user]
rules = [{ allow = "*", topics = ["own/#"] }]
[[auth.jwt]]
issuer = "${ISSUER}"
audience = "${AUDIENCE}"
algorithms = ["ES256", "EdDSA"]
jwks = "jwks.json"
roles = ["user"]
`,
  );
  const broker = new Jsp(['broker', '--config', 'jsp.toml', '--port', '0', '--log-format', 'json'], {
    cwd: folder,
  });
  await broker.until(({ err }) => err.includes('"listening"'));
  const url = broker.out.split('\n')[0];
  const reload = async (): Promise<void> => {
    const count = ({ err }: Jsp) => err.split('"event":"reload"').length;
    const before = count(broker);
    broker.process.kill('SIGHUP');
    await broker.until((jsp) => count(jsp) > before);
  };
  const join_ = async (credentials: Credentials): Promise<BrokerClient> => {
    const client = await connectClient(url, { credentials });
    onTestFinished(() => client.destroy());
    return client;
  };
  const isServed = async (client: BrokerClient) =>
    expect(await client.publish('own/x', 'still here', { qos: 1 })).toBeDefined();
  const refused = { code: 'ERR_JSP_NOT_AUTHORIZED' };

  const [ofShop, ofTill, bob] = [
    await join_({ apiKey: shop.text }),
    await join_({ apiKey: till.text }),
    await join_({ jwt: await mint(old) }),
  ];
  await expect(join_({ jwt: await mint(next) })).rejects.toMatchObject(refused);
  publish(old, next);
  await reload();
  const alice = await join_({ jwt: await mint(next, { sub: 'alice' }) });
  await isServed(bob);
  publish(next);
  await reload();
  expect(await bob.closed).toMatchObject(refused);
  await expect(join_({ jwt: await mint(old) })).rejects.toMatchObject(refused);
  removeEntries(file, 'key', 'shop', new Date());
  await reload();
  expect(await ofShop.closed).toMatchObject(refused);
  for (const client of [ofTill, alice]) await isServed(client);
});
