import { runGateway } from '../gateway.ts';
import { systemClock } from '../runtime/clock.ts';
import { openLog } from '../runtime/log.ts';
import { printFindings } from './check.ts';
import { Exit, type ExitCode } from './exit.ts';
import { logFatal } from './fatal.ts';
import type { Output } from './output.ts';
import { stopSignal } from './stop-signal.ts';
import { usableConfig } from './usable-config.ts';
import { version } from './version.ts';

/** Time for the last lines of the log to reach a slow reader. */
const LINGER_MS = 100;

export async function run(options: { readonly config: string }, output: Output): Promise<ExitCode> {
  const stopped = stopSignal();
  const { config, findings } = usableConfig(options.config);
  if (config === undefined) {
    printFindings(options.config, findings, output);
    return Exit.usage;
  }
  const log = await openLog(config.log, config.secrets);
  const { logger } = log;
  try {
    logger.info(
      { gateway: config.gateway.id, version: version(), config: config.file, pid: process.pid },
      'gateway starts',
    );
    const { onDisk, leftBehind } = await runGateway(config, {
      logger,
      clock: systemClock,
      random: Math.random,
      version: version(),
      stopped,
      onReady: (facts) => logger.info({ ready: true, ...facts }, 'gateway is up'),
    });
    const exit = onDisk ? Exit.fine : Exit.finding;
    if (onDisk) logger.info('gateway has ended: everything taken is on disk');
    else logger.error('gateway has ended, and not everything taken is on disk');
    // What does not end by itself would keep the process for ever.
    if (leftBehind) systemClock.after(LINGER_MS, () => process.exit(exit));
    return exit;
  } catch (error) {
    logFatal(logger, error, 'gateway stops');
    return Exit.finding;
  } finally {
    await log.flush();
  }
}
