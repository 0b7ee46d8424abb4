/** Jest's environment without a context of its own: tests see Node's globals. Goes with native-runtime.cjs. */
const { ModernFakeTimers } = require('@jest/fake-timers');
const { ModuleMocker } = require('jest-mock');

/** The globals that jest replaces for the time of a file. */
const { console } = globalThis;
const { exit } = process; // eslint-disable-line typescript/unbound-method -- put back as it was

module.exports = class NativeEnvironment {
  constructor({ projectConfig }) {
    this.global = globalThis;
    Object.assign(globalThis, projectConfig.globals);
    this.moduleMocker = new ModuleMocker(globalThis);
    this.fakeTimersModern = new ModernFakeTimers({ config: projectConfig, global: globalThis });
  }

  async setup() {}

  async teardown() {
    this.fakeTimersModern.dispose();
    globalThis.console = console;
    process.exit = exit;
  }

  exportConditions() {
    return ['node', 'node-addons'];
  }

  getVmContext() {
    return null;
  }
};
