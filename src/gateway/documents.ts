/**
 * What a gateway serves that does not change while it runs: the files of the dashboard, the client for browsers, and the description of its interface. They are read once. What
 * a page of ours may do is told with each: load from here alone, be framed by nobody, tell nobody where it was. [GW-32]
 */

import { hash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Exchange } from './exchange.ts';
import type { Route } from './router.ts';

/** Routes for the documents that there are. */
export function documentRoutes(hasDashboard: boolean): Route[] {
  const files = hasDashboard ? filesIn(DASHBOARD_FOLDER) : [];
  const routes = [
    fileRoute('/v1/openapi.json', OPENAPI_FILE, ANYONE),
    fileRoute('/jsp.js', WEB_CLIENT_FILE, ANYONE),
    ...files.map((name) => fileRoute(name === INDEX ? '/' : `/${name}`, DASHBOARD_FOLDER + name, OF_PAGES)),
  ];
  return routes.filter((route) => route !== null);
}

/** A document in memory, plain and compressed. */
class Document {
  private readonly type: string;
  private readonly plain: Buffer;
  private readonly etag: string;
  private readonly headers: Readonly<Record<string, string>>;
  private zipped: Buffer | null = null;

  constructor(type: string, plain: Buffer, headers: Readonly<Record<string, string>>) {
    this.type = type;
    this.plain = plain;
    this.headers = headers;
    this.etag = hash('sha256', plain, 'base64').slice(0, 22);
  }

  serve(exchange: Exchange): void {
    const takesGzip = acceptsGzip(exchange.header('accept-encoding') ?? '');
    // Two forms of a document are two entities.
    const etag = `"${this.etag}${takesGzip ? 'z' : ''}"`;
    const headers = { ...this.headers, etag, 'cache-control': 'no-cache', vary: 'accept-encoding' };
    if (exchange.header('if-none-match')?.includes(etag)) {
      exchange.empty(304, headers);
    } else if (takesGzip) {
      this.zipped ??= gzipSync(this.plain);
      exchange.answer(200, this.type, this.zipped, { ...headers, 'content-encoding': 'gzip' });
    } else {
      exchange.answer(200, this.type, this.plain, headers);
    }
  }
}

/** Whether an Accept-Encoding names gzip, and not with a weight of 0, which refuses it (RFC 9110, section 12.5.3). */
function acceptsGzip(header: string): boolean {
  const named = /(?:^|,)\s*gzip\s*(?:;\s*q\s*=\s*([\d.]+)\s*)?(?=,|$)/i.exec(header);
  return named !== null && Number(named[1] ?? 1) > 0;
}

/** Null: there is no such file, as before it is built. */
function fileRoute(path: string, file: string, headers: Readonly<Record<string, string>>): Route | null {
  const type = TYPES[/\.[a-z]+$/.exec(file)?.[0] ?? ''] ?? 'application/octet-stream';
  try {
    const document = new Document(type, readFileSync(file), { ...SAFE, ...headers });
    return { path, methods: { GET: (exchange) => document.serve(exchange) } };
  } catch {
    return null;
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /\.[a-z]+$/.test(name) && !/\.(map|ts)$/.test(name));
  } catch {
    return [];
  }
}

/** The same folder from src/gateway and from dist/gateway. */
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** [GW-31] what is served is what the specification has */
const OPENAPI_FILE = `${ROOT}spec/openapi.json`;
const WEB_CLIENT_FILE = `${ROOT}dist/web/jsp.js`;
const DASHBOARD_FOLDER = `${ROOT}dist/gateway/dashboard/`;
const INDEX = 'index.html';
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
};
const SAFE = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' };
/** Pages of others may have it: it says nothing of anybody. */
const ANYONE = { 'access-control-allow-origin': '*', 'cross-origin-resource-policy': 'cross-origin' };
const OF_PAGES = {
  'content-security-policy': [
    "default-src 'none'",
    ...[
      "script-src 'self'",
      "style-src 'self'",
      "connect-src 'self'",
      "img-src 'self' data:",
      "font-src 'self'",
    ],
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"],
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'x-frame-options': 'DENY',
};
