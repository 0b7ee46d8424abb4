/** A line for each test, its error below it, and a last line that counts them as CI reads it. */
import { inspect } from 'node:util';
import type { TestEvent } from 'node:test/reporters';

/** What Node adds to the error of a test. */
interface FailedTest extends Error {
  readonly failureType?: string;
}

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const counts = { passed: 0, failed: 0 };
  for await (const event of source) {
    if (event.type === 'test:stdout' || event.type === 'test:stderr') yield event.data.message;
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, nesting, details } = event.data;
    const isSuite = details.type === 'suite';
    const hasFailed = event.type === 'test:fail';
    if (isSuite && !hasFailed) continue;
    // A suite fails with its tests, which are told already; alone when its set-up failed.
    const error: FailedTest | undefined = hasFailed ? event.data.details.error : undefined;
    if (isSuite && error?.failureType === 'subtestsFailed') continue;
    counts[hasFailed ? 'failed' : 'passed'] += 1;
    const took = `${Math.round(details.duration_ms)} ms`;
    yield `${'  '.repeat(nesting)}${hasFailed ? 'FAILED' : 'ok    '} ${name} (${took})\n`;
    // Those that never began, because their suite did not, are named and no more.
    const isTold = error !== undefined && error.failureType !== 'cancelledByParent';
    if (isTold) yield `${told(error.cause ?? error)}\n`;
  }
  yield `${counts.passed} passed, ${counts.failed} failed\n`;
}

/** What is below an error, a response say, is not for reading; a cause is. */
function told(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  const { stack = error.message, cause } = error;
  return cause === undefined ? stack : `${stack}\n  because of ${told(cause)}`;
}
