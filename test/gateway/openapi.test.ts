import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PROBLEM_CODES, Problem } from '../../src/gateway/problem.ts';
import { RouteTable } from '../../src/gateway/router.ts';
import { ROUTES, UPGRADES } from '../../src/gateway/routes/index.ts';
import { gatewayInMemory, type RawAnswer, type TestGateway } from './gateway-server.ts';

const document = JSON.parse(readFileSync(new URL('../../spec/openapi.json', import.meta.url), 'utf8'));
const ajv = new Ajv2020({ strict: false, formats: { binary: true } });
ajv.addSchema(document, 'api');

let server: TestGateway;
beforeAll(async () => {
  server = await gatewayInMemory({ limits: { bulkItemsMax: 5, payloadBytesMax: 100 } });
});
afterAll(() => server.close());

/** Where a reference in the document leads. */
function follow<T>(value: T & { $ref?: string }): T {
  if (value.$ref === undefined) return value;
  return value.$ref
    .slice(2)
    .split('/')
    .reduce((at, name) => at[name], document) as T;
}

/** What is wrong with an answer, by what the document says of it; null: nothing. */
function faultOf(operation: { responses: Record<string, object> }, answer: RawAnswer): string | null {
  const described = follow(
    operation.responses[`${answer.status}`] as { content?: Record<string, { schema: object }> },
  );
  if (described === undefined) return `${answer.status} is not described`;
  if (described.content === undefined) return answer.text === '' ? null : 'a body is not described';
  const type = (answer.headers['content-type'] ?? '').split(';')[0];
  const content = described.content[type] ?? described.content['*/*'];
  if (content === undefined) return `${type} is not described`;
  if (answer.json === null) return null;
  const validate = ajv.compile({ ...content.schema, ...resolved(content.schema) });
  return validate(answer.json) ? null : ajv.errorsText(validate.errors);
}

/** A schema by itself, with references into the whole document. */
function resolved(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/'));
}

describe('the description of the interface [GW-31]', () => {
  test('has every path and method that is served, and none that is not', () => {
    const table = new RouteTable(ROUTES);
    const served = table.routes.flatMap(({ path, methods }) =>
      Object.keys(methods).map((method) => `${method} ${path.replace(/\/$/, '/*')}`),
    );
    for (const path of Object.keys(UPGRADES)) served.push(`GET ${path}`);
    served.push('GET /v1/openapi.json');
    const described = Object.entries(document.paths as Record<string, object>).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((method) => method !== 'parameters')
        .map((method) => `${method.toUpperCase()} ${path.replace(/\{.*\}$/, '*')}`),
    );
    expect(described.filter((each) => !served.includes(each))).toEqual([]);
    expect(served.filter((each) => !described.includes(each))).toEqual([]);
  });

  test('has every problem with its status', () => {
    expect(document.components.schemas.ProblemCode.enum).toEqual(PROBLEM_CODES);
    for (const code of PROBLEM_CODES) {
      const { status } = new Problem(code, 'x');
      expect(document.components.responses[`${status}`].description).toContain(`${code}:`);
    }
  });

  test('and so has the specification [GW-3]', () => {
    const page = readFileSync(new URL('../../spec/gateway.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| (\d{3}) \| ([A-Z_]+) \| (.+) \|$/gm)].map(([, ...row]) => row);
    const known = PROBLEM_CODES.map((code) => {
      const { status, title } = new Problem(code, 'x').toJSON();
      return [`${status}`, code, title];
    });
    expect(rows).toEqual(known);
  });

  test('is OpenAPI whose schemas are schemas, and is what is served', async () => {
    for (const name of Object.keys(document.components.schemas)) {
      expect(() => ajv.compile({ $ref: `api#/components/schemas/${name}` })).not.toThrow();
    }
    const served = await server.raw('GET', '/v1/openapi.json');
    expect([served.status, served.json]).toEqual([200, document]);
    const again = await server.raw('GET', '/v1/openapi.json', {
      'if-none-match': served.headers.etag as string,
    });
    expect([again.status, again.text]).toEqual([304, '']);
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  test('says of each answer what it is', async () => {
    const json = { 'content-type': 'application/json' };
    const publish = document.paths['/v1/topics/{topic}'];
    const bulk = document.paths['/v1/bulk'].post;
    const cases: [object, string, string, Record<string, string>, string][] = [
      [publish.post, 'POST', '/v1/topics/a', {}, 'x'],
      [publish.put, 'PUT', '/v1/topics/a?retain=true&qos=1', {}, 'x'],
      [publish.post, 'POST', '/v1/topics/a?qos=0', {}, 'x'],
      [publish.post, 'POST', '/v1/topics/%23', {}, 'x'],
      [publish.post, 'POST', '/v1/topics/a', { origin: 'https://evil.org' }, 'x'],
      [publish.post, 'POST', '/v1/topics/a', { host: 'evil.org' }, 'x'],
      [publish.post, 'POST', '/v1/topics/a', { authorization: 'Basic x' }, 'x'],
      [publish.post, 'POST', '/v1/topics/a', {}, 'x'.repeat(101)],
      [publish.post, 'POST', '/v1/topics/a', { 'content-encoding': 'br' }, 'x'],
      [publish.get, 'GET', '/v1/topics/a', {}, ''],
      [publish.get, 'GET', '/v1/topics/none', {}, ''],
      [publish.delete, 'DELETE', '/v1/topics/a', {}, ''],
      [bulk, 'POST', '/v1/bulk', json, '[{"topic":"a"}]'],
      [bulk, 'POST', '/v1/bulk', json, '[{"topic":"a","qos":0}]'],
      [bulk, 'POST', '/v1/bulk', json, '[{"topic":"a"},{"topic":"#"},{"topic":"a","qos":0}]'],
      [bulk, 'POST', '/v1/bulk', json, '[{"topic":"#"}]'],
      [bulk, 'POST', '/v1/bulk?atomic=true', json, '[{"topic":"a"},{"topic":"#"}]'],
      [document.paths['/v1/requests/{topic}'].post, 'POST', '/v1/requests/nobody', {}, 'x'],
      [document.paths['/healthz'].get, 'GET', '/healthz', {}, ''],
      [document.paths['/readyz'].get, 'GET', '/readyz', {}, ''],
    ];
    for (const [operation, method, path, headers, body] of cases) {
      const answer = await server.raw(method, path, headers, body);
      const fault = faultOf(operation as { responses: Record<string, object> }, answer);
      expect([method, path, answer.status, fault]).toEqual([method, path, answer.status, null]);
    }
  });
});
