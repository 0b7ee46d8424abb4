import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SERVICES, type Service } from '@shoal/protocol';
import * as fc from 'fast-check';
import { type Asked, type OpenPeer, openPeer } from './every-route.ts';
import { type Document, type Generated, type Operation, requestsOf } from './openapi-requests.ts';

/** Of each operation; some 220 operations there are. */
const REQUESTS_EACH = 10;
const TOKEN = 'the-token-of-this-test';
const SEED = 20261129;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** What people and browsers ask for, and what is there to refuse: no part of what programs are told of. */
const UNDESCRIBED = [
  /^GET \/(?:console\/.*)?$/, // the console
  /^OPTIONS \/(?:ipfs|routing\/v1)\/\*$/, // what browsers ask before they ask
  /^GET \/routing\/v1\/\*$/,
  /^[A-Z]+ \/api\/v0\/\*$/, // its commands are described one by one
];

let peer: OpenPeer;
beforeAll(async () => {
  // With a token, since the RPC answers nothing without.
  peer = await openPeer({}, { WRITE_TOKEN: TOKEN });
}, 120_000);
afterAll(async () => {
  await peer[Symbol.asyncDispose]();
});

describe.each([...SERVICES])('the OpenAPI document of %s', (service) => {
  it('says which statuses and media types come, and what is refused', async () => {
    const origin = originOf(service);
    const differences: string[] = [];
    for (const [path, operations] of Object.entries((await documentOf(origin)).paths))
      for (const [method, operation] of Object.entries(operations))
        for (const generated of fc.sample(requestsOf(path, operation), {
          numRuns: REQUESTS_EACH,
          seed: SEED,
        })) {
          const answer = await ask(origin, method.toUpperCase(), generated);
          const difference = differenceOf(operation, generated, answer);
          if (difference !== undefined)
            differences.push(
              `${method} ${generated.path.slice(0, 200)}: ${difference}; ${answer.text.slice(0, 200)}`,
            );
        }
    expect(differences).toEqual([]);
  }, 300_000);

  it('has every route that there is', async () => {
    const { paths } = await documentOf(originOf(service));
    const described = new Set(
      Object.entries(paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
      ),
    );
    const nameOf = ({ method, route }: Asked) =>
      `${method} ${route.replace(/:(\w+)/g, '{$1}').replace('/ipfs/*', '/ipfs/{path}')}`;
    const there = peer
      .routesAt(service)
      .filter(
        ({ method, route }) =>
          !UNDESCRIBED.some((each) => each.test(`${method.replace('HEAD', 'GET')} ${route}`)),
      )
      .map(nameOf);
    expect(there.length).toBeGreaterThan(10);
    expect(there.filter((each) => !described.has(each))).toEqual([]);
    const rpc = [...described].filter((each) => each.startsWith('POST /api/v0/'));
    expect([...described].filter((each) => !there.includes(each)).sort()).toEqual(rpc.sort());
  });

  it('is kept by methods too: any other is 405, and Allow has those that there are', async () => {
    const origin = originOf(service);
    for (const [path, operations] of Object.entries((await documentOf(origin)).paths)) {
      const filled = path.replace(/\{\w+\}/g, 'x');
      for (const method of METHODS) {
        if (method.toLowerCase() in operations) continue;
        const answer = await ask(origin, method, { path: filled, type: 'text/csv', body: 'x' });
        // Another row may have the path too, as `/files/{name}` and `/files/{hash}` are one.
        expect([method, path, answer.status]).not.toEqual([method, path, 404]);
        if (answer.status !== 405) continue;
        const allow = (answer.headers.allow ?? '').split(', ');
        expect(allow).not.toContain(method);
        for (const there of Object.keys(operations)) expect(allow).toContain(there.toUpperCase());
      }
    }
  }, 120_000);

  it('is not widened by a path that there is not', async () => {
    for (const method of METHODS)
      expect((await ask(originOf(service), method, { path: '/no/such/path' })).status).toBe(404);
  });
});

const originOf = (service: Service): string => peer.peer.origins[service];

const documentOf = async (origin: string): Promise<Document> =>
  // Ours; what of it is used is checked by the requests made of it.
  (await (await fetch(`${origin}/openapi.json`)).json()) as Document;

/** What an answer is that the document does not say. */
function differenceOf(
  operation: Operation,
  { isValid }: Generated,
  { status, headers, text }: Answer,
): string | undefined {
  const audience = operation['x-audience'];
  if (status >= 500 && !isCommandFailure(text)) return `answered ${status}`;
  const said = operation.responses[`${String(status)[0]}XX`];
  if (said === undefined) return `${status} is not in the document`;
  const [type = ''] = (headers['content-type'] ?? '').split(';');
  const types = Object.keys(said.content ?? {});
  if (type !== '' && types.length > 0 && !types.includes('*/*') && !types.includes(type))
    return `${status} as ${type} is not in the document`;
  const absent = Object.keys(said.headers ?? {}).filter((name) => !(name.toLowerCase() in headers));
  if (absent.length > 0) return `${status} without ${absent.join(', ')}`;
  if (audience !== 'public') return status === 401 ? undefined : `${status} without a proof`;
  if (isValid && isShape(text) && operation.requestBody === undefined)
    return `${status}, though the document says that it is taken`;
  if (!isValid && status < 400) return `${status}, though the document says that it is refused`;
  return undefined;
}

/** Kubo's RPC answers 500 to a command that failed, as Kubo does; but not to a fault of our own. */
const isCommandFailure = (text: string): boolean =>
  /^\{"Message":.*"Type":"error"\}$/.test(text) && !text.includes('a fault of its own');

/** Whether what was refused is how the request is written, and not what it is about. */
const isShape = (text: string): boolean =>
  /"type":"problems\/(?:request-invalid|hash-invalid|file-name-invalid)"/.test(text);

/** As it is written: fetch would take away parts of paths, and follow redirects. */
function ask(
  origin: string,
  method: string,
  { path, headers: own = {}, type, body }: Partial<Generated> & { readonly path: string },
): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  const headers = {
    authorization: `Bearer ${TOKEN}`,
    ...own,
    ...(type === undefined ? {} : { 'content-type': type }),
    ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
  };
  return new Promise((resolve, reject) => {
    httpRequest({ hostname, port, method, path, headers, agent: false }, (answer) => {
      const { statusCode: status = 0, headers: answered } = answer;
      if (answered['content-type']?.startsWith('text/event-stream')) {
        answer.destroy(); // it has no end
        return resolve({ status, headers: answered, text: '' });
      }
      let text = '';
      answer.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      answer.on('error', reject).on('end', () => resolve({ status, headers: answered, text }));
    })
      .on('error', reject)
      .end(body);
  });
}
