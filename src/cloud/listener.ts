/** Where the receiver listens: HTTP, or HTTPS with a certificate that can be replaced while connections last. */
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { SluiceError } from '../errors.ts';

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** Whoever connects must show a certificate signed by one of these. */
  readonly clientCa?: string | undefined;
}

export interface ListenerTimes {
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
}

export interface Listener {
  /** What fastify calls to make its server. */
  create(handler: RequestListener): Server;
  readonly scheme: 'http' | 'https';
  /** For connections from now on. @throws cloud.tls_unusable; the old one stays in force */
  renew(tls: TlsMaterial): void;
}

/** @throws cloud.tls_unusable */
export function listener(tls: TlsMaterial | undefined, { requestTimeoutMs, keepAliveMs }: ListenerTimes): Listener {
  const times = { requestTimeout: requestTimeoutMs, keepAliveTimeout: keepAliveMs };
  if (tls === undefined) {
    return {
      scheme: 'http',
      create: (handler) => createServer(times, handler),
      renew() {
        throw new SluiceError('cloud.tls_unusable', 'discard', 'this receiver began without TLS');
      },
    };
  }
  const asksForOne = tls.clientCa !== undefined;
  let replace = (_context: SecureContextOptions): void => {};
  const options = contextOf(tls);
  return {
    scheme: 'https',
    create(handler) {
      const server = createTlsServer(
        { ...options, ...times, requestCert: asksForOne, rejectUnauthorized: asksForOne },
        handler,
      );
      replace = (context) => server.setSecureContext(context);
      return server;
    },
    renew(next) {
      if ((next.clientCa !== undefined) !== asksForOne) {
        throw new SluiceError(
          'cloud.tls_unusable',
          'discard',
          'whether clients show a certificate is decided at the start',
        );
      }
      replace(contextOf(next));
    },
  };
}

function contextOf({ cert, key, clientCa }: TlsMaterial): SecureContextOptions {
  const options: SecureContextOptions = {
    cert,
    key,
    ...(clientCa !== undefined && { ca: clientCa }),
    minVersion: 'TLSv1.2',
  };
  try {
    // Parses, and holds key and certificate against each other.
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new SluiceError('cloud.tls_unusable', 'stop', 'certificate and key cannot be used', {
      hint: 'PEM files: the certificate with its chain, and the key that belongs to it.',
      cause,
    });
  }
}
