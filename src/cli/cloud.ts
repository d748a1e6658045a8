import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cloud,
  type CloudLimits,
  devicesFile,
  ensureDevices,
  startCloud,
  type TlsMaterial,
} from '../cloud/index.ts';
import { describe, SluiceError } from '../errors.ts';
import { aborted } from '../runtime/abort.ts';
import { systemClock } from '../runtime/clock.ts';
import { readSecretFile, readSmallFile } from '../runtime/credentials.ts';
import { type Logger, openLog } from '../runtime/log.ts';
import { KEY_LIST_FILE } from '../wire/keyfiles.ts';
import { parseKeyList } from '../wire/keylist.ts';
import { parseCloudKey } from '../wire/keys.ts';
import { DEVICES_FILE } from './cloud-admin.ts';
import { Exit, type ExitCode, exitOf } from './exit.ts';
import { logFatal } from './fatal.ts';
import type { Output } from './output.ts';
import { stopSignal } from './stop-signal.ts';

export interface CloudCommand {
  readonly host: string;
  readonly port: number;
  readonly data: string;
  readonly keys: string;
  readonly keyList?: string;
  readonly devices?: string;
  readonly tokenFile?: string;
  readonly operatorTokenFile?: string;
  readonly forward?: string;
  readonly forwardTokenFile?: string;
  readonly forwardLag?: number;
  readonly deviceReadings?: number;
  readonly deviceBytes?: number;
  /** Milliseconds. */
  readonly keepFor?: number;
  readonly keepBytes?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
}

export async function cloud(options: CloudCommand, _output: Output): Promise<ExitCode> {
  let renew = (): void => {};
  const stopped = stopSignal(options.tlsCert === undefined ? undefined : () => renew());
  const readToken = options.tokenFile === undefined ? undefined : readSecretFile(options.tokenFile);
  const operatorToken = options.operatorTokenFile === undefined ? undefined : readSecretFile(options.operatorTokenFile);
  const forwardToken = options.forwardTokenFile === undefined ? undefined : readSecretFile(options.forwardTokenFile);
  const secrets = [readToken, operatorToken, forwardToken].filter((token) => token !== undefined);
  const log = await openLog({ level: 'info', format: 'auto' }, secrets);
  const { logger } = log;
  try {
    const running = await startCloud({
      host: options.host,
      port: options.port,
      dataDir: options.data,
      keys: parseCloudKey(readSecretFile(options.keys)),
      keyList: keyListOf(options),
      devices: devicesFile(devicesOf(options), logger),
      readToken,
      operatorToken,
      forward: forwardOf(options, forwardToken),
      limits: limitsOf(options),
      keep: { keepMs: options.keepFor, keepBytes: options.keepBytes },
      tls: tlsOf(options),
      clock: systemClock,
      logger,
    });
    renew = () => renewTls(options, running, logger);
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
    return exitOf(error);
  } finally {
    await log.flush();
  }
}

/** Without one that is named it is taken where it is; gateways can do without. */
function keyListOf({ data, keyList }: CloudCommand): Uint8Array | undefined {
  const file = keyList ?? join(data, KEY_LIST_FILE);
  return keyList === undefined && !existsSync(file) ? undefined : parseKeyList(readSmallFile(file));
}

/** The list in the data folder begins empty and is filled by enrolment. */
function devicesOf({ data, devices }: CloudCommand): string {
  const file = devices ?? join(data, DEVICES_FILE);
  if (devices === undefined) ensureDevices(file);
  return file;
}

/** @throws usage.cloud */
function forwardOf({ forward: url }: CloudCommand, token: string | undefined) {
  if (url === undefined) return undefined;
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return { url, token };
  throw new SluiceError('usage.cloud', 'stop', `--forward takes an http or https URL, ${url} is none`);
}

function limitsOf({ forwardLag, deviceReadings, deviceBytes }: CloudCommand): Partial<CloudLimits> {
  return {
    ...(forwardLag !== undefined && { lagReadingsMax: forwardLag }),
    ...(deviceReadings !== undefined && { deviceReadingsPerS: deviceReadings }),
    ...(deviceBytes !== undefined && { deviceBytesPerS: deviceBytes }),
  };
}

/** @throws usage.cloud, credential.unreadable, credential.exposed for a key that others can read */
function tlsOf({ tlsCert, tlsKey, tlsClientCa }: CloudCommand): TlsMaterial | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new SluiceError('usage.cloud', 'stop', 'TLS takes both --tls-cert and --tls-key');
  }
  const clientCa = tlsClientCa === undefined ? undefined : readSmallFile(tlsClientCa);
  return { cert: readSmallFile(tlsCert), key: readSecretFile(tlsKey), clientCa };
}

/** What cannot be used changes nothing: a half-written file must not end the receiver. */
function renewTls(options: CloudCommand, running: Pick<Cloud, 'renewTls'>, logger: Logger): void {
  try {
    const tls = tlsOf(options);
    if (tls !== undefined) running.renewTls(tls);
    logger.info('certificate and key were read again');
  } catch (error) {
    logger.error({ reason: describe(error) }, 'certificate and key stay what they were');
  }
}
