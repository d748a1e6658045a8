import { devicesFile, startCloud } from '../cloud/index.ts';
import { aborted } from '../runtime/abort.ts';
import { systemClock } from '../runtime/clock.ts';
import { readSecretFile } from '../runtime/credentials.ts';
import { openLog } from '../runtime/log.ts';
import { parseCloudKey } from '../wire/keys.ts';
import { Exit, type ExitCode } from './exit.ts';
import { logFatal } from './fatal.ts';
import type { Output } from './output.ts';
import { stopSignal } from './stop-signal.ts';

export interface CloudCommand {
  readonly host: string;
  readonly port: number;
  readonly data: string;
  readonly keys: string;
  readonly devices: string;
  readonly tokenFile?: string;
  readonly operatorTokenFile?: string;
}

export async function cloud(options: CloudCommand, _output: Output): Promise<ExitCode> {
  const stopped = stopSignal();
  const readToken = options.tokenFile === undefined ? undefined : readSecretFile(options.tokenFile);
  const operatorToken = options.operatorTokenFile === undefined ? undefined : readSecretFile(options.operatorTokenFile);
  const secrets = [readToken, operatorToken].filter((token) => token !== undefined);
  const log = await openLog({ level: 'info', format: 'auto' }, secrets);
  const { logger } = log;
  try {
    const running = await startCloud({
      host: options.host,
      port: options.port,
      dataDir: options.data,
      keys: parseCloudKey(readSecretFile(options.keys)),
      devices: devicesFile(options.devices, logger),
      readToken,
      operatorToken,
      clock: systemClock,
      logger,
    });
    logger.info({ ready: true, url: running.url, data: options.data }, 'cloud receiver is up');
    try {
      await Promise.race([aborted(stopped), running.failed]);
    } finally {
      await running.close();
    }
    logger.info('cloud receiver has ended');
    return Exit.fine;
  } catch (error) {
    logFatal(logger, error, 'cloud receiver stops');
    return Exit.finding;
  } finally {
    await log.flush();
  }
}
