import { describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import * as z from 'zod';
import { describeRoutes } from '../src/http/openapi.ts';

const Schema = z.looseObject({ required: z.array(z.string()).default([]) });
const Content = z.object({ 'application/json': z.object({ schema: Schema }) });
const Operation = z.object({
  requestBody: z.object({ content: Content }).optional(),
  responses: z.object({ '2XX': z.object({ content: Content }) }),
});
const operation = (path: string, method: string) => {
  const { paths } = z
    .object({ paths: z.record(z.string(), z.record(z.string(), z.unknown())) })
    .parse(describeRoutes('gateway'));
  const { requestBody, responses } = Operation.parse(paths[path]?.[method]);
  return {
    takes: requestBody?.content['application/json'].schema.required,
    answers: responses['2XX'].content['application/json'].schema,
  };
};

describe('the OpenAPI document', () => {
  it('says of an answer that what has a default is there, and of a request that it may be left out', () => {
    const { takes, answers } = operation('/pins', 'post');
    expect(takes).toEqual(['cid']);
    expect(answers.required).toEqual(expect.arrayContaining(['kind', 'causes', 'copies']));
    expect(answers.required).not.toContain('sha256');
    const health = operation('/files/{hash}/health', 'get').answers.required;
    expect(health).toEqual(expect.arrayContaining(['proved', 'claimed', 'machines']));
  });

  it('forbids no field of an answer that a later version adds', () => {
    for (const service of SERVICES)
      for (const path of Object.values(describeRoutes(service)['paths'] as object))
        for (const { responses } of Object.values(path as Record<string, { responses: object }>))
          expect(JSON.stringify(responses)).not.toContain('"additionalProperties":false');
  });
});
