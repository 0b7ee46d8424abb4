/** Jest takes a time limit for all projects or for none: each level names its own as a global. */
import { jest } from '@jest/globals';

jest.setTimeout(globalThis.TEST_TIMEOUT_MS);
