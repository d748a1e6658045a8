/** TLS settings of the uplink: own authorities, a client certificate, a pinned server certificate. */
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { UplinkConfig } from '../config/uplink.ts';
import { codeOf, isSluiceError, SluiceError } from '../errors.ts';
import { readSecretFile, readSmallFile } from '../runtime/credentials.ts';

export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined;
}

type TlsConfig = NonNullable<UplinkConfig['tls']>;
const PEM = /-----BEGIN [A-Z0-9 ]+-----/;
/** All authorities of a Debian are 220 kB. */
const CA_BYTES_MAX = 4 * 1024 * 1024;
const FILES = ['ca', 'cert', 'key'] as const;

/** What `tlsOptions` would stop at, for each of its files. */
export function tlsFileFaults(config: UplinkConfig['tls']): { setting: keyof TlsConfig; error: unknown }[] {
  return FILES.flatMap((setting) => {
    try {
      const given = config?.[setting];
      if (given !== undefined) read(given, setting);
      return [];
    } catch (error) {
      return [{ setting, error }];
    }
  });
}

/** Each is a path, or the PEM itself, as `${credential:…}` leaves it. @throws SluiceError `uplink.tls_file` for one that cannot be used. */
export function tlsOptions(config: UplinkConfig['tls']): TlsOptions {
  const pin = config?.pin;
  return {
    ...(config?.ca === undefined ? {} : { ca: read(config.ca, 'ca') }),
    ...(config?.cert === undefined ? {} : { cert: read(config.cert, 'cert') }),
    ...(config?.key === undefined ? {} : { key: read(config.key, 'key') }),
    checkServerIdentity: (host, certificate) => {
      const wrongName = checkServerIdentity(host, certificate);
      if (wrongName !== undefined || pin === undefined) return wrongName;
      const seen = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
      if (seen === pin) return undefined;
      return new SluiceError('uplink.pin', 'stop', `the server's certificate is ${seen}, not the pinned one`);
    },
  };
}

function read(given: string, setting: (typeof FILES)[number]): string {
  if (PEM.test(given)) return given;
  let text: string;
  try {
    text = setting === 'key' ? readSecretFile(given) : readSmallFile(given, CA_BYTES_MAX);
  } catch (cause) {
    const hint = isSluiceError(cause) ? cause.hint : undefined;
    throw new SluiceError('uplink.tls_file', 'stop', `cannot use uplink.tls.${setting} ${given}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
  if (!PEM.test(text)) throw new SluiceError('uplink.tls_file', 'stop', `${given} holds no PEM`);
  return text;
}

/** Node's codes for certificates that do not verify (OpenSSL's X509_V_ERR_… without the prefix). */
const CERTIFICATE_CODES =
  /^(CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH|ERR_TLS_|ERR_SSL_|EPROTO$|uplink\.pin$)/;

/** Whether a failed connection failed for TLS, which waiting will not heal. */
export function isTlsFailure(error: unknown): boolean {
  return CERTIFICATE_CODES.test(codeOf(error));
}

export function tlsHint(error: unknown): string {
  const code = codeOf(error);
  if (code === 'CERT_NOT_YET_VALID') return "the certificate is not valid yet: is this box's clock set?";
  if (code === 'CERT_HAS_EXPIRED')
    return "the certificate has expired: renew it at the receiver, and check this box's clock";
  if (code === 'uplink.pin') return 'if the certificate was renewed on purpose, change uplink.tls.pin';
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'the certificate is for another name: check uplink.url';
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_'))
    return 'no TLS at that port, or no version in common: check uplink.url';
  return 'the certificate is not signed by an authority this box trusts: set uplink.tls.ca';
}
