/**
 * Loaded before a command, as `node --require`: at SIGUSR2 its clocks jump by what the environment variable JSP_TEST_JUMP says, in ms: that of the wall, and
 * with it the time since the machine was started, as after a sleep of the machine.
 */
const { syncBuiltinESMExports } = require('node:module');
const os = require('node:os');

const [wallMs, sleptMs] = process.env.JSP_TEST_JUMP.split(',').map(Number);
const now = Date.now;
const uptime = os.uptime;
let wall = 0;
let slept = 0;
Date.now = () => now() + wall;
os.uptime = () => uptime() + slept / 1_000;
syncBuiltinESMExports();
process.on('SIGUSR2', () => {
  wall += wallMs + sleptMs;
  slept += sleptMs;
  process.stderr.write('the clock has jumped\n');
});
